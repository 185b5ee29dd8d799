import API
import Basis
import Cluster
import FoundationEssentials
import Host
import Raft
import Reports

/// What a cluster is restored from. (Rule R6)
extension Backend {
    func backup(isStale: Bool) async throws -> BackupReport {
        let view = isStale ? try await self.view() : try await self.view(notBefore: try await self.readable().0)
        let state = view.supervisor.state
        guard state.clusterID != 0 else {
            throw APIFailure(.error, "this node has learned nothing yet", remedy: "ask again, or ask another node")
        }
        return Self.backup(of: state, by: self.file.name)
    }

    private static func backup(of state: ClusterState, by node: String) -> BackupReport {
        let bytes = state.encoded
        return BackupReport(
            version: Format.backup.version, cluster: state.clusterName, servedBy: node,
            index: state.appliedIndex.rawValue,
            takenMilliseconds: MachineClock.wallMilliseconds, release: Release.present.version,
            featureLevel: state.level.rawValue, checksum: Checksum.crc32c(bytes),
            state: Data(bytes).base64EncodedString())
    }
}
