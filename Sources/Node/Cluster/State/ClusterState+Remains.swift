import Basis
import Resources

/// What nodes could not take down of groups that must not run there any more. (Rules L11.5, L12.3)
extension ClusterState {
    /// What one node says is left of a group on it.
    public struct RemainsRecord: Equatable, Sendable {
        /// The node.
        public var node: NodeID
        /// What, and why.
        public var remains: GroupRemains
        /// Cluster time of its first report.
        public var since: UInt64
        /// Cluster time of its last report.
        public var heardAt: UInt64
    }

    /// A report that was not repeated for this long is not fresh: the node repeats it every few seconds.
    public static let remainsFreshMilliseconds: UInt64 = 15_000

    mutating func applyRemains(_ command: Command, at index: LogIndex) -> Outcome {
        switch command {
        case .remains(let group, let node, let incarnation, let remains):
            return self.updateGroup(group) { state, record in
                guard state.node(node)?.incarnation == incarnation else {
                    return .over("that was another life of the node")
                }
                state.note(remains, of: &record, on: node, at: index)
                return nil
            }
        case .confirmStopped(let group, let node, let statement):
            return self.updateGroup(group) { state, record in
                guard record.remains.contains(where: { $0.node == node }) else {
                    return "\(state.name(of: node)) did not say that anything of it is left there"
                }
                record.remains.removeAll { $0.node == node }
                let signed = GroupHappening.stopSigned(on: state.named(node), statement: KeptWords(statement))
                state.note(.group(group, signed), at: index)
                return nil
            }
        default:
            preconditionFailure("not about remains: \(command)")
        }
    }

    private mutating func note(
        _ remains: GroupRemains?, of record: inout GroupRecord, on node: NodeID, at index: LogIndex
    ) {
        let place = record.remains.firstIndex { $0.node == node }
        guard let remains else {
            guard let place else { return }
            record.remains.remove(at: place)
            self.note(.group(record.name, .remainsOver(on: self.named(node))), at: index)
            return
        }
        if let place, record.remains[place].remains.kind == remains.kind {
            let isNews = record.remains[place].remains.reason != remains.reason
            record.remains[place].remains = remains
            record.remains[place].heardAt = self.clusterMilliseconds
            if !isNews { return }
        } else {
            if let place { record.remains.remove(at: place) }
            record.remains.append(
                RemainsRecord(
                    node: node, remains: remains, since: self.clusterMilliseconds, heardAt: self.clusterMilliseconds))
            record.remains.sort { $0.node < $1.node }
        }
        self.note(.group(record.name, .remains(on: self.named(node), remains)), at: index)
    }

    /// A new life of a node, or a fence, ends what was left on it.
    mutating func forgetRemains(of node: NodeID) {
        for place in self.groups.indices { self.groups[place].remains.removeAll { $0.node == node } }
    }

    /// Why a group without an owner must not start anywhere, at an instant of cluster time: something of it is alive on a
    /// node that lost it. What a kill does not end is waited for until it is over; what merely hangs, while its node goes
    /// on saying so, and no longer than the group's policy allows.
    public func blockingRemains(of record: GroupRecord, at milliseconds: UInt64) -> RemainsRecord? {
        guard !record.remains.isEmpty else { return nil }
        let patience = self.policy.group(record.name)?.undeadWait ?? GroupPolicy.standardUndeadWait
        return record.remains.first { left in
            switch left.remains.kind {
            case .unstopped: true
            case .unkilled:
                milliseconds < left.heardAt + Self.remainsFreshMilliseconds
                    && milliseconds < left.since + patience.milliseconds
            }
        }
    }
}
