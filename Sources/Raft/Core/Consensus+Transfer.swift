import Basis

extension Consensus {
    /// Leader: stops proposals, brings the target up to date, and lets it campaign. (Rule C9; thesis §3.10)
    mutating func transferLeadership(to wanted: NodeID?, into effects: inout Effects) {
        switch self.checkedTarget(wanted) {
        case .failure(let refusal):
            effects.dropped.append(.init(request: .transfer(wanted), reason: refusal))
        case .success(let target):
            guard self.leading.transfer?.target != target else { return }
            self.startTransfer(to: target, into: &effects)
        }
    }

    private func checkedTarget(_ wanted: NodeID?) -> Result<NodeID, Refusal> {
        guard case .leader = self.state else { return .failure(.notLeader(leader: self.leader)) }
        guard let wanted else {
            guard let best = self.successor(holding: .zero) else {
                return .failure(.unfitTarget("no other voter was heard lately"))
            }
            return .success(self.leading.peers[best].node)
        }
        if wanted == self.id { return .failure(.unfitTarget("\(wanted) already leads")) }
        if !self.log.membership.voters.contains(wanted) { return .failure(.unfitTarget("\(wanted) does not vote")) }
        if self.log.membership.witnesses.contains(wanted) { return .failure(.unfitTarget("\(wanted) is a witness")) }
        return .success(wanted)
    }

    mutating func startTransfer(to target: NodeID, into effects: inout Effects) {
        effects.notes.append(.handsOver(to: target))
        self.leading.transfer = Leader.Transfer(target: target, deadline: self.latest + self.patience)
        if let position = self.leading.position(of: target) { self.ship(to: position, into: &effects) }
        self.continueTransfer(into: &effects)
    }

    /// Leader: tells the target to campaign once it holds everything; as a witness, finds one by itself.
    mutating func continueTransfer(into effects: inout Effects) {
        guard case .leader = self.state else { return }
        guard let transfer = self.leading.transfer else {
            if !self.log.membership.witnesses.isEmpty { self.transferAsWitness(into: &effects) }
            return
        }
        guard !transfer.sent, let position = self.leading.position(of: transfer.target) else { return }
        // Pitfall T2: a target that lacks entries would lose the election it calls.
        guard self.leading.peers[position].match == self.log.last.index else { return }
        self.leading.transfer?.sent = true
        self.send(.timeoutNow(last: self.log.last), to: transfer.target, into: &effects)
    }

    private mutating func transferAsWitness(into effects: inout Effects) {
        guard self.isWitness, self.commitIndex >= self.leading.opening, self.latest >= self.leading.restUntil,
            let position = self.successor(holding: self.commitIndex)
        else { return }
        self.startTransfer(to: self.leading.peers[position].node, into: &effects)
    }

    /// Leader: a target that did not take over in time is given up, and proposals flow again. (Pitfall T3)
    mutating func expireTransfer(into effects: inout Effects) {
        guard let transfer = self.leading.transfer, self.latest >= transfer.deadline else { return }
        effects.notes.append(.goesOnLeading(insteadOf: transfer.target))
        self.leading.transfer = nil
        self.leading.restUntil = self.latest + self.patience
    }

    /// Leader: the position of the voter that may lead, was heard lately, holds `index`, and holds the most.
    func successor(holding index: LogIndex) -> Int? {
        guard case .leader = self.state else { return nil }
        let membership = self.log.membership
        var best: Int?
        for (position, peer) in self.leading.peers.enumerated() {
            guard membership.voters.contains(peer.node), !membership.witnesses.contains(peer.node), peer.heard,
                peer.match >= index, self.latest < peer.contact + self.patience
            else { continue }
            if let known = best, self.leading.peers[known].match >= peer.match { continue }
            best = position
        }
        return best
    }

    /// Leader: lets a successor campaign with what it is known to hold.
    mutating func hint(_ position: Int?, into effects: inout Effects) {
        guard let position, let term = self.log.term(at: self.leading.peers[position].match) else { return }
        let mark = LogMark(term: term, index: self.leading.peers[position].match)
        self.send(.timeoutNow(last: mark), to: self.leading.peers[position].node, into: &effects)
    }

    /// Follower: the leader wants this node to lead. (Pitfalls T2, T4)
    mutating func timeoutNow(last: LogMark, from sender: NodeID, into effects: inout Effects) {
        guard case .follower = self.state, self.leader == nil || self.leader == sender else { return }
        guard self.isVoter, !self.isWitness, self.log.last >= last else {
            effects.notes.append(.declinesToLead(from: sender, needed: last))
            return
        }
        self.campaign(transfer: true, into: &effects)
    }

    /// Hands over if it leads, and takes no part from here on: it can promise nothing any more. (Pitfalls L6, L7)
    mutating func failDisk(into effects: inout Effects) {
        effects.notes.append(.diskFailed)
        if case .leader = self.state {
            self.hint(self.successor(holding: self.commitIndex), into: &effects)
        }
        self.follow(nil, in: self.term, into: &effects)
        self.diskHasFailed = true
    }
}
