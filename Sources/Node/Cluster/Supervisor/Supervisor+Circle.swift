import Basis
import Raft

/// Whom a node tells by itself, every moment, that it is there and how it stands; and how it learns of the others. (Rule J7)
extension Supervisor {
    /// A leader, or a release from before there was this rule, that was not heard for so long is not there.
    private static let circlePatience = Span.seconds(3)
    /// Who was asked for the others' words answers within one round trip.
    private static let gatheringPatience = Span.milliseconds(500)
    private static let gatheringMaximum = 256

    /// Those that get this node's pings and summaries, sorted. A node with a vote, and the leader, tell everybody; any other
    /// tells them alone, as long as it follows a leader and hears nobody of an earlier release.
    public func circle(at now: Tick) -> [NodeID] {
        let membership = self.consensus.outline.membership
        let leader = self.consensus.outline.leader
        guard !membership.voters.isEmpty, !membership.isVoter(self.identity.node), leader != self.identity.node,
            let heardAt = self.leaderSeen(at: now) ?? self.links.leaderHeardAt,
            now.since(heardAt) <= Self.circlePatience, !self.telling.hearsEarlierRelease(at: now)
        else { return self.links.nodes }
        return self.links.nodes.filter { membership.isVoter($0) || $0 == leader }
    }

    /// A node without a vote may follow no leader for as long as an election takes: nothing is told to everybody because of that.
    mutating func noteLeaderHeard(at now: Tick) {
        if let seen = self.leaderSeen(at: now) { self.links.leaderHeardAt = seen }
    }

    /// Whether there are nodes of which this one hears nothing by itself.
    public func hearsNotAll(at now: Tick) -> Bool { self.circle(at: now).count < self.links.nodes.count }

    // MARK: How the others stand

    /// A client wants to know how all nodes stand, also those of which this one hears nothing by itself: a node with a vote has
    /// heard them.
    mutating func gather(for client: UInt64, at now: Tick, into effects: inout [SupervisorEffect]) {
        guard let teller = self.teller(at: now), self.telling.gathering.count < Self.gatheringMaximum else {
            effects.append(.reply(id: client, .gathered))
            return
        }
        self.telling.gathering.append((client, now + Self.gatheringPatience))
        self.sendDirectly(.askStandings, to: teller, at: now, into: &effects)
    }

    /// Who is asked: the leader, or else the first voter, of this release and over a link that works both ways, for the words
    /// do not go through a third node.
    private func teller(at now: Tick) -> NodeID? {
        guard self.hearsNotAll(at: now) else { return nil }
        let leader = self.consensus.outline.leader.map { [$0] } ?? []
        return (leader + self.consensus.outline.membership.allVoters).first { node in
            self.links.reachability.isGood(node, at: now) && self.telling.speaksPresentRelease(node, at: now)
        }
    }

    /// Says what this node has heard of the others.
    func tellStandings(to asker: NodeID, at now: Tick, into effects: inout [SupervisorEffect]) {
        let heard = self.telling.standings(at: now).filter { $0.node != asker }
        self.sendDirectly(.standings(heard), to: asker, at: now, into: &effects)
    }

    /// A node with a vote says what it has heard.
    mutating func gathered(_ standings: [Standing], at now: Tick, into effects: inout [SupervisorEffect]) {
        guard !self.telling.gathering.isEmpty else { return }
        for standing in standings where standing.node != self.identity.node {
            self.telling.passedOn(standing, at: now)
        }
        for (client, _) in self.telling.gathering { effects.append(.reply(id: client, .gathered)) }
        self.telling.gathering = []
    }

    /// Who was not answered is shown what this node knows.
    mutating func settleGathering(at now: Tick, into effects: inout [SupervisorEffect]) {
        for (client, until) in self.telling.gathering where now >= until {
            effects.append(.reply(id: client, .gathered))
        }
        self.telling.gathering.removeAll { now >= $0.until }
    }

    /// Through no third node.
    private func sendDirectly(
        _ message: NodeMessage, to node: NodeID, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        if self.recovering.isOvertaken { return }
        effects.append(.send(self.envelope(message, to: node, isRelayed: false, at: now), to: node))
    }
}
