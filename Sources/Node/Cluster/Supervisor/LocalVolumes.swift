import Basis
import Mirror
import Raft
import Resources

/// The volume servers of this node, and what they found where the copies should be.
struct LocalVolumes: Sendable {
    /// One volume's server on this node.
    struct View: Equatable, Sendable {
        var name: VolumeName
        var isConnected = false
        var status: VolumeStatus?
        /// What its server found where the copy should be.
        var report: CopyReport?
        var failure = ""
        /// Why there is no copy that counts, if there is none, and which of it was noted for the journal.
        var problem = ""
        var notedProblem = ""
        /// The last epoch under which its server said that it serves clients, in this life of the daemon.
        var openedEpoch = Epoch.none
        /// When the server may be asked again to make or to note a copy.
        var askAt = Tick.zero
        /// Below which epoch the server takes nothing any more, as it was told over this connection, and when it is told that
        /// the last one is over too. (Rule V1.1)
        var isOver = Epoch.none
        var tellsOverAt = Tick.never
        /// The question whose answer decides whether the copy is an older one, and what the log knew when it was asked.
        var question: UInt64 = 0
        var askedAgainst: CopyKnowledge?
        var isAnswered = false
    }

    /// What the decisions about copies depend on.
    struct CopiesKey: Equatable, Sendable {
        var applied = LogIndex.zero
        var version: UInt64 = .max
    }

    /// What the list of servers depends on.
    struct ServersKey: Equatable, Sendable {
        var applied: LogIndex
        var groupsVersion: UInt64
    }

    /// Sorted by name.
    var views: [View] = []
    /// Grows with each change of what a volume's server is, but not with its progress.
    var version: UInt64 = 0
    /// The servers that should run, and what that follows from.
    var servers: [VolumeServerSpec] = []
    var serversDerivedAt: ServersKey?
    /// When the copies were compared with the log, and when they are to be again.
    var copiesSettledAt = CopiesKey()
    var nextLook = Tick.never
    /// Copies that were taken back, before their servers have shown that they know it. (Rule E4.2)
    var takenBack: [Facts.TakenBack] = []

    /// The servers that this node's replicas need; nil when they are the same. A volume whose peers have not joined yet waits
    /// for no one. A server lives as long as the volume's definition in force names this node, or something that runs here
    /// stands on it. (Rule V21)
    mutating func settle(
        _ state: ClusterState, on own: String, under runners: [GroupRunner]
    ) -> [VolumeServerSpec]? {
        var specs: [VolumeServerSpec] = []
        let nodes = state.nodes
        for record in state.volumes {
            let definition = record.definition
            guard let replica = definition.replicas.first(where: { $0.node == own }) else { continue }
            let peers = definition.replicas.compactMap { other -> VolumeServerSpec.Peer? in
                // Rule R4: who was left behind neither writes here nor is written to.
                guard other.node != own, let node = nodes.first(where: { $0.about.name == other.node }),
                    !node.isLeftBehind
                else { return nil }
                return .init(node: node.id, address: other.address)
            }
            specs.append(
                VolumeServerSpec(
                    identity: record.identity, policy: definition, replica: replica, peers: peers,
                    formerNodes: state.formerNodes(of: record)))
        }
        for spec in self.servers where runners.stand(on: spec.policy.name) {
            if !specs.contains(where: { $0.policy.name == spec.policy.name }) { specs.append(spec) }
        }
        specs.sort { $0.policy.name < $1.policy.name }
        guard specs != self.servers else { return nil }
        self.servers = specs
        self.views.removeAll { view in !specs.contains { $0.policy.name == view.name } }
        for spec in specs where !self.views.contains(where: { $0.name == spec.policy.name }) {
            self.views.append(View(name: spec.policy.name))
        }
        self.views.sort { $0.name < $1.name }
        return specs
    }

    /// When the copies are compared with the log again, although nothing happens.
    var deadline: Tick { self.nextLook }
}

extension [GroupRunner] {
    /// Whether something that runs here, or is not surely dead, stands on the volume.
    fileprivate func stand(on volume: VolumeName) -> Bool {
        self.contains { runner in
            guard let place = runner.place(of: volume) else { return false }
            return runner.resources[place].state != .stopped
        }
    }
}
