import Basis

/// One node's part in Raft, as a value: no clock, no chance, no input or output of its own.
///
/// Members are in force once appended (Raft §6). Elections are preceded by a pre-vote, a leader that hears no majority
/// steps down, and a follower that hears a leader votes for nobody (thesis §6.4, §9.6).
public struct Consensus: Sendable {
    /// What a node currently is.
    public enum RoleName: String, Sendable {
        /// Takes entries from a leader.
        case follower
        /// Asks whether it could win an election.
        case preCandidate
        /// Asks for votes.
        case candidate
        /// Orders the log.
        case leader
    }

    /// What a node is told. The rare and long ones are indirect, so that the others are small.
    public enum Input: Sendable {
        /// Time has passed; due at `nextDeadline`, harmless at any time.
        case tick
        /// A message of another node.
        case receive(from: NodeID, Message)
        /// The request with this sequence, and all before it, are durable.
        case persisted(sequence: UInt64)
        /// Put these bytes in the log.
        case propose([UInt8])
        /// Change who votes and learns. The target is not joint.
        indirect case changeMembership(Membership)
        /// Hand leadership to this voter, or to the best one.
        case transferLeadership(to: NodeID?)
        /// From which index on is a read linearizable? Ask again if no answer comes within an election timeout. An
        /// `id` must not repeat one of an earlier read, not even of an earlier life of this process: an old answer
        /// would be taken for the new one.
        case readIndex(id: UInt64)
        /// The state machine made this snapshot, and it is on disk beside the log; the log before it may go. Its membership is
        /// filled in here. (Rule C4)
        indirect case compact(Snapshot)
        /// The snapshot up to here that was to be kept is on disk beside the log. (Rule C4)
        case kept(LogMark)
        /// Write down which start of a node's log its promises come from; they count once this is durable. (Rule E2.1)
        indirect case note(NotedMark)
        /// Take this mark, the next one of the present directory, beside that of the start. (Rule E2.3)
        indirect case draw(StartMark)
        /// The log of this node, which has no vote, was opened anew or is another one.
        case startedAnew(NodeID)
        /// The disk of this node failed: hand over, and take no part from here on.
        case diskFailed
        /// The majority is lost, and a person wants this node to go on alone: lead, with these bytes as the first entry and
        /// these nodes as learners. Ignored while it leads already. (Rule R5)
        indirect case recover([UInt8], learners: [NodeID], above: Term)
        /// Neither ask for votes nor give one, or do so again: this node has turned away from its majority, and its log does not
        /// hold the next one yet. (Rule R2)
        case abstain(Bool)
    }

    /// This node.
    public let id: NodeID
    /// Times and sizes, fixed for this life of the node.
    public let settings: Settings
    var random: SeededRandom
    /// The latest term seen.
    public internal(set) var term: Term
    var votedFor: NodeID?
    /// Sorted by node. (Rule E2.1)
    var noted: [NotedMark]
    /// A mark that goes into the next request. (Rule E2.3)
    var drawn: StartMark?
    /// Grows with each change of `noted`.
    public internal(set) var notedVersion: UInt64 = 0
    var log: Log
    var snapshot: Snapshot?
    /// The highest index known to be committed.
    public internal(set) var commitIndex: LogIndex
    /// The highest index handed out for applying.
    public internal(set) var deliveredIndex: LogIndex
    var durability: Durability
    var state: Role = .follower(Follower()) { didSet { Role.assertStep(from: oldValue, to: self.state) } }
    /// What only a leader has; empty unless `state` says so. Beside the role, not in it: changed in place all the time.
    var leading = Leader.none
    /// Beside the role for the same reason.
    var election = ElectionTimes()
    /// How far it has turned away from a lost majority. (Rules R2, R5)
    var turning = Turning()
    var diskHasFailed = false
    var latest: Tick
    /// How it stands after the latest step: plain fields, which cost nothing to look at.
    public internal(set) var outline: Outline

    /// Starts as a follower with what the disk held. `seed` should differ between nodes.
    ///
    /// A node that took part before, in a cluster of several voters, votes for nobody during its first election
    /// timeout: a leader it no longer remembers may count on it. Its own timer is never shorter, so a cluster that
    /// starts as a whole elects in one or two timeouts. A node of term zero promised nothing, and a sole voter owes
    /// nothing to anybody: both act at once.
    public init(id: NodeID, settings: Settings, restored: RestoredState, seed: UInt64, at now: Tick) {
        self.id = id
        self.settings = settings
        self.random = SeededRandom(seed: seed ^ (UInt64(id.rawValue) &* 0x9E37_79B9_7F4A_7C15))
        self.snapshot = restored.snapshot
        self.log = Log(snapshot: restored.snapshot)
        for entry in restored.entries where entry.mark.index > self.log.base.index { self.log.append(entry) }
        self.term = max(restored.hardState.term, self.log.last.term)
        self.votedFor = restored.hardState.term == self.term ? restored.hardState.votedFor : nil
        self.noted = restored.hardState.noted
        // A crash can tear the entries off a hard state that was being written with them. Nothing of that write was
        // acknowledged, and the commit index is a hint that the leader repeats: the lower value is safe. (Pitfall L5)
        self.commitIndex = max(min(restored.hardState.commit, self.log.last.index), self.log.base.index)
        self.deliveredIndex = self.log.base.index
        self.durability = Durability(last: self.log.last.index, hardState: restored.hardState)
        self.latest = now
        self.outline = Outline(last: self.log.last, membership: self.log.membership)
        self.resetElectionDeadline(at: now)
        if self.isSoleVoter {
            self.election.deadline = now
        } else if restored.hardState.term > .zero {
            self.election.silentUntil = now + settings.electionTimeout
        }
        self.noteOutline()
    }

    /// Takes one input. `now` never runs backwards.
    public mutating func step(_ input: Input, at now: Tick, into effects: inout Effects) {
        self.latest = max(self.latest, now)
        defer {
            self.noteOutline()
            #if DEBUG
                self.assertInvariants()
            #endif
        }
        if self.diskHasFailed {
            self.refuseAfterDiskFailure(input, into: &effects)
            return
        }
        switch input {
        case .tick: self.tick(into: &effects)
        case .receive(let sender, let message): self.receive(message, from: sender, into: &effects)
        case .persisted(let sequence): self.persisted(sequence, into: &effects)
        case .propose(let payload): self.append(payload, into: &effects)
        case .changeMembership(let target): self.changeMembership(to: target, into: &effects)
        case .transferLeadership(let target): self.transferLeadership(to: target, into: &effects)
        case .readIndex(let id): self.readIndex(id, into: &effects)
        case .compact(let snapshot): self.compact(snapshot, into: &effects)
        case .kept(let mark): self.kept(mark, into: &effects)
        case .note(let mark): self.note(mark)
        case .draw(let mark): self.draw(mark)
        case .startedAnew(let node): self.startedAnew(node)
        case .diskFailed: self.failDisk(into: &effects)
        case .recover(let payload, let learners, let term):
            self.recover(payload, learners: learners, above: term, into: &effects)
        case .abstain(let abstains): self.abstain(abstains, into: &effects)
        }
        self.finish(into: &effects)
    }

    /// Proposes and tells where the entry went; nil, and `effects.dropped`, when it was refused.
    @discardableResult
    public mutating func propose(_ payload: [UInt8], at now: Tick, into effects: inout Effects) -> LogMark? {
        self.latest = max(self.latest, now)
        if self.diskHasFailed {
            self.refuseAfterDiskFailure(.propose(payload), into: &effects)
            return nil
        }
        let mark = self.append(payload, into: &effects)
        self.finish(into: &effects)
        self.noteOutline()
        return mark
    }

    mutating func receive(_ message: Message, from sender: NodeID, into effects: inout Effects) {
        guard sender != self.id else { return }
        if let violation = self.violation(in: message, from: sender) {
            effects.violations.append(.init(node: sender, violation: violation))
            return
        }
        if message.term > self.term, !self.adopt(message, from: sender, into: &effects) { return }
        if message.term < self.term, self.answerOld(message, from: sender, into: &effects) { return }
        switch message.body {
        case .preVoteRequest(let requested, let last):
            self.preVoteRequested(requested, last: last, by: sender, into: &effects)
        case .preVoteResponse(let requested, let granted):
            self.preVoteAnswered(requested, granted: granted, by: sender, into: &effects)
        case .voteRequest(let last, let transfer):
            self.voteRequested(last: last, transfer: transfer, by: sender, into: &effects)
        case .voteResponse(let granted): self.voteAnswered(granted, by: sender, into: &effects)
        case .append(let previous, let entries, let commit):
            self.heardLeader(sender, into: &effects)
            self.appendRequested(previous: previous, entries: entries, commit: commit, by: sender, into: &effects)
        case .heartbeat(let commit, let round):
            self.heardLeader(sender, into: &effects)
            self.heartbeatReceived(commit: commit, round: round, from: sender, into: &effects)
        case .snapshotChunk(let chunk):
            self.heardLeader(sender, into: &effects)
            self.chunkReceived(chunk, from: sender, into: &effects)
        case .appendAccepted(let match): self.accepted(match: match, by: sender, into: &effects)
        case .appendRejected(let previous, let hint):
            self.rejected(previous: previous, hint: hint, by: sender, into: &effects)
        case .heartbeatResponse(let round): self.heartbeatAnswered(round: round, by: sender, into: &effects)
        case .snapshotProgress(let mark, let received):
            self.chunkAnswered(mark: mark, received: received, by: sender, into: &effects)
        case .timeoutNow(let last): self.timeoutNow(last: last, from: sender, into: &effects)
        case .readRequest(let id): self.readRequested(id, by: sender, into: &effects)
        case .readResponse(let id, let index): self.readAnswered(id, index: index, into: &effects)
        case .outdated: break
        }
    }

    private mutating func tick(into effects: inout Effects) {
        self.lookAtDisk(into: &effects)
        switch self.state {
        case .leader: self.tickLeader(into: &effects)
        case .follower, .preCandidate, .candidate:
            guard self.latest >= self.election.deadline else { return }
            self.electionTimedOut(into: &effects)
        }
    }

    /// The state in a line, for preconditions and transcripts.
    public var summary: String {
        "\(self.id) \(self.role.rawValue) term \(self.term) vote \(self.votedFor.map { "\($0)" } ?? "-") log "
            + "\(self.log.first)...\(self.log.last) commit \(self.commitIndex) delivered \(self.deliveredIndex) "
            + "durable \(self.durability.last)"
    }

    private mutating func refuseAfterDiskFailure(_ input: Input, into effects: inout Effects) {
        switch input {
        case .propose(let payload): effects.dropped.append(.init(request: .proposal(payload), reason: .diskFailed))
        case .changeMembership(let target):
            effects.dropped.append(.init(request: .membership(target), reason: .diskFailed))
        case .transferLeadership(let target):
            effects.dropped.append(.init(request: .transfer(target), reason: .diskFailed))
        case .readIndex(let id): effects.rejectedReads.append(id)
        case .tick, .receive, .persisted, .compact, .kept, .note, .draw, .startedAnew, .diskFailed, .recover, .abstain:
            break
        }
    }
}
