import Basis
import Raft

/// Wall clocks that disagree. No decision rests on them; people who read times do.
extension StatusBuilder {
    /// A clock that is further from the leader's than this is named.
    private static let differenceMaximum = Span.seconds(3)

    var clockWarnings: [String] {
        guard let leader = self.view.supervisor.consensus.leader, let right = self.wallClock(of: leader) else {
            return []
        }
        return self.state.nodes.compactMap { record in
            guard record.id != leader, let clock = self.wallClock(of: record.id) else { return nil }
            return Self.warning(
                name: record.about.name, milliseconds: clock, leader: self.state.name(of: leader),
                leaderMilliseconds: right)
        }
    }

    /// What a node's wall clock shows now, if it said so a moment ago.
    private func wallClock(of node: NodeID) -> UInt64? {
        if node == self.me { return self.view.wallMilliseconds }
        guard let (receivedAt, summary) = self.summary(of: node), summary.wallMilliseconds > 0 else { return nil }
        let (sum, overflow) = summary.wallMilliseconds.addingReportingOverflow(self.now.since(receivedAt).milliseconds)
        return overflow ? nil : sum
    }

    /// The sentence about a clock, or nil when it is near enough.
    static func warning(
        name: String, milliseconds: UInt64, leader: String, leaderMilliseconds: UInt64
    ) -> String? {
        let isBehind = milliseconds < leaderMilliseconds
        let difference = isBehind ? leaderMilliseconds - milliseconds : milliseconds - leaderMilliseconds
        guard difference > self.differenceMaximum.milliseconds else { return nil }
        return
            "the clock of \(name) is \(Amounts.age(Double(difference) / 1000)) \(isBehind ? "behind" : "ahead of") that of "
            + "\(leader), the leader: correct it (nothing rests on it but the times that people read)"
    }
}
