import Basis
import Raft

extension ClusterState: InvariantChecking {
    /// Lists in the order in which they are searched, nothing from entries that were not applied, and copies that count once.
    public func checkInvariants() throws(BrokenInvariant) {
        try invariant(self.nodes.isAscending(by: \.id), "ClusterState: nodes are out of order")
        try invariant(self.groups.isAscending(by: \.name), "ClusterState: groups are out of order")
        try invariant(self.volumes.isAscending(by: \.name), "ClusterState: volumes are out of order")
        try invariant(self.events.count <= Self.eventsMaximum, "ClusterState: \(self.events.count) events")
        try invariant(self.policyIndex <= self.appliedIndex, "ClusterState: a configuration that was not applied")
        try self.attributes.checkInvariants(in: self)
        for place in self.nodes.indices { try self.checkNode(place) }
        for place in self.groups.indices { try self.checkGroup(place) }
        for place in self.volumes.indices { try self.checkVolume(place) }
    }

    private func checkNode(_ place: Int) throws(BrokenInvariant) {
        let (id, standing) = (self.nodes[place].id, self.nodes[place].standing)
        let incarnation = self.nodes[place].incarnation
        try invariant(id.rawValue <= self.nodesEver, "ClusterState: \(id) was never given (N2)")
        try invariant(
            incarnation.rawValue <= self.appliedIndex.rawValue,
            "ClusterState: \(id) has a life that was not applied (E3)")
        try invariant(
            (standing == .never) == (incarnation == .none),
            "ClusterState: \(id) is \(standing) in life \(incarnation) (L8)")
        if case .suspected(let at) = standing {
            try invariant(at <= self.appliedIndex, "ClusterState: a suspicion of \(id) that was not applied (L4)")
            try invariant(
                at.rawValue > incarnation.rawValue, "ClusterState: a suspicion of \(id) from before its life (L4)")
        }
    }

    private func checkGroup(_ place: Int) throws(BrokenInvariant) {
        let (name, epoch) = (self.groups[place].name, self.groups[place].epoch)
        try invariant(
            epoch.index <= self.appliedIndex.rawValue, "ClusterState: \(name) has an epoch that was not applied (E1)")
        guard let assignment = self.groups[place].assignment else { return }
        try invariant(epoch != .none, "ClusterState: \(name) is assigned without an epoch (E1)")
        try invariant(assignment.incarnation != .none, "ClusterState: \(name) is assigned to no life (L1)")
        try invariant(self.nodes.place(of: assignment.node) != nil, "ClusterState: \(name) is assigned to nobody (L1)")
    }

    private func checkVolume(_ place: Int) throws(BrokenInvariant) {
        let (name, epoch) = (self.volumes[place].name, self.volumes[place].epoch)
        try invariant(
            epoch.index <= self.appliedIndex.rawValue, "ClusterState: \(name) has an epoch that was not applied (E1)")
        try invariant(
            self.volumes[place].inSync.isAscending(by: \.self), "ClusterState: the set of \(name) is out of order (V4)")
        try invariant(
            self.volumes[place].copies.isAscending(by: \.node), "ClusterState: two copies of \(name) on one node (V18)")
        // Who joins before the volume was opened is in both sets for a while, and counts once.
        try invariant(
            self.volumes[place].holders.isAscending(by: \.self), "ClusterState: a holder of \(name) counts twice (V7.1)"
        )
        guard epoch != .none else { return }
        try invariant(
            !self.volumes[place].inSync.isEmpty || self.volumes[place].isUnproven,
            "ClusterState: nobody holds \(name) (V8)")
    }
}
