import Basis
import Raft

/// What the leader decides about who votes, and who is still a node. (Rules B1, B4, E2.6, J1, J2, J5)
extension Supervisor {
    /// Nodes become voters once they are admitted and have caught up, and those that are to leave lose their vote: one change
    /// at a time, to the voters that are wanted of those that could vote at once.
    mutating func decideMembership(at now: Tick, into effects: inout [SupervisorEffect]) {
        let membership = self.consensus.outline.membership
        guard !membership.isJoint, self.consensus.outline.membershipIndex <= self.consensus.commitIndex else { return }
        if self.demoteForgetful(membership, at: now, into: &effects) { return }
        if membership.hasSettled(for: self.state.nodes) { return }
        let follows = self.followers(at: now)
        let ready = self.ready(follows)
        let choice = VoterChoice(of: self.state.nodes, voting: membership.voters) { ready.contains($0.id) }
        var voters = self.leadership?.voters(of: choice) ?? choice.voters
        if voters.isEmpty { voters = membership.voters }
        // Who leads hands over first: until then it keeps its vote, also while who is to lead is only given one.
        let me = self.identity.node
        if membership.voters.contains(me), !voters.contains(me) {
            let couldLead = membership.voters.contains { voter in
                voter != me && voters.contains(voter) && follows[voter] != nil && !membership.witnesses.contains(voter)
            }
            if couldLead { return self.handLeadershipOver(at: now, into: &effects) { voters.contains($0.id) } }
            voters = (voters + [me]).sorted()
        }
        let patience = self.consensus.patience
        // No vote is taken away while whoever is better, or makes the number odd, may only not have answered yet.
        if !membership.voters.allSatisfy({ voters.contains($0) }),
            self.leadership?.awaitsAnswers(for: patience, at: now) == true
        {
            return
        }
        guard self.isMajorityUp(of: voters, follows), self.isMajorityUp(of: membership.voters, follows) else { return }
        let known = self.state.nodes.map(\.id)
        let target = Membership(
            voters: voters, learners: known.filter { !voters.contains($0) },
            witnesses: voters.filter { self.state.node($0)?.about.isWitness == true })
        if target != membership { self.consensusStep(.changeMembership(target), at: now, into: &effects) }
    }

    /// Who follows this leader's log right now: it answered within the time after which it would look for another leader, and
    /// has confirmed entries since its log was opened last. With how far each was seen to hold the log. (Rule J1)
    func followers(at now: Tick) -> Followers {
        let patience = self.consensus.patience
        let heard = self.consensus.lastContacts.filter { now < $0.1 + patience }.map(\.0) + [self.identity.node]
        var followers = Followers()
        for (node, match) in self.consensus.matchIndexes
        where match > .zero && heard.contains(node) && !self.hasEvidence(against: node) {
            followers.matches.append((node, match))
        }
        return followers
    }

    /// The nodes that could vote at once.
    private func ready(_ follows: Followers) -> [NodeID] {
        var ready: [NodeID] = []
        for place in self.state.nodes.indices where self.isReady(self.state.nodes[place], follows) {
            ready.append(self.state.nodes[place].id)
        }
        return ready
    }

    /// Whether a node could vote at once. (Rule E2.6: it follows with the very log that was admitted)
    func isReady(_ record: ClusterState.NodeRecord, _ follows: Followers) -> Bool {
        // Rule E5: what several machines promise under one name counts nowhere.
        guard record.standing == .trusted, !record.twins.isOpen,
            record.id == self.identity.node || self.seenMark(of: record.id)?.directory == record.mark.directory,
            let index = follows[record.id]
        else { return false }
        return index.rawValue + 50 >= self.consensus.outline.last.index.rawValue
    }

    /// A change never leaves the majority to nodes that are away: while it is joint two are needed, of those that voted before
    /// and of those that vote then. A standing does not count: a node without a lease votes, and one that is away may have it.
    private func isMajorityUp(of voters: [NodeID], _ follows: Followers) -> Bool {
        voters.filter { follows[$0] != nil }.count > voters.count / 2
    }

    /// Hands leadership to another voter, if one that can lead, and is wanted for it, is in touch. Asked for now and then.
    mutating func handLeadershipOver(
        at now: Tick, into effects: inout [SupervisorEffect], where isWanted: (ClusterState.NodeRecord) -> Bool
    ) {
        guard now >= self.departure.nextHandoverAt else { return }
        self.departure.nextHandoverAt = now + .seconds(5)
        let isAnyReady = self.consensus.outline.membership.voters.contains { voter in
            guard voter != self.identity.node, let record = self.state.node(voter) else { return false }
            return isWanted(record) && !record.about.isWitness && self.links.reachability.isGood(voter, at: now)
        }
        if isAnyReady { self.consensusStep(.transferLeadership(to: nil), at: now, into: &effects) }
    }

    /// Rule E2.6: a voter that has forgotten, and whose known life is lost, becomes a learner: as one it gets the log anew,
    /// is admitted under its new directory, and is given its vote back like any other.
    private mutating func demoteForgetful(
        _ membership: Membership, at now: Tick, into effects: inout [SupervisorEffect]
    ) -> Bool {
        guard self.peers.acquaintances.isAnyForgetful || self.state.nodes.contains(where: \.twins.isOpen) else {
            return false
        }
        let found = membership.voters.first { node in
            guard node != self.identity.node, let record = self.state.node(node) else { return false }
            // Rule E5: what such a node promises may be promised by either machine, and known to one of them alone.
            return record.isLifeInQuestion || self.isForgetful(node, at: now) && record.standing == .lost
        }
        guard let found else { return false }
        let follows = self.followers(at: now)
        let members = self.state.nodes.filter { record in
            record.about.role == .member && !record.isRetiring && self.isReady(record, follows)
        }
        guard let target = membership.withoutVote(of: found, orElse: members.map(\.id)),
            self.isMajorityUp(of: target.voters, follows)
        else { return false }
        if self.state.node(found)?.isLifeInQuestion != true { effects.append(.note(.lostItsLog(found))) }
        self.consensusStep(.changeMembership(target), at: now, into: &effects)
        return true
    }

    // MARK: Leaving (rule J2)

    /// Whether a life is ended although the node is heard: it has forgotten what it promised, or it may be of several machines
    /// (rule E5), or it is to leave, has no vote any more, and nothing stands on it.
    func isOut(_ record: ClusterState.NodeRecord, at now: Tick) -> Bool {
        if self.isForgetful(record.id, at: now) || self.isTwinOut(record, at: now) { return true }
        return record.isRetiring && !self.consensus.outline.membership.isVoter(record.id)
            && self.consensus.outline.membershipIndex <= self.consensus.commitIndex
            && self.state.whatKeeps(record.id) == nil
    }

    /// Who is to leave, votes no more and certainly has no lease is no node any more.
    mutating func decideExpulsions(at now: Tick, into effects: inout [SupervisorEffect]) {
        for record in self.state.nodes where record.isRetiring {
            guard record.standing == .lost || record.standing == .never,
                !self.consensus.outline.membership.isVoter(record.id),
                self.consensus.outline.membershipIndex <= self.consensus.commitIndex,
                self.state.whatKeeps(record.id) == nil
            else { continue }
            self.request(.expel(record.id, record.incarnation), at: now, into: &effects)
        }
    }
}

extension ClusterState.NodeRecord {
    /// It should not lead while another can.
    var leavesLeadership: Bool {
        self.isDrained || self.isDeparting || self.isRetiring || self.isLifeInQuestion || !self.about.role.mayVote
    }
}

extension Membership {
    /// This one without the vote of a node that has forgotten; where only witnesses would be left, the first of these members
    /// gets a vote, for somebody must lead. Nil where there is none. (Rule E2.6)
    func withoutVote(of forgetful: NodeID, orElse members: [NodeID]) -> Membership? {
        var voters = self.voters.filter { $0 != forgetful }
        let witnesses = self.witnesses.filter { $0 != forgetful }
        if witnesses.count == voters.count {
            guard let member = members.first(where: { $0 != forgetful && self.learners.contains($0) }) else {
                return nil
            }
            voters = (voters + [member]).sorted()
        }
        let learners = self.learners.filter { !voters.contains($0) } + [forgetful]
        return Membership(voters: voters, learners: learners, witnesses: witnesses)
    }

    /// Whether every node that may votes, the witnesses as witnesses, and no choice is left: an odd number, no more than may
    /// vote at all, and no site that is a majority while there is another.
    fileprivate func hasSettled(for nodes: [ClusterState.NodeRecord]) -> Bool {
        guard self.voters.count + self.learners.count == nodes.count, self.voters.count % 2 == 1,
            self.voters.count <= VoterChoice.votersMaximum, !self.isOneSiteOfSeveralMajority(nodes)
        else { return false }
        var spare = 0
        for place in nodes.indices {
            let id = nodes[place].id
            let may = nodes[place].about.role.mayVote && !nodes[place].isRetiring
            if self.voters.contains(id) {
                guard may, self.witnesses.contains(id) == nodes[place].about.isWitness else { return false }
            } else {
                guard self.learners.contains(id) else { return false }
                if may { spare += 1 }
            }
        }
        return spare == 0
    }

    /// Whether the voters stand in several sites of which one is a majority: it may have been another when they were chosen.
    private func isOneSiteOfSeveralMajority(_ nodes: [ClusterState.NodeRecord]) -> Bool {
        for place in nodes.indices where self.voters.contains(nodes[place].id) {
            var same = 0
            for other in nodes.indices where self.voters.contains(nodes[other].id) {
                if nodes[other].about.site == nodes[place].about.site { same += 1 }
            }
            if same < self.voters.count, same * 2 > self.voters.count { return true }
        }
        return false
    }
}

/// Who follows a leader's log, and how far each holds it. Few: they are looked through, not hashed.
struct Followers {
    fileprivate var matches: [(node: NodeID, index: LogIndex)] = []

    /// How far a node holds the log; nil when it does not follow.
    subscript(node: NodeID) -> LogIndex? { self.matches.first { $0.node == node }?.index }
}
