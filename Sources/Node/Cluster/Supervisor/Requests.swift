import Basis

/// What was asked for, here or of others, and is not done yet.
struct Requests: Sendable {
    /// A command that was handed to the leader and is not applied yet.
    struct Pending: Equatable, Sendable {
        var sequence: UInt64
        var command: Command
        var client: UInt64?
        /// When it is handed to the leader once more, if it is not applied by then.
        var againAt: Tick
        var deadline: Tick
    }

    /// A client that waits for another node's answers.
    struct Inspection: Equatable, Sendable {
        var id: UInt64
        var client: UInt64
        var node: NodeID
        var until: Tick
    }

    /// Sorted by sequence.
    var pending: [Pending] = []
    var nextSequence: UInt64 = 1
    var inspections: [Inspection] = []
    /// Clients that want to know what holds now.
    var reads: Reads

    init(nonce: UInt64) { self.reads = Reads(nonce: nonce) }

    private static let retryInterval = Span.milliseconds(400)
    private static let clientTimeout = Span.seconds(10)
    private static let ownTimeout = Span.seconds(2)
    /// While something that was asked for is missing, how soon to look again.
    private static let pause = Span.milliseconds(100)

    /// When to look again.
    func deadline(after now: Tick) -> Tick { self.pending.isEmpty ? .never : now + Self.pause }

    /// Whether this node asks for the same already.
    func hasAsked(for command: Command) -> Bool {
        self.pending.contains { $0.client == nil && $0.command.isSameRequest(as: command) }
    }

    /// Another request; to be handed to the leader.
    mutating func add(_ command: Command, client: UInt64?, at now: Tick) -> Pending {
        let pending = Pending(
            sequence: self.nextSequence, command: command, client: client,
            againAt: now + Self.retryInterval,
            deadline: now + (client == nil ? Self.ownTimeout : Self.clientTimeout))
        self.nextSequence += 1
        self.pending.append(pending)
        return pending
    }

    /// The clients that waited long enough, and what is handed to the leader once more.
    mutating func settle(at now: Tick) -> (givenUp: [UInt64], again: [Pending]) {
        var givenUp: [UInt64] = []
        for place in self.pending.indices.reversed() where now >= self.pending[place].deadline {
            let given = self.pending.remove(at: place)
            if let client = given.client { givenUp.append(client) }
        }
        var again: [Pending] = []
        for place in self.pending.indices where now >= self.pending[place].againAt {
            self.pending[place].againAt = now + Self.retryInterval
            again.append(self.pending[place])
        }
        return (givenUp, again)
    }

    /// The first entry of a leader is applied, and with it all that earlier ones have left: what is still missing was lost on the
    /// way, and is handed over again at once.
    mutating func askAgain(at now: Tick) {
        for place in self.pending.indices { self.pending[place].againAt = now }
    }

    /// What this node asked for itself, and wants no more; the leader may have it already.
    mutating func withdraw(where isUnwanted: (Command) -> Bool) {
        self.pending.removeAll { $0.client == nil && isUnwanted($0.command) }
    }

    /// It is applied: nobody waits for it any more.
    mutating func resolve(_ sequence: UInt64) -> Pending? {
        self.pending.place(of: sequence, by: \.sequence).map { self.pending.remove(at: $0) }
    }
}
