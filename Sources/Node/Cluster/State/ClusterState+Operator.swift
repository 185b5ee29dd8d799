import Basis
import Resources

/// What operators want of groups, and what they write down.
extension ClusterState {
    /// The longest note, in characters; what lies behind is cut off.
    static let noteMaximum = 400

    mutating func applyOperator(_ command: Command, at index: LogIndex) -> Outcome {
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
                state.note(.group(group, isRunning ? .wantedRunning : .wantedStopped), at: index)
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
                state.note(.group(group, .moveWanted(to: state.named(node))), at: index)
                return nil
            }
        case .note(let text, let node):
            let line = ForeignText.line(text, limit: Self.noteMaximum)
            guard !line.isEmpty else { return .refused(.unfit("a note says something")) }
            if let node, self.node(node) == nil { return .refused(.unknown(.node(node))) }
            self.note(.cluster(.noted(KeptWords(line), about: node.map { self.named($0) })), at: index)
            return .accepted
        default:
            preconditionFailure("not an operator's: \(command)")
        }
    }
}
