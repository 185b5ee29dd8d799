import Basis
import Raft
import Resources

/// Whether the leader leaves its place to a voter in a site that is preferred, and when. (Rule C11)
struct LeaderPreference: Sendable {
    /// For so long a better voter must have been fit without a break.
    static let shortestPause = Span.seconds(30)
    /// However often leadership came back, it is not waited for longer.
    static let longestPause = Span.seconds(3600)
    /// Who leads again so soon after it handed over did so in vain.
    private static let trial = Span.seconds(600)

    private(set) var pause = Self.shortestPause
    private var best: NodeID?
    private var fitSince = Tick.zero
    private var handedOverAt: Tick?

    /// This node leads from now on.
    mutating func began(at now: Tick) {
        self.best = nil
        guard let before = self.handedOverAt else { return }
        self.handedOverAt = nil
        self.pause =
            now.since(before) < Self.trial + self.pause ? min(self.pause * 2, Self.longestPause) : Self.shortestPause
    }

    /// Of those that are fit, with the place of their site in the list, the one that comes first. The one that has been waited for
    /// so far stays it as long as none comes before it: how much each holds changes with every message.
    func choice(of fit: [(node: NodeID, rank: Int)]) -> NodeID? {
        guard let first = fit.map(\.rank).min() else { return nil }
        let best = fit.filter { $0.rank == first }.map(\.node)
        return best.first { $0 == self.best } ?? best.first
    }

    /// The best voter that is fit to lead, if it is better than this leader: whether it is to lead now.
    mutating func take(_ best: NodeID?, at now: Tick) -> Bool {
        guard let best, best == self.best else {
            self.best = best
            self.fitSince = now
            return false
        }
        guard now >= self.fitSince + self.pause else { return false }
        self.handedOverAt = now
        self.best = nil
        return true
    }
}

extension Supervisor {
    /// Hands over to a voter whose site comes before that of this node, once it has been fit for a while. Nothing else follows from
    /// the order of sites: whoever can leads when the others cannot.
    mutating func preferLeader(at now: Tick, into effects: inout [SupervisorEffect]) {
        let best = self.preferredLeader(at: now)
        guard self.departure.preference.take(best, at: now), let best else { return }
        effects.append(.note(.prefersLeader(best)))
        self.consensusStep(.transferLeadership(to: best), at: now, into: &effects)
    }

    /// The voter in the most preferred site before that of this node that could lead at once.
    private func preferredLeader(at now: Tick) -> NodeID? {
        let sites = self.state.policy.leaderSites
        guard !sites.isEmpty, let me = self.me, !self.consensus.outline.membership.isJoint else { return nil }
        let own = sites.firstIndex(of: me.about.site) ?? sites.count
        guard own > 0 else { return nil }
        let membership = self.consensus.outline.membership
        let follows = self.followers(at: now)
        var fit: [(node: NodeID, rank: Int)] = []
        for record in self.state.nodes {
            let rank = sites.firstIndex(of: record.about.site) ?? sites.count
            guard rank < own, membership.voters.contains(record.id), !membership.witnesses.contains(record.id),
                !record.leavesLeadership, !self.isPauseExpected(of: record, at: now), self.isReady(record, follows)
            else { continue }
            fit.append((record.id, rank))
        }
        return self.departure.preference.choice(of: fit)
    }
}
