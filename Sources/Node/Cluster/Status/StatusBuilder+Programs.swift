import Basis
import Raft
import Reports

/// What the cluster has agreed that all nodes can do, and what each can. (Rule U1)
extension StatusBuilder {
    /// The report of `holdfast upgrade status`.
    package func upgrade(nodeName: String) -> UpgradeReport {
        let supervisor = self.view.supervisor
        let known = self.state.nodes.compactMap { self.summary(of: $0.id)?.summary.programs?.daemon.level }
        let highest = max(self.state.level, known.max() ?? .first)
        let nodes = self.state.nodes.map { record in
            let programs = self.summary(of: record.id)?.summary.programs
            return UpgradeReport.Node(
                name: record.about.name, version: programs?.daemon.version,
                featureLevel: programs?.daemon.level.rawValue,
                objection: highest == self.state.level
                    ? nil : supervisor.objection(toCounting: record.id, for: highest, at: self.now))
        }
        return UpgradeReport(
            servedBy: nodeName, featureLevel: self.state.level.rawValue, highestLevel: highest.rawValue,
            nodes: nodes.sorted { $0.name < $1.name })
    }

    /// Every node can do more than what the cluster relies on: an operator may have forgotten the end of an upgrade.
    var upgradeNote: [String] {
        let report = self.upgrade(nodeName: "")
        guard report.highestLevel > report.featureLevel, report.nodes.allSatisfy({ $0.objection == nil }) else {
            return []
        }
        return [
            "every node can do feature level \(report.highestLevel), and the cluster is at \(report.featureLevel): "
                + "`holdfast upgrade finalize`, once the release before is not needed any more"
        ]
    }
}

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
