import Basis

/// Going on without the majority, on a person's order. (Rule R5)
extension Consensus {
    /// A node that leaves its majority behind.
    struct Turning: Sendable {
        /// What it is to begin with, once its vote for itself is durable. (Rule R5)
        var recovery: Recovery?
        /// It neither asks for votes nor gives one. (Rules R2, E2.10)
        var abstains = false
    }

    /// It neither asks for votes nor gives one: it has turned away from its majority and its log does not hold the next one yet
    /// (rule R2), or its log is learned anew and not let in yet (rule E2.10).
    public var abstains: Bool {
        get { self.turning.abstains }
        set { self.turning.abstains = newValue }
    }

    /// What a node that goes on alone begins its term with.
    struct Recovery: Sendable {
        /// The first entry: what the state machine is told.
        let payload: [UInt8]
        /// Who gets the log from here on, sorted.
        let learners: [NodeID]
    }

    /// Campaigns for a new term, above `term`, without asking anybody. Its own vote is made durable first, so that after a
    /// crash no other entries are made under the same term.
    ///
    /// That no other majority still counts on this node is not seen to here: its driver takes nothing of the old generation
    /// any more, and nobody of the new one takes anything of the old. (Rules R1, R2)
    mutating func recover(_ payload: [UInt8], learners: [NodeID], above term: Term, into effects: inout Effects) {
        if case .leader = self.state { return }
        if self.turning.recovery != nil { return }
        if case .candidate = self.state { self.follow(nil, in: self.term, into: &effects) }
        self.turning.recovery = Recovery(payload: payload, learners: learners.filter { $0 != self.id }.sorted())
        self.term = max(self.term, term).next
        self.votedFor = self.id
        self.election.silentUntil = .zero
        self.resetElectionDeadline(at: self.latest)
        effects.notes.append(.campaigns(self.term, afterTransfer: false))
        var campaign = Campaign(term: self.term, transfer: false)
        campaign.ownVote = self.durability.issued + 1
        self.state = .candidate(campaign)
    }

    /// Leads and asks for nothing any more, or may do so again.
    mutating func abstain(_ abstains: Bool, into effects: inout Effects) {
        self.abstains = abstains
        if case .follower = self.state { if !abstains || self.leader == nil { return } }
        if abstains { self.follow(nil, in: self.term, into: &effects) }
    }

    /// The first entries of the new term. What the state machine is told comes before the membership: should the disk hold
    /// only the first of them after a crash, nobody has committed it, and the order is given again.
    mutating func begin(_ recovery: Recovery) {
        self.turning.recovery = nil
        self.appendEntry(.command(recovery.payload))
        self.appendEntry(.membership(Membership(voters: [self.id], learners: recovery.learners)))
    }
}
