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
}
