import Basis
import Raft

/// Clients that want to know what holds now. Each waits until this node has applied an index that a leader confirmed, with a
/// majority of voters, after the client had asked: no older state is shown to it. (Rule A2)
struct Reads: Sendable {
    /// One client.
    struct Waiting: Equatable, Sendable {
        var client: UInt64
        /// The first question that was put to a leader after it came.
        var question: UInt64
        /// What a leader answered to that question or to a later one.
        var index: LogIndex?
        var deadline: Tick
    }

    private(set) var waiting: [Waiting] = []
    /// The latest question, and when it is put once more because no answer came.
    private var latest: UInt64
    private var nextAskAt = Tick.zero
    /// The latest question has no answer yet.
    private var isAsked = false

    /// In the number of a question: it is of a client, and not of a node's birth.
    private static let clientBit: UInt64 = 1 << 39
    private static let interval = Span.milliseconds(200)
    private static let timeout = Span.seconds(10)
    private static let pause = Span.milliseconds(100)

    /// A question's number must not repeat one of an earlier life of the daemon.
    init(nonce: UInt64) { self.latest = Self.clientBit | nonce & 0x3F_FFFF_FFFF }

    /// Whether a question was put for clients.
    static func isOfClients(_ question: UInt64) -> Bool { question & self.clientBit != 0 }

    /// When to look again.
    func deadline(after now: Tick) -> Tick { self.waiting.isEmpty ? .never : now + Self.pause }

    mutating func add(_ client: UInt64, at now: Tick) {
        self.waiting.append(
            Waiting(client: client, question: self.latest + 1, index: nil, deadline: now + Self.timeout))
    }

    /// The number of the question that is due. One is under way at a time: who comes meanwhile shares the next, for the answer
    /// to one that was put before it came may be older than what it was told before.
    mutating func question(at now: Tick) -> UInt64? {
        guard self.waiting.contains(where: { $0.index == nil }), !self.isAsked || now >= self.nextAskAt else {
            return nil
        }
        self.latest += 1
        self.isAsked = true
        self.nextAskAt = now + Self.interval
        return self.latest
    }

    /// A leader answered.
    mutating func answered(_ question: UInt64, _ index: LogIndex) {
        guard question <= self.latest else { return }
        if question == self.latest { self.isAsked = false }
        for place in self.waiting.indices
        where self.waiting[place].question <= question && self.waiting[place].index == nil {
            self.waiting[place].index = index
        }
    }

    /// The clients that may be shown what is applied, and those that waited long enough.
    mutating func settle(applied: LogIndex, at now: Tick) -> (ready: [UInt64], givenUp: [UInt64]) {
        var (ready, givenUp): ([UInt64], [UInt64]) = ([], [])
        self.waiting.removeAll { read in
            if let index = read.index, index <= applied {
                ready.append(read.client)
            } else if now >= read.deadline {
                givenUp.append(read.client)
            } else {
                return false
            }
            return true
        }
        return (ready, givenUp)
    }
}

extension Supervisor {
    /// A leader has confirmed the index of a question that was put for clients of this node.
    mutating func readAnswered(_ question: UInt64, _ index: LogIndex) {
        if Reads.isOfClients(question) {
            self.requests.reads.answered(question, index)
        } else if question == self.birth.readID {
            self.birth.readIndex = index
        }
    }

    mutating func settleReads(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard !self.requests.reads.waiting.isEmpty else { return }
        if let leader = self.consensus.outline.leader, let question = self.requests.reads.question(at: now) {
            self.askReadIndex(question, of: leader, at: now, into: &effects)
        }
        let (ready, givenUp) = self.requests.reads.settle(applied: self.state.appliedIndex, at: now)
        for client in ready {
            effects.append(
                .reply(id: client, .readable(at: self.state.appliedIndex, self.state.attributes)))
        }
        for client in givenUp { effects.append(.reply(id: client, .noQuorum)) }
    }

    mutating func askReadIndex(
        _ question: UInt64, of leader: NodeID, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        if leader == self.identity.node {
            self.consensusStep(.readIndex(id: Self.readID(question, of: leader)), at: now, into: &effects)
        } else {
            self.send(.readRequest(id: question), to: leader, at: now, into: &effects)
        }
    }
}
