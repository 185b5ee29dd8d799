import Basis

/// When a group leaves an owner that could keep it: an operator's move, a drain, a changed list, failback.
enum Moves {
    static func decide(
        _ group: Observation.Group, _ policy: GroupPolicy, _ observation: Observation, owner: String
    ) -> Plan.Action? {
        let eligibility = Eligibility(group, policy, observation)
        let others = eligibility.candidates.filter { $0 != owner }
        func release(to target: String?, _ reason: String) -> Plan.Action {
            .init(.release(group.name, owner: owner, target: target), reason: reason)
        }
        if let node = observation.node(owner), node.isDeparting || node.isDuplicated {
            let target = group.target.flatMap { others.contains($0) ? $0 : nil } ?? others.first
            let reason = node.isDuplicated ? "several machines say that they are \(owner)" : "\(owner) is shutting down"
            return release(to: target, reason)
        }
        if let target = group.target, target != owner {
            guard others.contains(target) else { return nil }
            return release(to: target, "an operator wants it on \(target)")
        }
        guard let next = others.first else { return nil }
        if observation.node(owner)?.isDrained == true { return release(to: next, "\(owner) is being drained") }
        if !policy.nodes.contains(owner) {
            return release(to: next, "\(owner) is no longer in its list of nodes")
        }
        guard policy.failback, group.recentMoves < policy.maximumMoves else { return nil }
        guard let mine = policy.nodes.firstIndex(of: owner),
            let better = policy.nodes[..<mine].first(where: {
                others.contains($0) && observation.node($0)?.isToPause != true
            })
        else { return nil }
        // It failed there, or its node was lost as soon as it had come: a node that comes and goes is healthy each time, and
        // each time the group would go along. (NoFlap)
        if group.isUnsettled {
            return .init(
                .keep(group.name, owner: owner),
                reason: "it is preferred on \(better) (failback), but had to leave a node a moment ago")
        }
        return release(to: better, "\(better) is preferred to \(owner) and healthy again (failback)")
    }
}
