import Basis

/// Where a group without an owner starts.
enum Placement {
    static func decide(
        _ group: Observation.Group, _ policy: GroupPolicy, _ observation: Observation
    ) -> Plan.Action {
        // Rule B5, and B5.2: the search for something foreign begins after that.
        if let awaits = group.awaits { return .init(.wait(group.name), reason: awaits) }
        // Rule B2.
        if group.epochIndex == 0, !group.unreported.isEmpty {
            return .init(.wait(group.name), reason: Search.reason(group, observation))
        }
        // Rules L11.5, L12.3.
        if let left = group.remains {
            return .init(
                .wait(group.name),
                reason: "\(left.node) \(left.reason); when that is over, or the machine is off, say so with "
                    + "`holdfast group confirm-stopped \(group.name) --on \(left.node) --statement TEXT`")
        }
        let eligibility = Eligibility(group, policy, observation)
        if let target = group.target, eligibility.candidates.contains(target) {
            return .init(
                .assign(group.name, node: target, isTakeover: false), reason: "an operator wants it on \(target)")
        }
        guard let best = eligibility.candidates.first else {
            if eligibility.isExhausted {
                return .init(.park(group.name), reason: "it failed everywhere: \(eligibility.exclusions)")
            }
            return .init(.wait(group.name), reason: "no node may run it: \(eligibility.exclusions)")
        }
        if let last = group.lastOwner, last != best, group.recentMoves >= policy.maximumMoves {
            return .init(
                .park(group.name),
                reason: "it moved \(group.recentMoves) times within \(policy.moveWindow.words); "
                    + "`holdfast group start \(group.name)` tries again")
        }
        return .init(
            .assign(group.name, node: best, isTakeover: false), reason: self.reason(group, policy, observation, best))
    }

    private static func reason(
        _ group: Observation.Group, _ policy: GroupPolicy, _ observation: Observation, _ node: String
    ) -> String {
        guard let last = group.lastOwner else {
            let better = policy.nodes.prefix { $0 != node }.first { observation.node($0)?.isToPause == true }
            return "it was never started and "
                + (better.map { "\($0) is about to pause" } ?? "\(node) is its first choice")
        }
        if !policy.nodes.contains(node) {
            return "\(node) alone has all its data, until another node of its list has them"
        }
        if last == node { return "\(node) had it last and may run it" }
        if let ban = group.bans.first(where: { $0.node == last }) { return "\(last) \(ban.reason)" }
        return "it has no owner since \(last) and \(node) is the best that may run it"
    }
}
