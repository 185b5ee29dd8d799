import Basis

extension Consensus {
    /// Whether a leader is alive, or may be for all this node can remember. (Thesis §4.2.3; pitfall E13)
    var hearsLeader: Bool {
        if self.latest < self.election.silentUntil { return true }
        switch self.state {
        case .leader: return true
        case .follower(let follower):
            return follower.leader != nil && self.latest < self.election.leaderHeardAt + self.patience
        case .preCandidate, .candidate: return false
        }
    }

    /// Meets a message of a later term; false when it must be ignored altogether.
    mutating func adopt(_ message: Message, from sender: NodeID, into effects: inout Effects) -> Bool {
        switch message.body {
        case .preVoteRequest:
            return true
        case .voteRequest(_, let transfer):
            if !transfer, self.hearsLeader { return false }
            self.follow(nil, in: message.term, into: &effects)
        case .append, .heartbeat, .snapshotChunk, .timeoutNow:
            self.follow(sender, in: message.term, into: &effects)
        case .preVoteResponse, .voteResponse, .appendAccepted, .appendRejected, .heartbeatResponse, .snapshotProgress,
            .readRequest, .readResponse, .outdated:
            // A removed node's high term must not unseat a leader that no longer talks to it. (Pitfall E10)
            if case .leader = self.state, self.leading.position(of: sender) == nil { return false }
            self.follow(nil, in: message.term, into: &effects)
        }
        return true
    }

    /// Meets a message of an earlier term; true when there is nothing more to do with it.
    mutating func answerOld(_ message: Message, from sender: NodeID, into effects: inout Effects) -> Bool {
        switch message.body {
        case .preVoteRequest, .preVoteResponse:
            // Both name the term they speak of, and are judged by it. (Pitfall E4)
            return false
        case .voteRequest:
            self.send(.voteResponse(granted: false), to: sender, into: &effects)
        case .append, .heartbeat, .snapshotChunk, .timeoutNow, .readRequest:
            self.send(.outdated, to: sender, into: &effects)
        case .voteResponse, .appendAccepted, .appendRejected, .heartbeatResponse, .snapshotProgress, .readResponse,
            .outdated:
            break
        }
        return true
    }

    /// Becomes a follower in `term`.
    mutating func follow(_ leader: NodeID?, in term: Term, into effects: inout Effects) {
        precondition(term >= self.term, "term \(term) would run backwards: \(self.summary)")
        if term > self.term {
            self.term = term
            self.votedFor = nil
        }
        if case .leader = self.state {
            effects.notes.append(.stepsDown(term))
            for read in self.leading.reads { self.refuseRead(read.id, from: read.from, into: &effects) }
            for read in self.leading.earlyReads { self.refuseRead(read.id, from: read.from, into: &effects) }
            self.leading = .none
            self.resetElectionDeadline(at: self.latest)
        }
        if let leader {
            effects.notes.append(.follows(leader, term))
            self.resetElectionDeadline(at: self.latest)
        }
        self.turning.recovery = nil
        self.state = .follower(Follower(leader: leader))
        self.election.leaderHeardAt = leader == nil ? .zero : self.latest
    }

    /// The sender of a leader's message leads this term.
    mutating func heardLeader(_ sender: NodeID, into effects: inout Effects) {
        self.election.silentUntil = .zero
        if self.election.heard.term == self.term { self.noteSilence(since: self.election.heard.at) }
        self.election.heard = (self.term, self.latest)
        self.election.failures = 0
        switch self.state {
        case .follower:
            guard let leader = self.leader else {
                self.follow(sender, in: self.term, into: &effects)
                return
            }
            precondition(leader == sender, "\(sender) and \(leader) both lead: \(self.summary)")
            self.election.leaderHeardAt = self.latest
            self.resetElectionDeadline(at: self.latest)
        case .preCandidate, .candidate:
            self.follow(sender, in: self.term, into: &effects)
        case .leader:
            preconditionFailure("\(sender) leads the same term: \(self.summary)")
        }
    }

    mutating func electionTimedOut(into effects: inout Effects) {
        if case .follower(let follower) = self.state, let leader = follower.leader {
            effects.notes.append(
                .missesLeader(
                    leader, silence: self.latest.since(self.election.leaderHeardAt),
                    usual: self.election.silences.seldom))
        }
        if case .candidate = self.state { self.election.failures = min(self.election.failures + 1, 2) }
        self.resetElectionDeadline(at: self.latest)
        // Rule R5: what it waits for is its own disk.
        if self.turning.recovery != nil { return }
        guard self.isVoter, !self.abstains else { return }
        // Rule C10: its own vote could not be written down.
        if self.durability.pace.isStalled { return }
        if self.isSoleVoter {
            self.campaign(transfer: false, into: &effects)
            return
        }
        if case .preCandidate = self.state {} else { self.election.askedAt = self.latest }
        self.state = .preCandidate(Campaign(term: self.term.next, transfer: false, granted: [self.id]))
        effects.notes.append(.asksForPreVotes(self.term.next))
        for voter in self.log.membership.allVoters where voter != self.id {
            self.send(.preVoteRequest(requested: self.term.next, last: self.log.last), to: voter, into: &effects)
        }
        self.countVotes(into: &effects)
    }

    mutating func campaign(transfer: Bool, into effects: inout Effects) {
        self.term = self.term.next
        self.votedFor = self.id
        self.election.silentUntil = .zero
        self.election.campaignedAt = self.latest
        self.awaitVotes(since: transfer ? self.latest : self.election.askedAt)
        effects.notes.append(.campaigns(self.term, afterTransfer: transfer))
        var campaign = Campaign(term: self.term, transfer: transfer)
        campaign.ownVote = self.durability.issued + 1
        self.state = .candidate(campaign)
        for voter in self.log.membership.allVoters where voter != self.id {
            self.promise(.voteRequest(last: self.log.last, transfer: transfer), to: voter, into: &effects)
        }
    }

    /// Grants on an up-to-date log and no live leader, and changes nothing here. (Rule C5; thesis §9.6; pitfalls E4 to E6)
    mutating func preVoteRequested(_ requested: Term, last: LogMark, by sender: NodeID, into effects: inout Effects) {
        let granted = requested > self.term && last >= self.log.last && !self.hearsLeader
        self.send(
            .preVoteResponse(requested: requested, granted: granted && !self.abstains), to: sender, into: &effects)
    }

    mutating func preVoteAnswered(
        _ requested: Term, granted: Bool, by sender: NodeID, into effects: inout Effects
    ) {
        guard case .preCandidate(let campaign) = self.state, campaign.term == requested else { return }
        self.note(granted, by: sender, in: campaign, into: &effects)
    }

    /// Votes once per term, for a log at least as up-to-date as its own. (Rule C1; Raft §5.2, §5.4.1)
    mutating func voteRequested(last: LogMark, transfer: Bool, by sender: NodeID, into effects: inout Effects) {
        if self.abstains {
            self.send(.voteResponse(granted: false), to: sender, into: &effects)
            return
        }
        let free = self.votedFor == nil && self.leader == nil && (transfer || !self.hearsLeader)
        guard self.votedFor == sender || free, last >= self.log.last else {
            self.send(.voteResponse(granted: false), to: sender, into: &effects)
            return
        }
        self.votedFor = sender
        self.resetElectionDeadline(at: self.latest)
        self.promise(.voteResponse(granted: true), to: sender, into: &effects)
    }

    mutating func voteAnswered(_ granted: Bool, by sender: NodeID, into effects: inout Effects) {
        guard case .candidate(let campaign) = self.state else { return }
        self.note(granted, by: sender, in: campaign, into: &effects)
    }

    private mutating func note(
        _ granted: Bool, by sender: NodeID, in campaign: Campaign, into effects: inout Effects
    ) {
        var campaign = campaign
        guard !campaign.granted.contains(sender), !campaign.refused.contains(sender) else { return }
        if granted { campaign.granted.append(sender) } else { campaign.refused.append(sender) }
        if case .candidate = self.state {
            self.state = .candidate(campaign)
        } else {
            self.state = .preCandidate(campaign)
        }
        self.countVotes(into: &effects)
    }

    mutating func countVotes(into effects: inout Effects) {
        let membership = self.log.membership
        switch self.state {
        case .preCandidate(let campaign):
            if Quorum.holds(membership, where: { campaign.granted.contains($0) }) {
                self.campaign(transfer: false, into: &effects)
            } else if !Quorum.holds(membership, where: { !campaign.refused.contains($0) }) {
                self.follow(nil, in: self.term, into: &effects)
            }
        case .candidate(let campaign):
            if self.turning.recovery != nil {
                // Rule R5: nobody else is asked; its own vote counts once it is durable.
                if campaign.granted.contains(self.id) { self.lead(into: &effects) }
            } else if Quorum.holds(membership, where: { campaign.granted.contains($0) }) {
                self.lead(into: &effects)
            } else if !Quorum.holds(membership, where: { !campaign.refused.contains($0) }) {
                effects.notes.append(.lostElection(self.term))
                self.follow(nil, in: self.term, into: &effects)
            }
        case .follower, .leader: break
        }
    }

    private mutating func lead(into effects: inout Effects) {
        effects.notes.append(.leads(self.term))
        self.election.failures = 0
        // The first answers take as long as the votes took.
        let contact = self.latest + self.latest.since(self.election.campaignedAt)
        let peers = self.log.membership.all.filter { $0 != self.id }.map {
            Progress(
                node: $0, isVoter: self.log.membership.isVoter($0), next: self.log.last.index.next,
                contact: contact)
        }
        self.leading = Leader(
            peers: peers, heartbeatDue: self.latest + self.settings.heartbeatInterval,
            opening: self.log.last.index.next, uncommittedBytes: self.log.payloadBytes(after: self.commitIndex))
        self.state = .leader
        // An entry of its own term lets a leader commit what earlier terms left. (Raft §5.4.2)
        if let recovery = self.turning.recovery {
            self.begin(recovery)
        } else {
            self.appendEntry(.empty)
        }
        self.broadcast(into: &effects)
    }
}
