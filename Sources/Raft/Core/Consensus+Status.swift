import Basis

extension Consensus {
    /// How a node stands, as the methods of the same names say it.
    public struct Outline: Equatable, Sendable {
        /// Whether this node leads.
        public var isLeader = false
        /// Who leads this term, as far as known.
        public var leader: NodeID?
        /// The last entry's term and index.
        public var last: LogMark
        /// The latest membership in the log, committed or not.
        public var membership: Membership
        /// The index of the entry that holds it.
        public var membershipIndex = LogIndex.zero
        /// Grows whenever an entry is appended or cut off.
        public var logVersion: UInt64 = .max
        /// Whether this node has a vote in it.
        public var isVoter = false
        /// When `.tick` is due.
        public var nextDeadline = Tick.zero
        /// The log is durable up to here.
        public var durableIndex = LogIndex.zero
        /// How many requests to make something durable were handed out in this run.
        public var requestsIssued: UInt64 = 0

        init(last: LogMark, membership: Membership) {
            self.last = last
            self.membership = membership
        }
    }

    mutating func noteOutline() {
        self.outline.leader = self.leader
        self.outline.isLeader = self.outline.leader == self.id
        if self.outline.logVersion != self.log.version {
            self.outline.logVersion = self.log.version
            self.outline.last = self.log.last
            self.outline.membership = self.log.membership
            self.outline.membershipIndex = self.log.membershipIndex
            self.outline.isVoter = self.isVoter
        }
        self.outline.nextDeadline = self.nextDeadline
        self.outline.durableIndex = self.durability.last
        self.outline.requestsIssued = self.durability.issued
    }

    /// What the node is.
    public var role: RoleName {
        switch self.state {
        case .follower: .follower
        case .preCandidate: .preCandidate
        case .candidate: .candidate
        case .leader: .leader
        }
    }

    /// Who leads this term, as far as known.
    public var leader: NodeID? {
        switch self.state {
        case .follower(let follower): follower.leader
        case .leader: self.id
        case .preCandidate, .candidate: nil
        }
    }

    /// Whether this node leads.
    public var isLeader: Bool { self.role == .leader }
    /// The last entry's term and index.
    public var lastMark: LogMark { self.log.last }
    /// The last entry's index.
    public var lastIndex: LogIndex { self.log.last.index }
    /// The first index still in memory.
    public var firstIndex: LogIndex { self.log.first }
    /// The latest membership in the log, committed or not. (Raft §6)
    public var membership: Membership { self.log.membership }
    /// The index of the entry that holds it.
    public var membershipIndex: LogIndex { self.log.membershipIndex }
    /// The last index that the latest snapshot covers; zero without one.
    public var snapshotIndex: LogIndex { self.snapshot?.mark.index ?? .zero }
    /// The log is durable up to here.
    public var durableIndex: LogIndex { self.durability.last }
    /// Grows whenever an entry is appended or cut off.
    public var logVersion: UInt64 { self.log.version }
    /// Whether this node's disk was reported as failed.
    public var hasFailedDisk: Bool { self.diskHasFailed }

    /// When `.tick` is due; `never` when nothing waits for time.
    public var nextDeadline: Tick {
        if self.diskHasFailed { return .never }
        if self.deliveredIndex < min(self.commitIndex, self.durability.last) { return self.latest }
        switch self.state {
        case .leader:
            return min(self.leading.heartbeatDue, self.leading.transfer?.deadline ?? .never, self.stallDeadline)
        case .follower, .preCandidate, .candidate:
            return min(self.outline.isVoter ? self.election.deadline : .never, self.stallDeadline)
        }
    }

    /// The entry at `index`; nil when it was compacted or lies beyond the end. (Pitfall L12)
    public func entry(at index: LogIndex) -> Entry? { self.log.entry(at: index) }

    /// Copies of the entries after `index` that are still in memory.
    public func entries(after index: LogIndex) -> [Entry] {
        self.log.copy(after: max(index, self.log.base.index), through: self.log.last.index)
    }

    /// The membership that was in force at `index`, as far back as the log goes.
    public func membership(at index: LogIndex) -> Membership { self.log.membership(at: index).membership }

    /// How much of the log each node is known to hold durably, sorted by node; empty unless this node leads.
    public var matchIndexes: [(NodeID, LogIndex)] {
        guard case .leader = self.state else { return [] }
        var matches = self.leading.peers.map { ($0.node, $0.match) }
        matches.append((self.id, self.durability.last))
        return matches.sorted { $0.0 < $1.0 }
    }

    /// When each peer was last heard in this term, sorted by node: all peers on the leader, the leader on a follower.
    public var lastContacts: [(NodeID, Tick)] {
        switch self.state {
        case .leader: self.leading.peers.filter(\.heard).map { ($0.node, $0.contact) }
        case .follower(let follower): follower.leader.map { [($0, self.election.leaderHeardAt)] } ?? []
        case .preCandidate, .candidate: []
        }
    }
}

extension Consensus {
    /// Its log is empty, and it never voted: nobody can hold a promise of it.
    public var hasPromisedNothing: Bool { self.log.last == .zero && self.term == .zero }
    var isVoter: Bool { self.log.membership.isVoter(self.id) }
    var isWitness: Bool { self.log.isWitness(self.id) }
    var isSoleVoter: Bool { self.log.membership.voters == [self.id] && !self.log.membership.isJoint }

    func send(_ body: Message.Body, to node: NodeID, into effects: inout Effects) {
        effects.messagesNow.append(Outbound(to: node, message: Message(term: self.term, body: body)))
    }

    /// For answers and requests that rest on what is being made durable. (Raft Figure 2; pitfall E2)
    func promise(_ body: Message.Body, to node: NodeID, into effects: inout Effects) {
        effects.messagesAfterPersist.append(Outbound(to: node, message: Message(term: self.term, body: body)))
    }

    /// Ends every step: asks for durability, hands out what is committed and durable here, checks itself.
    mutating func finish(into effects: inout Effects) {
        if !self.diskHasFailed,
            self.durability.isBehind(
                self.log.last.index, term: self.term, vote: self.votedFor, noted: self.notedVersion)
        {
            let hardState = HardState(
                term: self.term, votedFor: self.votedFor, commit: self.commitIndex, noted: self.noted)
            if var request = self.durability.request(
                log: self.log, hardState: hardState, notedVersion: self.notedVersion, at: self.latest)
            {
                request.drawn = self.drawn
                self.drawn = nil
                effects.add(request)
            }
        }
        if !effects.messagesAfterPersist.isEmpty, effects.persist == nil, !self.durability.isPending {
            effects.messagesNow += effects.messagesAfterPersist
            effects.messagesAfterPersist.removeAll(keepingCapacity: true)
        }
        // Pitfall L2: not even a majority of others makes an entry applicable before it is durable here.
        let ready = min(self.commitIndex, self.durability.last)
        if self.deliveredIndex < ready {
            effects.committed += self.log.copy(after: self.deliveredIndex, through: ready)
            self.deliveredIndex = ready
        }
        precondition(self.commitIndex <= self.log.last.index, "committed what the log lacks: \(self.summary)")
        precondition(self.log.last.term <= self.term, "the log is ahead of the term: \(self.summary)")
    }

    mutating func persisted(_ sequence: UInt64, into effects: inout Effects) {
        if let since = self.durability.owedSince, sequence > self.durability.confirmed {
            let duration = self.latest.since(since)
            if self.durability.pace.answered(after: duration, at: self.latest) {
                effects.notes.append(.diskAnswers(after: duration))
            }
        }
        let snapshot = self.durability.confirm(sequence)
        if let snapshot, snapshot.mark.index > self.deliveredIndex {
            effects.committed.removeAll(keepingCapacity: true)
            effects.installed = snapshot
            self.deliveredIndex = snapshot.mark.index
        }
        switch self.state {
        case .candidate(var campaign):
            guard let own = campaign.ownVote, own <= sequence else { return }
            campaign.ownVote = nil
            campaign.granted.append(self.id)
            self.state = .candidate(campaign)
            self.countVotes(into: &effects)
        case .leader:
            if self.advanceCommit(into: &effects) { self.afterCommit(into: &effects) }
        case .follower, .preCandidate: break
        }
    }
}
