import Basis

/// Whom this node talks to, and by which ways. (Rule L16)
struct Links: Sendable {
    /// Who can be talked to.
    var reachability: Reachability
    /// The peers that the driver keeps links to, their nodes, and the applied entry that they follow from.
    var specs: [PeerSpec] = []
    var nodes: [NodeID] = []
    var derivedAt: LogIndex?

    init(node: NodeID) { self.reachability = Reachability(node: node) }

    /// When pings are due.
    var deadline: Tick { self.reachability.deadline }

    /// The peers that follow from the applied state; nil when they are the same.
    mutating func settle(_ nodes: [ClusterState.NodeRecord], of own: NodeID, at applied: LogIndex) -> [PeerSpec]? {
        guard self.derivedAt != applied else { return nil }
        self.derivedAt = applied
        let specs = nodes.filter { $0.id != own }
            .map { PeerSpec(node: $0.id, name: $0.about.name, address: $0.about.address) }
        guard specs != self.specs else { return nil }
        self.specs = specs
        self.nodes = specs.map(\.node)
        return specs
    }
}
