import Basis
import Resources

/// A new configuration for what lives: what cannot be done to it is refused here, on every node alike. (Rules K1, K2)
///
/// `docs/configuration-changes.md` lists every key with what becomes of a change.
extension ClusterState {
    mutating func applyConfigure(
        _ policy: ClusterPolicy, _ text: String, _ expectedIndex: LogIndex, at index: LogIndex
    ) -> Outcome {
        guard expectedIndex == self.policyIndex else {
            return .refused(.changedMeanwhile(inForce: self.policyIndex, expected: expectedIndex))
        }
        let refused = self.refusedChanges(to: policy)
        guard refused.isEmpty else { return .refused(.changes(refused)) }
        // Rule K2: what is removed while it runs is stopped as it was started.
        for position in self.groups.indices {
            let name = self.groups[position].name
            if policy.group(name) != nil {
                self.groups[position].removedPolicy = nil
            } else if let last = self.policy.group(name) {
                self.groups[position].removedPolicy = last
            }
        }
        let before = self.policy
        self.policy = policy
        self.policyText = text
        self.policyIndex = index
        // Rule L5.1: who lives on may go by what was in force before, for as long as it has not applied this.
        for place in self.nodes.indices {
            self.nodes[place].longestLease = max(self.nodes[place].longestLease, policy.timing.leaseDuration)
            self.nodes[place].longestGrace = max(self.nodes[place].longestGrace, policy.timing.leaseGrace)
        }
        self.groups += policy.groups.filter { self.group($0.name) == nil }.map { group in
            var record = GroupRecord(name: group.name)
            record.since = self.clusterMilliseconds
            return record
        }
        self.forgetRemovedGroups()
        // A configuration change forgives failures.
        for position in self.groups.indices { self.groups[position].bans.removeAll() }
        self.groups.sort { $0.name < $1.name }
        self.beginSearches(before: before, at: index)
        self.reclaim()
        self.configureVolumes(policy, at: index)
        self.note(.cluster(.configured), at: index)
        return .accepted
    }

    /// A group that runs is kept until its owner has stopped it, or has certainly ended. (Rule K2)
    mutating func forgetRemovedGroups() {
        self.groups.removeAll { self.policy.group($0.name) == nil && $0.assignment == nil }
    }

    // MARK: What is refused

    /// What of a configuration cannot be done to what lives now, each with the way to do it; empty if all can.
    /// `plan` shows the same. (Rule K1)
    public func refusedChanges(to policy: ClusterPolicy) -> [RefusedChange] {
        var found: [RefusedChange] = []
        if policy.name != self.clusterName {
            found.append(
                RefusedChange(
                    path: "cluster", reason: "this is the cluster \(self.clusterName), and its name never changes",
                    remedy: "write `cluster: \(self.clusterName)`"))
        }
        for problem in policy.timing.problems {
            found.append(
                RefusedChange(
                    path: "timing", reason: problem, remedy: "change one of them, or leave `timing` out (L13)"))
        }
        for node in self.nodes where node.isRetiring { found += self.refusedUses(of: node.about.name, in: policy) }
        for group in policy.groups { found += self.refusedVolumes(of: group) }
        found += self.refusedVolumes(to: policy)
        return found
    }

    /// Rule J2: a node that is to leave is named by nothing, and stays so.
    private func refusedUses(of name: String, in policy: ClusterPolicy) -> [RefusedChange] {
        let groups = policy.groups.filter { $0.nodes.contains(name) }.map { "groups.\($0.name).nodes" }
        let volumes = policy.volumes.filter { volume in volume.replicas.contains { $0.node == name } }
            .map { "volumes.\($0.name).replicas" }
        return (groups + volumes).map { path in
            RefusedChange(
                path: path, reason: "\(name) is leaving the cluster",
                remedy: "leave it out, or keep the node with `holdfast node remove \(name) --cancel` first")
        }
    }

    /// Which volumes a group opened under its epoch stays as it is while it runs: they were promoted with it.
    private func refusedVolumes(of group: GroupPolicy) -> [RefusedChange] {
        guard let record = self.group(group.name), let assignment = record.assignment else { return [] }
        let held = self.volumes.filter { $0.epoch == record.epoch && $0.owner != nil }.map(\.name)
        guard held != group.volumes else { return [] }
        return [
            RefusedChange(
                path: "groups.\(group.name).resources",
                reason: "the volumes of \(group.name) cannot change while it runs on \(self.name(of: assignment.node))",
                remedy: "stop it first with `holdfast group stop \(group.name)`")
        ]
    }
}
