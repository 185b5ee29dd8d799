import Basis

/// What a leader knows of one peer.
struct Progress: Sendable {
    enum State: Sendable {
        /// Looking for the place where the logs agree: one message, then wait for an answer.
        case probe(waiting: Bool)
        /// Entries flow without waiting for answers.
        case replicate
        /// The peer's log ends before ours begins.
        case snapshot(Sending)
    }

    /// A snapshot on its way. The value is kept, so that a newer snapshot does not change one half-sent.
    struct Sending: Sendable {
        var snapshot: Snapshot
        /// What the peer confirmed.
        var offset: Int
        /// The end of the chunk that was sent last.
        var sentEnd: Int
        var sentAt: Tick
    }

    let node: NodeID
    /// The peer's durable log is known to agree up to here. Only grows within a term. (Pitfall L3)
    var match: LogIndex = .zero
    /// The next entry to send.
    var next: LogIndex
    var state: State = .probe(waiting: false)
    var inflight = Inflight()
    /// When the peer was last heard.
    var contact: Tick
    /// Whether it was heard at all in this term.
    var heard = false
    /// The commit index it was last told.
    var sentCommit: LogIndex = .zero
    /// The latest read round it answered.
    var round: UInt64 = 0
    /// It had a vote when it was last looked at.
    var isVoter: Bool

    init(node: NodeID, isVoter: Bool, next: LogIndex, contact: Tick) {
        self.node = node
        self.isVoter = isVoter
        self.next = next
        self.contact = contact
    }

    mutating func probe(from next: LogIndex) {
        self.state = .probe(waiting: false)
        self.next = max(next, self.match.next)
        self.inflight.removeAll()
    }

    mutating func replicate() {
        self.state = .replicate
        self.next = self.match.next
        self.inflight.removeAll()
    }
}

/// The append messages to one peer that were not answered yet, oldest first.
struct Inflight: Sendable {
    private struct Item: Sendable {
        var last: LogIndex
        var bytes: Int
    }

    private var items: [Item] = []
    private var head = 0
    /// Payload bytes on their way.
    private(set) var bytes = 0

    /// Messages on their way.
    var count: Int { self.items.count - self.head }

    mutating func add(last: LogIndex, bytes: Int) {
        self.items.append(Item(last: last, bytes: bytes))
        self.bytes += bytes
    }

    /// Forgets the messages whose entries are all at or before `match`.
    mutating func acknowledge(through match: LogIndex) {
        while self.head < self.items.count, self.items[self.head].last <= match {
            self.bytes -= self.items[self.head].bytes
            self.head += 1
        }
        if self.head == self.items.count {
            self.items.removeAll(keepingCapacity: true)
            self.head = 0
        } else if self.head >= 64, self.head * 2 >= self.items.count {
            self.items.removeFirst(self.head)
            self.head = 0
        }
    }

    mutating func removeAll() {
        self.items.removeAll(keepingCapacity: true)
        self.head = 0
        self.bytes = 0
    }
}
