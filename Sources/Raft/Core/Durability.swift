import Basis

/// What was asked to be made durable, and what is.
struct Durability: Sendable {
    private struct Pending: Sendable {
        let sequence: UInt64
        /// When it was handed out.
        let at: Tick
        /// The last entry of the current log that the request covers; lowered when the log is cut below it, so that a
        /// late confirmation of a cut entry never confirms the one that took its place. (Pitfall L1)
        var last: LogIndex
        let snapshot: Snapshot?
    }

    /// The current log is durable up to here.
    private(set) var last: LogIndex
    /// The current log was handed out for persisting up to here.
    private(set) var requested: LogIndex
    /// The hard state as of the latest request.
    private(set) var hardState: HardState
    /// Which marks it holds. (Rule E2.1)
    private(set) var notedVersion: UInt64 = 0
    /// The latest sequence handed out.
    private(set) var issued: UInt64 = 0
    /// The latest sequence confirmed.
    private(set) var confirmed: UInt64 = 0
    /// A snapshot that must go into the next request.
    var snapshot: Snapshot?
    private var pending: [Pending] = []
    private var head = 0
    /// The latest request that holds a change of term, vote or marks.
    private var promise: UInt64 = 0
    /// How long confirmations take. (Rule C10)
    var pace = DiskPace()

    init(last: LogIndex, hardState: HardState) {
        self.last = last
        self.requested = last
        self.hardState = hardState
    }

    /// Something was handed out that is not confirmed.
    var isPending: Bool { self.issued > self.confirmed }
    /// When the oldest request was handed out that is not confirmed.
    var owedSince: Tick? { self.head < self.pending.count ? self.pending[self.head].at : nil }
    /// A term, a vote or a mark was handed out that is not confirmed.
    var isPromisePending: Bool { self.promise > self.confirmed }

    /// The log was cut from `index` on.
    mutating func cut(from index: LogIndex) {
        self.last = min(self.last, index.previous)
        self.requested = min(self.requested, index.previous)
        for position in self.head..<self.pending.count {
            self.pending[position].last = min(self.pending[position].last, index.previous)
        }
    }

    /// The log was replaced by a snapshot that is not durable yet.
    mutating func replaced(by snapshot: Snapshot) {
        self.last = .zero
        self.requested = snapshot.mark.index
        for position in self.head..<self.pending.count { self.pending[position].last = .zero }
        self.snapshot = snapshot
    }

    /// Whether anything needs to be made durable. A newer commit index alone does not: it only travels along.
    func isBehind(_ last: LogIndex, term: Term, vote: NodeID?, noted: UInt64) -> Bool {
        if case .some = self.snapshot { return true }
        return last > self.requested || term != self.hardState.term || vote != self.hardState.votedFor
            || noted != self.notedVersion
    }

    /// The next request, or nil when nothing needs to be made durable.
    mutating func request(
        log: Log, hardState: HardState, notedVersion: UInt64, at now: Tick
    ) -> PersistRequest? {
        let promises =
            hardState.term != self.hardState.term || hardState.votedFor != self.hardState.votedFor
            || notedVersion != self.notedVersion
        let last = log.last.index
        guard last > self.requested || promises || self.snapshot != nil else { return nil }
        self.issued += 1
        var request = PersistRequest(sequence: self.issued)
        request.snapshot = self.snapshot
        if last > self.requested { request.entries = log.copy(after: self.requested, through: last) }
        if hardState != self.hardState { request.hardState = hardState }
        self.pending.append(Pending(sequence: self.issued, at: now, last: last, snapshot: self.snapshot))
        if promises { self.promise = self.issued }
        self.hardState = hardState
        self.notedVersion = notedVersion
        self.requested = last
        self.snapshot = nil
        return request
    }

    /// Takes a confirmation; returns a snapshot that became durable with it.
    mutating func confirm(_ sequence: UInt64) -> Snapshot? {
        precondition(
            sequence <= self.issued, "persist request \(sequence) was confirmed but only \(self.issued) issued")
        guard sequence > self.confirmed else { return nil }
        self.confirmed = sequence
        var snapshot: Snapshot?
        while self.head < self.pending.count, self.pending[self.head].sequence <= sequence {
            self.last = max(self.last, self.pending[self.head].last)
            if let durable = self.pending[self.head].snapshot { snapshot = durable }
            self.head += 1
        }
        if self.head == self.pending.count {
            self.pending.removeAll(keepingCapacity: true)
            self.head = 0
        } else if self.head >= 64 {
            self.pending.removeFirst(self.head)
            self.head = 0
        }
        return snapshot
    }
}
