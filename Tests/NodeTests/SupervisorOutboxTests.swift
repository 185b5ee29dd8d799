import Basis
import Cluster
import Raft
import Testing

private let peer = NodeID(2)

private func envelope(_ message: NodeMessage) -> Envelope {
    Envelope(from: NodeID(1), to: peer, isRelayed: false, mark: .none, message: message)
}

private func vote(_ term: UInt64) -> NodeMessage {
    .raft(Message(term: Term(term), body: .voteResponse(granted: true)))
}

@Suite struct `What waits for the log` {
    private func sent(_ outbox: inout Outbox, _ message: NodeMessage) -> Bool {
        var isSent = false
        outbox.send(envelope(message), to: peer) { _, _ in isSent = true }
        return isSent
    }

    @Test func `a vote leaves once it is durable, in its order, and not before`() {
        var outbox = Outbox()
        outbox.begin()
        outbox.persist(1, at: .zero)
        #expect(!self.sent(&outbox, vote(1)))
        outbox.begin()
        outbox.persist(2, at: .zero)
        #expect(!self.sent(&outbox, vote(2)))
        var left: [NodeMessage] = []
        outbox.persisted(1) { envelope, _ in left.append(envelope.message) }
        #expect(left == [vote(1)])
        outbox.persisted(2) { envelope, _ in left.append(envelope.message) }
        #expect(left == [vote(1), vote(2)])
        #expect(outbox.waitingSince == nil)
    }

    @Test func `an acknowledgement of what an earlier step handed over waits for it too`() {
        var outbox = Outbox()
        outbox.begin()
        outbox.persist(1, at: .zero)
        outbox.begin()
        #expect(self.sent(&outbox, vote(1)), "a heartbeat rests on nothing")
        outbox.barrier()
        #expect(!self.sent(&outbox, vote(1)))
    }

    @Test func `a voter's report waits for all that was handed over before it (rule L5)`() {
        var outbox = Outbox()
        outbox.begin()
        outbox.persist(1, at: .zero)
        outbox.begin()
        #expect(!self.sent(&outbox, .voterReport(VoterReport(lines: []))))
        outbox.persisted(1) { _, _ in }
        #expect(self.sent(&outbox, .voterReport(VoterReport(lines: []))))
    }

    @Test func `renewals and their answers wait for no disk`() throws {
        var outbox = Outbox()
        outbox.begin()
        outbox.persist(1, at: .zero)
        var holder = LeaseHolder(node: peer, bootID: "boot", nonce: 1)
        let renewal = holder.renewalDue(
            incarnation: Incarnation(3), duration: .seconds(2), interval: .seconds(1), membershipIndex: LogIndex(1),
            at: .zero)
        let asked = try #require(renewal)
        #expect(self.sent(&outbox, .renewal(asked)))
        #expect(self.sent(&outbox, .renewed(asked, words: [])))
        #expect(self.sent(&outbox, .ping(hears: [], reaches: [])))
    }

    @Test func `what waited for a log that failed never leaves`() {
        var outbox = Outbox()
        outbox.begin()
        outbox.persist(1, at: .zero)
        #expect(!self.sent(&outbox, vote(1)))
        #expect(outbox.poison() == 1)
        outbox.persisted(1) { _, _ in Issue.record("it was never durable") }
        outbox.begin()
        outbox.persist(2, at: .zero)
        #expect(!self.sent(&outbox, vote(2)))
        #expect(outbox.waitingSince == nil)
    }
}
