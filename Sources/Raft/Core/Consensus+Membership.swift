import Basis

extension Consensus {
    /// Leader: starts a change of membership; through a joint one when the voters change. (Raft §6)
    mutating func changeMembership(to target: Membership, into effects: inout Effects) {
        if let refusal = self.refusal(of: target) {
            effects.dropped.append(.init(request: .membership(target), reason: refusal))
            return
        }
        let current = self.log.membership
        var change = target
        if target.voters != current.voters {
            let leaving = current.witnesses.filter { !target.voters.contains($0) }
            change = Membership(
                voters: target.voters, outgoing: current.voters, learners: target.learners,
                witnesses: target.witnesses + leaving)
        }
        effects.notes.append(.changesVoters(target.voters))
        self.appendEntry(.membership(change))
        self.broadcast(into: &effects)
    }

    private func refusal(of target: Membership) -> Refusal? {
        guard case .leader = self.state else { return .notLeader(leader: self.leader) }
        if let transfer = self.leading.transfer { return .transferring(to: transfer.target) }
        let current = self.log.membership
        if current.isJoint || self.log.membershipIndex > self.commitIndex {
            return .changePending(index: self.log.membershipIndex)
        }
        // Without this, two leaders can commit by disjoint majorities. (Pitfall M1)
        if self.commitIndex < self.leading.opening { return .nothingCommittedInTerm(self.term) }
        if let flaw = target.flaw { return .invalidMembership(flaw) }
        for voter in target.voters where voter != self.id && !current.voters.contains(voter) {
            let match = self.leading.position(of: voter).map { self.leading.peers[$0].match.rawValue } ?? 0
            let known = current.learners.contains(voter)
            guard known, match > 0, match + self.settings.promotionLag >= self.log.last.index.rawValue else {
                return .notCaughtUp(voter)
            }
        }
        return nil
    }

    /// Leader: a committed joint membership is left at once, by whoever leads then. (Pitfall M2)
    mutating func finishJointMembership() {
        let current = self.log.membership
        guard current.isJoint, self.log.membershipIndex <= self.commitIndex else { return }
        let next = Membership(
            voters: current.voters, learners: current.learners,
            witnesses: current.witnesses.filter { current.voters.contains($0) })
        self.appendEntry(.membership(next))
    }

    /// Leader: having committed a membership without itself, it makes room. (Raft §6; pitfall M3)
    mutating func leaveIfRemoved(into effects: inout Effects) {
        guard case .leader = self.state, !self.isVoter, self.log.membershipIndex <= self.commitIndex else { return }
        self.sendHeartbeats(into: &effects)
        self.hint(self.successor(holding: self.commitIndex), into: &effects)
        effects.notes.append(.leavesVoters)
        self.follow(nil, in: self.term, into: &effects)
    }

    /// Leader: talks to exactly the members of the latest membership.
    mutating func refreshPeers() {
        let membership = self.log.membership
        let known = self.leading.peers
        let next = self.log.last.index.next
        self.leading.peers = membership.all.filter { $0 != self.id }.map { node in
            let isVoter = membership.isVoter(node)
            let fresh = Progress(node: node, isVoter: isVoter, next: next, contact: self.latest)
            guard var peer = known.first(where: { $0.node == node }) else { return fresh }
            // A voter that became a learner may be one whose disk was rolled back: what it confirmed once is void.
            if peer.isVoter, !isVoter { return fresh }
            peer.isVoter = isVoter
            return peer
        }
        if let target = self.leading.transfer?.target, !membership.voters.contains(target) {
            self.leading.transfer = nil
        }
    }
}

extension Membership {
    /// Why this can never be in force; nil when it can.
    var flaw: String? {
        if self.voters.isEmpty { return "there is no voter" }
        if self.isJoint { return "the target of a change cannot be joint" }
        for nodes in [self.voters, self.learners, self.witnesses] {
            for (node, next) in zip(nodes, nodes.dropFirst()) where node == next { return "\(node) is listed twice" }
            if nodes.first == NodeID(0) { return "n0 is not a node" }
        }
        if let both = self.learners.first(where: { self.voters.contains($0) }) {
            return "\(both) cannot both vote and learn"
        }
        if let stranger = self.witnesses.first(where: { !self.voters.contains($0) }) {
            return "the witness \(stranger) is not a voter"
        }
        if self.witnesses.count == self.voters.count { return "every voter is a witness" }
        return nil
    }
}
