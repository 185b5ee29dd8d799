import Basis

/// What should run where: a pure function of policy and observation. Start reading here.
///
/// Each group is decided by itself, in the order of names: it is kept, released, assigned, parked, or waits. Every
/// action carries its reason. The rules are in `Planning/`, one file per rule.
public enum Planner {
    /// Everything that should be done now.
    public static func plan(policy: ClusterPolicy, observation: Observation) -> Plan {
        var actions: [Plan.Action] = []
        for group in observation.groups {
            guard let groupPolicy = policy.group(group.name) else {
                if let owner = group.owner, !group.isReleasing {
                    actions.append(
                        .init(
                            .release(group.name, owner: owner, target: nil),
                            reason: "it is no longer in the configuration"))
                }
                continue
            }
            if let action = self.decide(group, groupPolicy, observation) { actions.append(action) }
        }
        return Plan(actions: actions)
    }

    private static func decide(
        _ group: Observation.Group, _ policy: GroupPolicy, _ observation: Observation
    ) -> Plan.Action? {
        if let owner = group.owner {
            return group.isReleasing
                ? EarlyTakeover.decideWhileReleasing(group, policy, observation, owner: owner)
                : self.decideOwned(group, policy, observation, owner: owner)
        }
        guard group.isWanted, group.parked == nil else { return nil }
        return Placement.decide(group, policy, observation)
    }

    private static func decideOwned(
        _ group: Observation.Group, _ policy: GroupPolicy, _ observation: Observation, owner: String
    ) -> Plan.Action? {
        if !group.isWanted {
            return .init(
                .release(group.name, owner: owner, target: nil), reason: "an operator wants it stopped")
        }
        return EarlyTakeover.decide(group, policy, observation, owner: owner)
            ?? Moves.decide(group, policy, observation, owner: owner)
    }
}
