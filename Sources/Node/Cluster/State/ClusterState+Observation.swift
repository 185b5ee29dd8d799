import Basis
import Resources

extension ClusterState {
    /// The replicated state in the planner's words, as of its last command.
    public var observation: Observation { self.observation(at: self.clusterMilliseconds) }

    /// The same at a later instant of cluster time: what was told then may not be fresh any more.
    public func observation(at milliseconds: UInt64) -> Observation {
        Observation(
            nodes: self.nodes.map { record in
                Observation.Node(
                    name: record.about.name, isMember: !record.about.isWitness,
                    standing: record.observedStanding, isDrained: record.isDrained || record.isRetiring,
                    isDeparting: record.isDeparting, isDuplicated: record.twins.isOpen,
                    isToPause: self.isPauseExpected(of: record, at: milliseconds),
                    admittedAt: record.incarnation.rawValue)
            },
            groups: self.observedGroups(at: milliseconds))
    }

    /// A group that just had to move goes back by itself only after that: meanwhile its node may be lost again. (NoFlap)
    private static let unsettledMilliseconds: UInt64 = 30_000

    private func observedGroups(at milliseconds: UInt64) -> [Observation.Group] {
        // Groups that run where they are to be ask nobody for anything.
        let isAsked = self.groups.contains { $0.assignment == nil || !$0.awaited.isEmpty || $0.target != nil }
        let index = isAsked ? self.claimIndex : ClaimIndex([]) { _ in [] }
        return self.groups.map { self.observe($0, index, at: milliseconds) }
    }

    private func observe(_ record: GroupRecord, _ index: ClaimIndex, at milliseconds: UInt64) -> Observation.Group {
        var group = Observation.Group(name: record.name)
        let policy = self.policy.group(record.name)
        group.isWanted = record.isWanted
        group.owner = record.assignment.map { self.name(of: $0.node) }
        group.isReleasing = record.assignment?.releasing != nil
        group.epochIndex = record.epoch.index
        group.lastOwner = record.lastOwner.map { self.name(of: $0) }
        group.unreported = policy.map { self.unreported(record, $0) } ?? []
        // Worked out once: what it takes to read it from the configuration is most of a plan's cost.
        let isAsking = record.assignment == nil || !record.awaited.isEmpty || record.target != nil
        let wanted = isAsking ? policy.map { Claim.all(of: $0.resources) } ?? [] : []
        if record.assignment == nil || !record.awaited.isEmpty {
            group.awaits = self.holder(against: record, wanted, index).map(self.sentence)
        }
        group.findings = record.findings.map { .init(node: self.name(of: $0.node), reason: $0.clause) }
        group.bans = record.bans.map {
            .init(node: self.name(of: $0.node), reason: "failed: \($0.failure.resource) \($0.failure.reason)")
        }
        group.remains = self.blockingRemains(of: record, at: milliseconds).map {
            .init(node: self.name(of: $0.node), reason: $0.remains.reason)
        }
        group.parked = record.parked
        group.target = record.target.map { self.name(of: $0) }
        if let policy {
            let window = policy.moveWindow.milliseconds
            group.isUnsettled = record.moves.last.map { milliseconds < $0 + Self.unsettledMilliseconds } ?? false
            group.recentMoves = record.moves.filter { $0 + window >= self.clusterMilliseconds }.count
            // Looked up once: it is read from all resources.
            let volumes = policy.volumes
            for name in policy.nodes { self.judge(name, record, volumes, wanted, index, &group) }
            // Rule V21.1.
            let hasNoHolder = policy.nodes.allSatisfy { name in group.withoutData.contains { $0.node == name } }
            if !volumes.isEmpty, hasNoHolder {
                group.retreats = self.retreats(policy)
                for name in group.retreats { self.judge(name, record, volumes, wanted, index, &group) }
            }
        }
        return group
    }

    /// Whether a node has room for the group, and its data.
    private func judge(
        _ name: String, _ record: GroupRecord, _ volumes: [VolumeName], _ wanted: [Claim], _ index: ClaimIndex,
        _ group: inout Observation.Group
    ) {
        guard let node = self.id(named: name) else { return }
        if record.assignment == nil || record.target != nil,
            let holder = self.holder(against: record, wanted, on: node, index)
        {
            group.occupied.append(.init(node: name, reason: "has no room: \(self.sentence(holder))"))
        }
        for volume in volumes {
            guard let objection = self.dataObjection(volume, on: node) else { continue }
            return group.withoutData.append(.init(node: name, reason: objection))
        }
    }

    /// Nodes that the list has no more, and that hold every write of all its volumes.
    private func retreats(_ policy: GroupPolicy) -> [String] {
        self.nodes.filter { node in
            !node.about.isWitness && !policy.nodes.contains(node.about.name)
                && policy.volumes.allSatisfy { volume in
                    self.volume(volume)?.holders.contains(node.id) == true
                        && self.dataObjection(volume, on: node.id) == nil
                }
        }.map(\.about.name).sorted()
    }
}

extension ClusterState.NodeRecord {
    /// The standing in the planner's words.
    public var observedStanding: Observation.Standing {
        switch self.standing {
        case .never: .never
        case .trusted: .up
        case .suspected: .suspected
        case .lost: .lost
        }
    }
}
