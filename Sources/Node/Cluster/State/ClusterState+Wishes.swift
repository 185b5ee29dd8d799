import Basis
import Resources

/// What operators and the planner want of a group.
extension ClusterState {
    mutating func applyWish(_ command: Command, at index: LogIndex) -> Outcome {
        switch command {
        case .want(let group, let isRunning):
            return self.updateGroup(group) { state, record in
                record.isWanted = isRunning
                record.wishedAt = index
                record.target = nil
                if isRunning {
                    record.parked = nil
                    record.bans.removeAll()
                    record.moves.removeAll()
                }
                record.since = state.clusterMilliseconds
                state.note(
                    "an operator wants \(group) \(isRunning ? "running" : "stopped")", rule: "operator", at: index,
                    group: group)
                return nil
            }
        case .move(let group, let node):
            return self.updateGroup(group) { state, record in
                guard let policy = state.policy.group(group) else { return "it is not in the configuration" }
                let name = state.name(of: node)
                guard policy.nodes.contains(name) else {
                    return "\(name) is not in its list of nodes (\(policy.nodes.joined(separator: ", ")))"
                }
                guard let target = state.node(node), target.standing == .trusted else { return "\(name) is not up" }
                if target.isDrained { return "\(name) is drained; `holdfast node undrain \(name)` first" }
                guard record.isWanted else { return "it is stopped; `holdfast group start \(group)` first" }
                for volume in policy.volumes {
                    if let objection = state.dataObjection(volume, on: node) { return "\(name) \(objection)" }
                }
                if record.assignment?.node == node, record.assignment?.releasing == nil {
                    record.target = nil
                    return "it is on \(name) already"
                }
                record.target = node
                record.wishedAt = index
                record.bans.removeAll { $0.node == node }
                record.parked = nil
                state.note(
                    "an operator moves \(group) to \(name)", rule: "operator", at: index, group: group, node: node)
                return nil
            }
        case .park(let group, let epoch, let seenAt, let reason):
            return self.updateGroup(group) { state, record in
                guard record.epoch == epoch else { return .over("the epoch is over") }
                // A plan that is older than what an operator asked for, or than the configuration, takes nothing back.
                guard record.wishedAt <= seenAt, state.policyIndex <= seenAt else { return "it is wanted anew" }
                guard record.assignment == nil, record.parked == nil else { return "it is not waiting" }
                record.parked = reason
                record.since = state.clusterMilliseconds
                state.note("\(group) is parked: \(reason)", rule: "NoFlap", at: index, group: group)
                return nil
            }
        case .forgive(let group, let node, let since):
            return self.updateGroup(group) { state, record in
                guard let place = record.bans.firstIndex(where: { $0.node == node && $0.since == since }) else {
                    return "that failure counts no longer"
                }
                record.bans.remove(at: place)
                state.note(
                    "\(group) may run on \(state.name(of: node)) again: its failure there is long ago", rule: "restart",
                    at: index, group: group, node: node)
                return nil
            }
        default:
            preconditionFailure("not a wish: \(command)")
        }
    }
}
