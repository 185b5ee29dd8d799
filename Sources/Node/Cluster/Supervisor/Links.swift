import Basis

/// Whom this node talks to, and by which ways. (Rule L16)
struct Links: Sendable {
    /// Who can be talked to.
    var reachability: Reachability
    /// Whom the driver keeps links to, their nodes, and the applied entry that they follow from.
    var roll = PeerRoll(peers: [])
    var nodes: [NodeID] = []
    var derivedAt: LogIndex?
    /// When the leader was last heard that this node followed. (Rule J7)
    var leaderHeardAt: Tick?
    var wasCurrent = false

    /// Nodes that say that this one has left the cluster, sorted. (Rule J6)
    var shownOutBy: [NodeID] = []
    /// A node says that another machine may be this one, or is. (Rule E5)
    var twinWord: (says: NodeID, word: TwinWord)?

    /// `seeds` are the nodes until the log names others.
    init(node: NodeID, seeds: [NodeID]) {
        self.reachability = Reachability(node: node)
        self.nodes = seeds
    }

    /// When pings are due.
    var deadline: Tick { self.reachability.deadline }

    /// Whether nothing was applied since they settled last.
    func haveSettled(_ applied: LogIndex, isCurrent: Bool) -> Bool {
        self.derivedAt == applied && self.wasCurrent == isCurrent
    }

    /// The roll that follows from the applied state; nil when it is the same.
    mutating func settle(_ state: ClusterState, of own: NodeID, isCurrent: Bool) -> PeerRoll? {
        self.derivedAt = state.appliedIndex
        self.wasCurrent = isCurrent
        var roll = state.roll(of: own)
        roll.isCurrent = isCurrent
        guard roll != self.roll else { return nil }
        self.roll = roll
        self.nodes = roll.peers.map(\.node)
        return roll
    }
}

extension ClusterState {
    /// Who is in the cluster, as one node is told it.
    public func roll(of own: NodeID) -> PeerRoll {
        PeerRoll(
            peers: self.nodes.filter { $0.id != own }.map { PeerSpec($0) }, own: self.node(own)?.about,
            idsGiven: self.nodesEver, generation: self.base)
    }
}

extension PeerRoll {
    /// Where the peers are, the former addresses included.
    public var addresses: [String] { self.peers.flatMap { [$0.address] + ($0.formerAddress.map { [$0] } ?? []) } }
}
