import Basis

/// Messages on their way out: those that rest on what is not durable yet wait for it, the others leave at once.
/// (docs/decisions/0005-leases-first.md)
public struct Outbox: Sendable {
    private struct Held: Sendable {
        var sequence: UInt64
        var envelope: Envelope
        var hop: NodeID
    }

    private var held: [Held] = []
    /// The latest request that was handed to the log.
    private var issued: UInt64 = 0
    /// The latest that is durable.
    private var durable: UInt64 = 0
    /// When those that are not durable yet were handed over, oldest first.
    private var pending: [(sequence: UInt64, at: Tick)] = []
    private var isBehindBarrier = false
    private var isPoisoned = false

    /// Nothing was handed to the log yet.
    public init() {}

    /// Since when the log has owed an answer; nil when it owes none.
    public var waitingSince: Tick? { self.pending.first?.at }

    /// Another step's effects follow.
    public mutating func begin() { self.isBehindBarrier = false }

    /// What follows of this step's consensus messages may leave once all requests so far are durable.
    public mutating func barrier() { self.isBehindBarrier = true }

    /// A request was handed to the log.
    public mutating func persist(_ sequence: UInt64, at now: Tick) {
        self.issued = sequence
        self.isBehindBarrier = true
        if !self.isPoisoned { self.pending.append((sequence, now)) }
    }

    /// Sends, now or when it may leave.
    public mutating func send(
        _ envelope: consuming Envelope, to hop: NodeID, _ transmit: (consuming Envelope, NodeID) -> Void
    ) {
        guard self.rests(envelope.message) else { return transmit(envelope, hop) }
        if !self.isPoisoned { self.held.append(Held(sequence: self.issued, envelope: envelope, hop: hop)) }
    }

    /// Everything up to this request is durable.
    public mutating func persisted(_ sequence: UInt64, _ transmit: (consuming Envelope, NodeID) -> Void) {
        self.durable = max(self.durable, sequence)
        self.pending.removeAll { $0.sequence <= sequence }
        let free = self.held.prefix { $0.sequence <= sequence }
        for one in free { transmit(one.envelope, one.hop) }
        self.held.removeFirst(free.count)
    }

    /// The log will never be durable again: what waits for it is dropped. How much that was.
    public mutating func poison() -> Int {
        self.isPoisoned = true
        self.pending.removeAll()
        defer { self.held.removeAll() }
        return self.held.count
    }

    /// Whether a message says, or may say, something of what is not durable yet: a vote, an acknowledgement, a suspicion.
    /// (Raft §5.2, rule L5)
    private func rests(_ message: NodeMessage) -> Bool {
        // What a poisoned daemon says on its way out may hand leadership over, and promise nothing. (Rule L5.2)
        if self.isPoisoned { return message.restsOnLog }
        guard self.issued > self.durable else { return false }
        switch message {
        case .raft: return self.isBehindBarrier
        case .voterReport: return true
        default: return false
        }
    }
}
