import Basis
import Reports

extension ProgramsReport {
    /// What a node said of itself.
    init(_ programs: NodePrograms) {
        self.init(
            version: programs.daemon.version, featureLevel: programs.daemon.level.rawValue,
            guard: programs.guardian.map { Helper($0) },
            volumeServers: Dictionary(
                programs.servers.map { ($0.volume.rawValue, Helper($0.helper)) }, uniquingKeysWith: { $1 }))
    }
}

extension ProgramsReport.Helper {
    init(_ helper: NodePrograms.Helper) { self.init(version: helper.version, isPresent: helper.isPresent) }
}
