import Basis
import Mirror
import Raft
import Reports
import Resources

/// Groups and volumes of the report: what the log says, with what the owner says of itself.
extension StatusBuilder {
    var groups: [GroupReport] {
        self.state.groups.map { record in
            let policy = self.state.policy.group(record.name)
            let owner = record.assignment?.node
            let told = owner.flatMap { self.told(record.name, by: $0) }
            let current = told.flatMap { $0.epoch == record.epoch ? $0 : nil }
            let (state, reason) = self.standing(record, current)
            return GroupReport(
                name: record.name.rawValue, state: state, owner: owner.map { self.state.name(of: $0) },
                movingTo: record.target.map { self.state.name(of: $0) }, epoch: record.epoch.description,
                reason: reason,
                sinceSeconds: self.age(since: record.since).map { Double($0) / 1000 },
                nodes: policy?.nodes ?? [], takeover: policy?.takeover.rawValue ?? Takeover.afterLease.rawValue,
                resources: self.resources(policy, record, current), hasGivenUp: self.hasGivenUp(record, policy))
        }
    }

    /// It failed somewhere, and no other node may run it now.
    private func hasGivenUp(_ record: ClusterState.GroupRecord, _ policy: GroupPolicy?) -> Bool {
        guard record.assignment == nil, record.isWanted, !record.bans.isEmpty, let policy,
            let observed = self.observation.groups.first(where: { $0.name == record.name })
        else { return record.isWanted && record.parked != nil }
        return Eligibility(observed, policy, self.observation).candidates.isEmpty
    }

    /// The planner's reason about a group, if it has something to say.
    func planned(_ group: GroupName) -> Plan.Action? {
        self.plan.actions.place(of: group, by: \.group).map { self.plan.actions[$0] }
    }

    /// What a node says of a group; a node tells of its groups in the order of names.
    private func told(_ group: GroupName, by node: NodeID) -> NodeSummary.Group? {
        guard let groups = self.summary(of: node)?.summary.groups else { return nil }
        return groups.place(of: group, by: \.name).map { groups[$0] }
    }

    private func standing(
        _ record: ClusterState.GroupRecord, _ told: NodeSummary.Group?
    ) -> (GroupReport.State, String) {
        guard let assignment = record.assignment else {
            if !record.isWanted { return (.stopped, "an operator wants it stopped") }
            if let parked = record.parked {
                return (record.bans.isEmpty ? .parked : .failed, parked)
            }
            return (.waiting, self.planned(record.name)?.reason ?? "it is about to be assigned")
        }
        let owner = self.state.name(of: assignment.node)
        switch self.state.node(assignment.node)?.standing {
        case .suspected:
            return (.waiting, "\(owner) is silent; another node may start it once its lease has certainly ended (L6)")
        case .never, .lost, nil: return (.waiting, "\(owner) is down")
        case .trusted: break
        }
        if let releasing = assignment.releasing {
            let isMoving = record.isWanted && self.state.policy.group(record.name) != nil
            return (isMoving ? .moving : .stopping, releasing)
        }
        if let awaits = self.observation.group(record.name)?.awaits, !record.awaited.isEmpty {
            return (.starting, "a part of it waits: \(awaits)")
        }
        let worry = told?.resources.first { !$0.reason.isEmpty }.map { "\($0.name): \($0.reason)" } ?? ""
        switch told?.phase.known {
        case .killing, .suspended: return (.waiting, "\(owner) holds no lease, so nothing may run there (L12)")
        case .stopping, .stopped: return (.stopping, worry)
        case .starting, .restarting: return (.starting, worry)
        // Of what it says in words of a newer release the log says enough.
        case .running, nil: break
        }
        if self.summary(of: assignment.node) == nil {
            return (assignment.isStarted ? .running : .starting, "by the log; \(owner) itself was not heard lately")
        }
        return assignment.isStarted ? (.running, worry) : (.starting, worry)
    }

    private func resources(
        _ policy: GroupPolicy?, _ record: ClusterState.GroupRecord, _ told: NodeSummary.Group?
    ) -> [ResourceReport] {
        (policy?.resources ?? []).map { resource in
            let said = told?.resources.first { $0.name == resource.name }
            return ResourceReport(
                name: resource.name.rawValue, agent: resource.agent,
                state: self.state(of: said, isOwned: record.assignment != nil),
                checkedSecondsAgo: said.flatMap { said in
                    said.state.known == .running ? self.seconds(said.checkedAge) : nil
                },
                reason: said.flatMap { $0.reason.isEmpty ? nil : $0.reason })
        }
    }

    private func state(of said: NodeSummary.Resource?, isOwned: Bool) -> ResourceReport.State {
        guard let said else { return isOwned ? .unknown : .stopped }
        switch said.state.known {
        case .running: return said.reason.isEmpty ? .running : .degraded
        case .opening, .starting, .withdrawn: return .starting
        case .stopping, .closing: return .stopping
        case .stopped, .detached: return said.reason.isEmpty ? .stopped : .failed
        case nil: return .unknown
        }
    }

    // MARK: Volumes

    var volumes: [VolumeReport] {
        self.state.volumes.compactMap { record in
            guard let policy = self.state.policy.volume(record.name) else { return nil }
            let told = record.owner.flatMap { owner in self.volume(record.name, on: owner) }
            return VolumeReport(
                name: record.name.rawValue, sizeBytes: record.definition.sizeBytes,
                growsToBytes: policy.sizeBytes > record.definition.sizeBytes ? policy.sizeBytes : nil,
                owner: record.owner.map { self.state.name(of: $0) }, epoch: record.epoch.description,
                setVersion: record.version, carrier: record.owner == self.me ? self.machine.carriers[record.name] : nil,
                replicas: policy.replicas.map { self.replica($0, record, told) },
                writtenBytes: told?.writtenBytes ?? 0, sentBytes: told?.sentBytes ?? 0,
                sentCompressedBytes: told?.sentCompressedBytes ?? 0)
        }
    }

    private func volume(_ name: VolumeName, on node: NodeID) -> NodeSummary.Volume? {
        self.summary(of: node)?.summary.volumes.first { $0.name == name }
    }

    private func replica(
        _ policy: VolumePolicy.Replica, _ record: ClusterState.VolumeRecord, _ owner: NodeSummary.Volume?
    ) -> ReplicaReport {
        guard let node = self.state.node(named: policy.node) else {
            return ReplicaReport(
                node: policy.node, inSync: false, connected: false, role: .unknown,
                reason: "\(policy.node) has not joined")
        }
        let own = self.volume(record.name, on: node.id)
        let isOwner = record.owner == node.id
        let peer = owner?.peers.first { $0.node == node.id }
        let isInSync = record.holders.contains(node.id) || record.epoch == .none
        return ReplicaReport(
            node: policy.node, inSync: isInSync, connected: isOwner || peer?.isConnected == true,
            role: Self.role(own?.role.known), dirtyBytes: own?.dirtyBytes ?? 0,
            resyncRemainingBytes: isInSync ? 0 : peer?.resyncRemainingBytes ?? 0,
            resyncTotalBytes: isInSync ? 0 : peer?.resyncTotalBytes ?? 0,
            reason: isInSync ? own?.problem ?? "" : self.lack(node, record, own, peer))
    }

    private static func role(_ told: CopyRole?) -> ReplicaReport.Role {
        switch told {
        case .owner: .owner
        case .replica: .replica
        case .frozen: .frozen
        case .failed: .failed
        case .starting, .absent, nil: .unknown
        }
    }

    private func lack(
        _ node: ClusterState.NodeRecord, _ record: ClusterState.VolumeRecord, _ own: NodeSummary.Volume?,
        _ peer: NodeSummary.Peer?
    ) -> String {
        let holders = Suggestion.list(record.holders.map { self.state.name(of: $0) })
        let ending = record.holders.count == 1 ? "s" : ""
        if node.standing != .trusted { return "it is down; \(holders) hold\(ending) every write" }
        if let problem = own?.problem, !problem.isEmpty { return problem }
        if record.owner == nil { return "it lacks writes that \(holders) hold\(ending)" }
        if own?.role.known == .failed { return "its server cannot work; see the log of \(node.about.name)" }
        guard let peer, peer.isConnected else { return "it is not linked with \(holders)" }
        return peer.resyncTotalBytes > 0 ? "resync is under way" : "resync is about to begin"
    }
}
