import Basis

/// What a node does about machines that say that they are one node, itself among them. (Rule E5)
extension Supervisor {
    /// What runs on such a node has so long to stop in order; then its life is ended as that of one that is silent.
    private static let orderlyPatience = Span.seconds(60)

    /// This node has met them.
    mutating func met(
        _ twins: [Twin], of node: NodeID, after settledAt: LogIndex, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        guard self.birth.isCaughtUp, let record = self.state.node(node) else { return }
        // What was met before it was settled may be told only now.
        guard record.twins.settledAt == settledAt else { return }
        let fresh = twins.filter { twin in !record.twins.machines.contains { $0.bootID == twin.bootID } }
        guard record.twins.isOpen ? !fresh.isEmpty : fresh.count > 1 else { return }
        let command = Command.duplicated(node, fresh, after: settledAt)
        if self.requests.hasAsked(for: command) { return }
        effects.append(.note(.duplicated(node, twins)))
        // Below that level it is in this log alone.
        guard self.state.level >= Command.twinLevel else { return }
        self.request(command, at: now, into: &effects)
    }

    /// Another node says that this machine may not be the node, or is not.
    mutating func isTold(_ word: TwinWord, by node: NodeID, into effects: inout [SupervisorEffect]) {
        let isNews = self.links.twinWord?.word != word
        self.links.twinWord = (node, word)
        self.schedule.isUnsettled = true
        if isNews { effects.append(.note(.isTwin(says: node, word))) }
        guard word.isDecided, isNews else { return }
        // Another machine is this node: it has no lease from here on, and no copy here is the node's.
        self.lease.holder.resign(max(self.birth.incarnation, self.lease.holder.incarnation))
        self.withdrawLease()
        self.volumes.serversDerivedAt = nil
        effects.append(.volumeServers([]))
    }

    /// Whether this machine was told that another one is this node.
    var isCopy: Bool { self.links.twinWord?.word.isDecided == true }

    /// Whether the life of a node that may be several machines is to be ended: what it ran has stopped, or had the time to.
    func isTwinOut(_ record: ClusterState.NodeRecord, at now: Tick) -> Bool {
        guard record.isLifeInQuestion else { return false }
        let runs =
            self.state.groups.contains { $0.assignment?.node == record.id }
            || self.state.holdings.contains { $0.node == record.id }
        return !runs
            || self.clusterTime(at: now) >= record.twins.since + Self.orderlyPatience.milliseconds
    }
}
