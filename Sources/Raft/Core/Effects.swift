import Basis

/// What a step asks of its driver.
///
/// The driver sends `messagesNow` at once, makes `persist` durable, steps `.persisted`, and sends
/// `messagesAfterPersist` only when every request issued so far is durable. It clears the effects between steps, or
/// lets several steps gather in one value before it acts on it.
public struct Effects: Sendable {
    /// A read that may be answered once everything up to `index` is applied.
    public struct ReadReady: Equatable, Sendable {
        /// The caller's number of the read.
        public var id: UInt64
        /// What must be applied first.
        public var index: LogIndex
        /// Combines both parts.
        public init(id: UInt64, index: LogIndex) {
            self.id = id
            self.index = index
        }
    }

    /// A peer that broke Raft's rules.
    public struct Accusation: Equatable, Sendable {
        /// Who said it.
        public var node: NodeID
        /// What is wrong with it.
        public var violation: Violation
        /// Combines both parts.
        public init(node: NodeID, violation: Violation) {
            self.node = node
            self.violation = violation
        }
    }

    /// An input that was refused; nothing of it is in the log.
    public struct Dropped: Equatable, Sendable {
        /// What was asked for.
        public enum Request: Equatable, Sendable {
            /// A proposal.
            case proposal([UInt8])
            /// A change of who votes.
            case membership(Membership)
            /// A transfer of leadership.
            case transfer(NodeID?)
        }
        /// What was asked for.
        public var request: Request
        /// Why it was refused.
        public var reason: Refusal
        /// Combines both parts.
        public init(request: Request, reason: Refusal) {
            self.request = request
            self.reason = reason
        }
    }

    /// Promises to nobody: may be sent before anything is durable.
    public var messagesNow: [Outbound] = []
    /// What must be made durable.
    public var persist: PersistRequest?
    /// A snapshot that has arrived whole: to be written beside the log, where it has no effect, at leisure and while all else goes
    /// on; then step `.kept`. What it was to replace is left alone until then. (Rule C4)
    public var keep: Snapshot?
    /// Promises: may be sent once every persist request issued so far is durable.
    public var messagesAfterPersist: [Outbound] = []
    /// Replaces the state machine's state, before `committed` is applied.
    public var installed: Snapshot?
    /// Entries to apply, in order. Committed, and durable here.
    public var committed: [Entry] = []
    /// Reads that may proceed.
    public var reads: [ReadReady] = []
    /// Reads that must be asked again.
    public var rejectedReads: [UInt64] = []
    /// What was refused.
    public var dropped: [Dropped] = []
    /// What peers said that they cannot say; those messages were dropped. (`Violation`)
    public var violations: [Accusation] = []
    /// What happened, for the log.
    public var notes: [ConsensusNote] = []

    /// Nothing.
    public init() {}

    /// There is nothing but messages that may leave at once.
    @inlinable
    public var areMessagesOnly: Bool {
        if case .some = self.persist { return false }
        if case .some = self.installed { return false }
        if case .some = self.keep { return false }
        return self.messagesAfterPersist.isEmpty && self.committed.isEmpty && self.reads.isEmpty
            && self.rejectedReads.isEmpty && self.dropped.isEmpty && self.notes.isEmpty
            && self.violations.isEmpty
    }

    /// Forgets everything.
    public mutating func removeAll(keepingCapacity: Bool = true) {
        // Most are empty after most steps.
        func clear<Element>(_ list: inout [Element]) {
            if !list.isEmpty { list.removeAll(keepingCapacity: keepingCapacity) }
        }
        clear(&self.messagesNow)
        if case .some = self.persist { self.persist = nil }
        if case .some = self.keep { self.keep = nil }
        clear(&self.messagesAfterPersist)
        if case .some = self.installed { self.installed = nil }
        clear(&self.committed)
        clear(&self.reads)
        clear(&self.rejectedReads)
        clear(&self.dropped)
        clear(&self.violations)
        clear(&self.notes)
    }

    /// Joins a request to one that the driver did not take yet.
    mutating func add(_ request: PersistRequest) {
        if self.persist?.join(request) == nil { self.persist = request }
    }
}

extension PersistRequest {
    /// Takes in the request that was issued right after this one: making both durable in one step is as good as one after
    /// the other. (Raft §10.2.1)
    public mutating func join(_ request: PersistRequest) {
        precondition(request.sequence > self.sequence, "request \(request.sequence) does not follow \(self.sequence)")
        self.sequence = request.sequence
        if let snapshot = request.snapshot {
            self.snapshot = snapshot
            let later = self.entries.firstIndex { $0.mark.index > snapshot.mark.index } ?? self.entries.count
            let continues = later > 0 ? self.entries[later - 1].mark == snapshot.mark : later < self.entries.count
            if continues { self.entries.removeFirst(later) } else { self.entries.removeAll() }
        }
        if let first = request.entries.first {
            while let last = self.entries.last, last.mark.index >= first.mark.index { self.entries.removeLast() }
            self.entries += request.entries
        }
        if let hardState = request.hardState { self.hardState = hardState }
        if let drawn = request.drawn { self.drawn = drawn }
    }
}

/// Why an input was refused.
public enum Refusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// Ask this node, if it is known.
    case notLeader(leader: NodeID?)
    /// Leadership is being handed to this node; ask again in a moment.
    case transferring(to: NodeID)
    /// Too many bytes wait for commitment; ask again when some have committed.
    case tooMuchUncommitted(bytes: Int)
    /// The previous change of membership, at this index, is not finished.
    case changePending(index: LogIndex)
    /// No entry of this term is committed yet. (Pitfall M1)
    case nothingCommittedInTerm(Term)
    /// The membership can never be in force.
    case invalidMembership(String)
    /// The node must first follow the log as a learner. (Pitfall M6)
    case notCaughtUp(NodeID)
    /// The node cannot take over leadership.
    case unfitTarget(String)
    /// This node's disk failed; restart it once the disk is replaced.
    case diskFailed

    /// One sentence for the log.
    public var description: String {
        switch self {
        case .notLeader(let leader?): "this node does not lead; ask \(leader)"
        case .notLeader(nil): "no leader is known; ask again after an election"
        case .transferring(let target): "leadership is being handed to \(target); ask again in a moment"
        case .tooMuchUncommitted(let bytes): "\(bytes) bytes wait for a majority; ask again when it is back"
        case .changePending(let index): "the membership change at index \(index) is not finished; ask again after it"
        case .nothingCommittedInTerm(let term): "nothing of term \(term) is committed yet; ask again in a moment"
        case .invalidMembership(let reason): "this membership is impossible: \(reason)"
        case .notCaughtUp(let node): "\(node) lacks too much of the log to vote; add it as a learner and wait"
        case .unfitTarget(let reason): "leadership cannot go there: \(reason)"
        case .diskFailed: "the disk of this node failed; replace it and restart the node"
        }
    }
}
