import Basis
import Raft
import Testing

/// One node of three that is told things.
private struct Accused {
    static let me = NodeID(1)
    static let peer = NodeID(2)
    static let other = NodeID(3)
    var core: Consensus
    var now = Tick(nanoseconds: 1)

    /// A follower of `peer` in term 3 whose log holds entries 2 to 4, of which 3 are committed.
    init(entries: [LogMark] = [.init(2, 2), .init(3, 3), .init(3, 4)], commit: UInt64 = 3) {
        let snapshot = Snapshot(
            mark: .init(1, 1), membership: Membership(voters: [Self.me, Self.peer, Self.other]),
            membershipIndex: LogIndex(1), data: [])
        self.core = Consensus(
            id: Self.me, settings: Consensus.Settings(),
            restored: RestoredState(hardState: HardState(term: Term(1)), snapshot: snapshot), seed: 1, at: self.now)
        _ = self.hear(
            .append(
                previous: .init(1, 1), entries: entries.map { Entry(mark: $0, payload: .empty) },
                commit: LogIndex(commit)))
    }

    mutating func hear(_ body: Message.Body, from sender: NodeID = peer, term: UInt64 = 3) -> [Violation] {
        var effects = Effects()
        self.core.step(.receive(from: sender, Message(term: Term(term), body: body)), at: self.now, into: &effects)
        if let request = effects.persist {
            self.core.step(.persisted(sequence: request.sequence), at: self.now, into: &effects)
        }
        return effects.violations.map(\.violation)
    }

    /// What it sends for it, at once or once that is on disk.
    mutating func answers(_ input: Consensus.Input) -> Effects {
        var effects = Effects()
        self.core.step(input, at: self.now, into: &effects)
        if let request = effects.persist {
            self.core.step(.persisted(sequence: request.sequence), at: self.now, into: &effects)
        }
        return effects
    }

    /// Wins the election of term 4 and commits its first entry there.
    mutating func lead() {
        self.now = self.core.nextDeadline
        _ = self.answers(.tick)
        _ = self.hear(.preVoteResponse(requested: Term(4), granted: true))
        _ = self.hear(.voteResponse(granted: true), term: 4)
        #expect(self.core.isLeader)
        _ = self.hear(.appendAccepted(match: self.core.lastMark.index), term: 4)
        #expect(self.core.commitIndex == self.core.lastMark.index)
    }

    /// Says it, and expects that it is noticed, answered by nothing, and changes nothing.
    mutating func refuses(
        _ body: Message.Body, from sender: NodeID = peer, term: UInt64 = 3,
        location: SourceLocation = #_sourceLocation
    ) {
        let (summary, entries) = (self.core.summary, self.core.entries(after: .zero))
        var effects = Effects()
        self.core.step(.receive(from: sender, Message(term: Term(term), body: body)), at: self.now, into: &effects)
        #expect(effects.violations.map(\.node) == [sender], sourceLocation: location)
        #expect(effects.messagesNow.isEmpty && effects.messagesAfterPersist.isEmpty, sourceLocation: location)
        #expect(effects.persist == nil && effects.committed.isEmpty, sourceLocation: location)
        #expect(self.core.summary == summary && self.core.entries(after: .zero) == entries, sourceLocation: location)
    }
}

extension LogMark {
    fileprivate init(_ term: UInt64, _ index: UInt64) { self.init(term: Term(term), index: LogIndex(index)) }
}

@Suite struct `What no correct peer says` {
    @Test func `a second history below the commit index is an alarm, not an acceptance`() {
        var node = Accused()
        // As the place to go on from, as an entry, from the leader of this term and from one of a later term.
        node.refuses(.append(previous: .init(1, 2), entries: [], commit: LogIndex(2)))
        node.refuses(
            .append(previous: .init(1, 1), entries: [.init(mark: .init(1, 2), payload: .empty)], commit: .zero))
        node.refuses(.append(previous: .init(4, 3), entries: [], commit: LogIndex(3)), from: Accused.other, term: 5)
        node.refuses(.append(previous: .init(2, 3), entries: [], commit: LogIndex(3)))
        let chunk = Message.SnapshotChunk(
            mark: .init(1, 3), membership: Membership(voters: [NodeID(1)]), membershipIndex: LogIndex(1), offset: 0,
            total: 0, bytes: [])
        node.refuses(.snapshotChunk(chunk))
    }

    @Test func `what is not committed may differ, and is replaced`() {
        var node = Accused()
        let entry = Entry(mark: .init(5, 4), payload: .empty)
        #expect(
            node.hear(
                .append(previous: .init(3, 3), entries: [entry], commit: LogIndex(3)), from: Accused.other, term: 5
            )
            .isEmpty)
        #expect(node.core.lastMark == .init(5, 4))
    }

    @Test func `a leader of a term that is over is answered, whatever it says`() {
        var node = Accused()
        #expect(node.hear(.append(previous: .init(1, 2), entries: [], commit: .zero), term: 2).isEmpty)
    }

    @Test func `two leaders in a term are an alarm`() {
        var node = Accused()
        node.refuses(.heartbeat(commit: .zero, round: 0), from: Accused.other)
        node.refuses(.append(previous: .init(3, 4), entries: [], commit: .zero), from: Accused.other)
    }

    @Test func `entries that do not follow one another, and numbers beyond all sense, are refused`() {
        var node = Accused()
        func entries(_ marks: LogMark...) -> [Entry] { marks.map { Entry(mark: $0, payload: .empty) } }
        node.refuses(.append(previous: .init(3, 4), entries: entries(.init(3, 6)), commit: .zero))
        node.refuses(.append(previous: .init(3, 4), entries: entries(.init(2, 5)), commit: .zero))
        node.refuses(.append(previous: .init(3, 4), entries: entries(.init(9, 5)), commit: .zero))
        node.refuses(.append(previous: .init(3, .max), entries: [], commit: .zero))
        node.refuses(.voteRequest(last: .init(3, 4), transfer: false), term: .max)
        node.refuses(.preVoteRequest(requested: Term(.max), last: .init(3, 4)))
        let chunk = Message.SnapshotChunk(
            mark: .init(3, 9), membership: Membership(voters: [NodeID(1)]), membershipIndex: LogIndex(1), offset: 2,
            total: 3, bytes: [1, 2, 3])
        node.refuses(.snapshotChunk(chunk))
    }

    @Test func `entries acknowledged that were never sent are an alarm at the leader`() {
        var node = Accused()
        node.now = node.core.nextDeadline
        var effects = Effects()
        node.core.step(.tick, at: node.now, into: &effects)
        _ = node.hear(.preVoteResponse(requested: Term(4), granted: true))
        _ = node.hear(.voteResponse(granted: true), term: 4)
        #expect(node.core.isLeader)
        node.refuses(.appendAccepted(match: LogIndex(99)), term: 4)
        node.refuses(.appendRejected(previous: LogIndex(1), hint: .init(3, 99)), term: 4)
        node.refuses(.appendRejected(previous: LogIndex(1), hint: .init(2, 3)), term: 4)
        node.refuses(.heartbeat(commit: .zero, round: 0), term: 4)
    }
}

/// What a correct peer says too late, or to a node that may not do it.
@Suite struct `What a node does not do for its peers` {
    private static let stranger = NodeID(9)

    private func receive(_ body: Message.Body, from sender: NodeID = Accused.peer, term: UInt64) -> Consensus.Input {
        .receive(from: sender, Message(term: Term(term), body: body))
    }

    @Test func `a snapshot of what the log holds takes nothing behind it away (rule C4)`() {
        var node = Accused(entries: [.init(2, 2), .init(3, 3), .init(3, 4), .init(3, 5)])
        let chunk = Message.SnapshotChunk(
            mark: .init(3, 4), membership: Membership(voters: [NodeID(1)]), membershipIndex: LogIndex(1), offset: 0,
            total: 0, bytes: [])
        _ = node.hear(.snapshotChunk(chunk))
        #expect(node.core.lastMark == .init(3, 5))
        #expect(node.core.commitIndex == LogIndex(4))
    }

    @Test func `nobody votes for who lacks what it has, not even for whom the leader wants (rule C5)`() {
        var node = Accused()
        let ask = self.receive(.voteRequest(last: .init(3, 3), transfer: true), from: Accused.other, term: 4)
        let effects = node.answers(ask)
        let answers = (effects.messagesNow + effects.messagesAfterPersist).map(\.message.body)
        #expect(answers == [.voteResponse(granted: false)])
    }

    @Test func `who is told to lead and lacks what the leader has does not campaign (rule C9)`() {
        var node = Accused()
        _ = node.answers(self.receive(.timeoutNow(last: .init(3, 5)), term: 3))
        #expect(node.core.role == .follower)
        _ = node.answers(self.receive(.timeoutNow(last: .init(3, 4)), term: 3))
        #expect(node.core.role == .candidate)
    }

    @Test func `the late answer of a node that was removed unseats no leader (rule C5)`() {
        var node = Accused()
        node.lead()
        _ = node.answers(self.receive(.heartbeatResponse(round: 0), from: Self.stranger, term: 9))
        #expect(node.core.isLeader)
    }

    @Test func `one change of the membership at a time (rule C7)`() {
        var node = Accused()
        node.lead()
        func change(_ learners: [NodeID]) -> [Effects.Dropped] {
            node.answers(
                .changeMembership(
                    Membership(voters: [Accused.me, Accused.peer, Accused.other], learners: learners))
            ).dropped
        }
        #expect(change([NodeID(4)]).isEmpty)
        #expect(change([NodeID(5)]).map(\.reason) == [.changePending(index: node.core.lastMark.index)])
    }
}
