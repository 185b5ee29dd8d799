import Basis
import Resources

/// What the planner gives up, and what it lets count no longer.
extension ClusterState {
    mutating func applyPlanner(_ command: Command, at index: LogIndex) -> Outcome {
        switch command {
        case .park(let group, let epoch, let seenAt, let reason):
            return self.updateGroup(group) { state, record in
                guard record.epoch == epoch else { return .over("the epoch is over") }
                // A plan that is older than what an operator asked for, or than the configuration, takes nothing back.
                guard record.wishedAt <= seenAt, state.policyIndex <= seenAt else { return "it is wanted anew" }
                guard record.assignment == nil, record.parked == nil else { return "it is not waiting" }
                record.parked = reason
                record.since = state.clusterMilliseconds
                state.note(.group(group, .parked(reason: KeptWords(reason))), at: index)
                return nil
            }
        case .forgive(let group, let node, let since):
            return self.updateGroup(group) { state, record in
                guard let place = record.bans.firstIndex(where: { $0.node == node && $0.since == since }) else {
                    return "that failure counts no longer"
                }
                record.bans.remove(at: place)
                state.note(.group(group, .mayRunAgain(on: state.named(node))), at: index)
                return nil
            }
        default:
            preconditionFailure("not the planner's: \(command)")
        }
    }
}
