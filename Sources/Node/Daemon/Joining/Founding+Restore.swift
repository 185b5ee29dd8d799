import Basis
import Cluster
import FoundationEssentials
import Host
import Raft
import RaftStorage
import Reports
import SecureLink

/// `holdfast cluster restore`: how a directory becomes the first node of a cluster that begins with a backup. (Rule R6)
extension Founding {
    /// Reads the backup and, unless it is a dry run, makes the directory the only node of the new cluster. `node.json` is written
    /// last: without it nothing counts.
    package static func restore(_ options: RestoreOptions, acceptsLoopback: Bool = false) throws -> RestoreReport {
        let paths = NodePaths(directory: options.directory, run: "")
        try NodeFile.requireFresh(paths)
        let (address, proof) = try self.ownAddress(options.address, acceptsLoopback: acceptsLoopback)
        proof.close()
        let (backup, bytes) = try self.readBackup(options.file)
        let beginning = try self.beginning(
            backup, bytes, options.file,
            JoiningNode(name: options.name, site: options.site, address: address, role: .member))
        if !options.isDryRun { try self.write(beginning, paths, options, address) }
        let state = beginning.state
        return RestoreReport(
            cluster: state.clusterName, index: backup.index, takenMilliseconds: backup.takenMilliseconds,
            nodes: state.nodes.filter { $0.id != beginning.founder && !$0.isRetiring }.map(\.about.name).sorted(),
            groups: state.groups.map(\.name.rawValue), volumes: state.volumes.map(\.name.rawValue))
    }

    /// What a file of `holdfast cluster backup` says, if it is whole.
    private static func readBackup(_ path: String) throws -> (report: BackupReport, state: [UInt8]) {
        func flaw(_ reason: String, _ remedy: String) -> DriverError {
            .file(path: path, reason: reason, remedy: remedy)
        }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw flaw("it cannot be read", "name a file that `holdfast cluster backup` wrote")
        }
        if let flaw = VersionedFile.flaw(of: .backup, data, path: path) { throw flaw }
        guard let report = try? JSONDecoder().decode(BackupReport.self, from: data) else {
            throw flaw("it is no backup of a cluster", "name a file that `holdfast cluster backup` wrote")
        }
        guard let state = Data(base64Encoded: report.state).map({ [UInt8]($0) }),
            Checksum.crc32c(state) == report.checksum
        else { throw flaw("it is damaged: its checksum is another", "use another backup") }
        return (report, state)
    }

    private static func beginning(
        _ backup: BackupReport, _ bytes: [UInt8], _ path: String, _ founder: JoiningNode
    ) throws -> ClusterState.Beginning {
        let state: ClusterState
        do {
            state = try ClusterState(decoding: bytes)
        } catch {
            throw DriverError.file(
                path: path, reason: "\(error)",
                remedy: "restore with release \(backup.release), which made it, or a later one")
        }
        let restoration = ClusterState.Restoration(
            clusterID: try self.randomNumber(), recovery: try self.randomNumber(), level: Release.present.level,
            statement: "the cluster begins anew with the backup that \(backup.servedBy) made at entry \(backup.index)",
            wallMilliseconds: MachineClock.wallMilliseconds)
        do {
            return try state.restored(restoration, by: founder)
        } catch {
            throw APIFailure(.refused, "\(path) cannot be restored here: \(error)", remedy: "nothing was changed")
        }
    }

    private static func write(
        _ beginning: ClusterState.Beginning, _ paths: NodePaths, _ options: RestoreOptions, _ address: String
    ) throws {
        try paths.create()
        let node = beginning.founder
        let cluster = beginning.state.clusterName
        let clusterID = beginning.state.clusterID.hexadecimal(digits: 16)
        try self.writeIdentity(paths, cluster: cluster, clusterID: clusterID, node: node, name: options.name)
        let (store, _) = try LogStore.open(
            directory: paths.log, on: RealDisk(), identity: LogIdentity(cluster: clusterID, node: node),
            draw: try self.startDraw())
        defer { store.close() }
        let mark = LogMark(term: Term(1), index: beginning.state.appliedIndex)
        try store.persist(
            PersistRequest(
                sequence: 1,
                snapshot: Snapshot(
                    mark: mark, membership: Membership(voters: [node]), membershipIndex: mark.index,
                    data: beginning.state.encoded),
                hardState: HardState(term: mark.term, votedFor: node, commit: mark.index)))
        try GenerationFile.write(GenerationRecord(beginning.generation), paths)
        try NodeFile(
            cluster: cluster, clusterID: clusterID, node: node.rawValue, name: options.name, site: options.site,
            address: address, role: .member, peers: []
        ).write(paths)
    }
}
