import Basis

/// What one node tells another. `term` is always the sender's own term at the moment of sending.
public struct Message: Equatable, Sendable {
    /// The sender's term.
    public var term: Term
    /// The rest.
    public var body: Body

    /// Combines both parts.
    public init(term: Term, body: Body) {
        self.term = term
        self.body = body
    }

    /// The kinds of message.
    public enum Body: Equatable, Sendable {
        /// Would you vote for me in term `requested`? Changes no state of the receiver. (Thesis §9.6)
        case preVoteRequest(requested: Term, last: LogMark)
        /// Repeats the term that was asked about, so that a late answer is not taken for another. (Pitfall E4)
        case preVoteResponse(requested: Term, granted: Bool)
        /// Vote for me in this term. `transfer`: the old leader asked for it, so its stickiness does not count.
        case voteRequest(last: LogMark, transfer: Bool)
        /// A durable vote, or a refusal.
        case voteResponse(granted: Bool)
        /// Entries that follow `previous`, and the leader's commit index. (Raft §5.3)
        case append(previous: LogMark, entries: [Entry], commit: LogIndex)
        /// The receiver's durable log agrees with the leader's of this term up to `match`.
        case appendAccepted(match: LogIndex)
        /// The log does not hold `previous`; it may agree up to `hint`. (Raft §5.3, end)
        case appendRejected(previous: LogIndex, hint: LogMark)
        /// I still lead. `commit` never exceeds what the receiver is known to hold; `round` numbers read rounds.
        case heartbeat(commit: LogIndex, round: UInt64)
        /// Repeats the round.
        case heartbeatResponse(round: UInt64)
        /// A part of a snapshot, for a log that ends before the leader's begins. (Raft §7)
        indirect case snapshotChunk(SnapshotChunk)
        /// How many bytes of the snapshot at `mark` have arrived; the next chunk starts there.
        case snapshotProgress(mark: LogMark, received: UInt64)
        /// Campaign at once; `last` is the log you are known to hold. (Thesis §3.10)
        case timeoutNow(last: LogMark)
        /// A follower's read index request.
        case readRequest(id: UInt64)
        /// The index a read must wait for; nil when the receiver does not lead.
        case readResponse(id: UInt64, index: LogIndex?)
        /// Your message came from a term that is over; learn mine. (Pitfall E8)
        case outdated
    }

    /// A part of a snapshot's data.
    public struct SnapshotChunk: Equatable, Sendable {
        /// What the snapshot covers.
        public var mark: LogMark
        /// The membership in force there.
        public var membership: Membership
        /// The index of the entry that set it.
        public var membershipIndex: LogIndex
        /// Where `bytes` start.
        public var offset: UInt64
        /// The length of the whole data.
        public var total: UInt64
        /// The part.
        public var bytes: [UInt8]
        /// All fields.
        public init(
            mark: LogMark, membership: Membership, membershipIndex: LogIndex, offset: UInt64, total: UInt64,
            bytes: [UInt8]
        ) {
            self.mark = mark
            self.membership = membership
            self.membershipIndex = membershipIndex
            self.offset = offset
            self.total = total
            self.bytes = bytes
        }
    }
}
