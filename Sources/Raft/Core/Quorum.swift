import Basis

/// Majorities over one or two sets of voters. Knows nothing of logs or terms. (Rule C7; Raft §5.4, §6)
enum Quorum {
    /// The highest index that a majority of `voters` holds; the highest of all when there are no voters.
    static func committed(_ voters: [NodeID], match: (NodeID) -> LogIndex) -> LogIndex {
        guard !voters.isEmpty else { return LogIndex(.max) }
        return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: voters.count) { sorted in
            var count = 0
            for voter in voters {
                let value = match(voter).rawValue
                var place = count
                while place > 0, sorted[place - 1] < value {
                    sorted[place] = sorted[place - 1]
                    place -= 1
                }
                sorted[place] = value
                count += 1
            }
            return LogIndex(sorted[count / 2])
        }
    }

    /// The highest index held by a majority of the voters, and of the outgoing ones while joint.
    static func committed(_ membership: Membership, match: (NodeID) -> LogIndex) -> LogIndex {
        guard !membership.voters.isEmpty else { return .zero }
        return min(self.committed(membership.voters, match: match), self.committed(membership.outgoing, match: match))
    }

    /// Whether a majority of the voters, and of the outgoing ones while joint, satisfies `condition`.
    static func holds(_ membership: Membership, where condition: (NodeID) -> Bool) -> Bool {
        guard !membership.voters.isEmpty, self.majority(membership.voters, where: condition) else { return false }
        return membership.outgoing.isEmpty || self.majority(membership.outgoing, where: condition)
    }

    private static func majority(_ voters: [NodeID], where condition: (NodeID) -> Bool) -> Bool {
        var missing = voters.count / 2 + 1
        for voter in voters where condition(voter) {
            missing -= 1
            if missing == 0 { return true }
        }
        return false
    }
}
