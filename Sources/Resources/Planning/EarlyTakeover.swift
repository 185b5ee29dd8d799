import Basis

/// When another node may take over before the owner confirmed its stop.
///
/// The ordinary case needs no rule here: `lost` removes the owner in the replicated state, and placement follows.
enum EarlyTakeover {
    static func decide(
        _ group: Observation.Group, _ policy: GroupPolicy, _ observation: Observation, owner: String
    ) -> Plan.Action? {
        guard policy.takeover == .immediate, observation.node(owner)?.standing == .suspected else { return nil }
        guard group.awaits == nil else { return nil }
        let eligibility = Eligibility(group, policy, observation)
        guard let best = eligibility.candidates.first(where: { $0 != owner }) else { return nil }
        if group.recentMoves >= policy.maximumMoves { return nil }
        return .init(
            .assign(group.name, node: best, isTakeover: true),
            reason: "\(owner) is silent and the group's takeover is immediate")
    }

    static func decideWhileReleasing(
        _ group: Observation.Group, _ policy: GroupPolicy, _ observation: Observation, owner: String
    ) -> Plan.Action? {
        group.isWanted ? self.decide(group, policy, observation, owner: owner) : nil
    }
}
