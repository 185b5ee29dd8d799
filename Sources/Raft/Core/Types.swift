import Basis

/// A place in a log: term first, then index. Orders acknowledgements, so that an old one cannot confuse. (Raft §5.3)
public struct LogMark: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The term of the entry.
    public var term: Term
    /// Its index.
    public var index: LogIndex
    /// Combines both parts.
    public init(term: Term, index: LogIndex) {
        self.term = term
        self.index = index
    }
    /// Before the first entry.
    public static let zero = LogMark(term: .zero, index: .zero)
    /// Orders by term, then index: the "at least as up-to-date" order of Raft §5.4.1.
    public static func < (left: LogMark, right: LogMark) -> Bool {
        (left.term, left.index) < (right.term, right.index)
    }
    /// `term/index`.
    public var description: String { "\(self.term)/\(self.index)" }
}

/// One slot of the log.
public struct Entry: Equatable, Sendable {
    /// What it holds.
    public enum Payload: Equatable, Sendable {
        /// Opens a leader's term, so that entries of earlier terms can commit. (Raft §5.4.2, §8)
        case empty
        /// Bytes for the state machine.
        case command([UInt8])
        /// A membership; it is in force from the moment it is appended. (Raft §6)
        case membership(Membership)
    }
    /// Its term and index.
    public var mark: LogMark
    /// What it holds.
    public var payload: Payload
    /// An entry from its parts.
    public init(mark: LogMark, payload: Payload) {
        self.mark = mark
        self.payload = payload
    }
}

/// Who votes. All lists are sorted and free of repeats.
public struct Membership: Equatable, Sendable {
    /// The voters.
    public var voters: [NodeID]
    /// The voters of the configuration being left, while a change is joint; else empty. (Raft §6)
    public var outgoing: [NodeID]
    /// Receive the log but have no vote.
    public var learners: [NodeID]
    /// Voters that lead only as a last resort.
    public var witnesses: [NodeID]

    /// Sorts its arguments.
    public init(voters: [NodeID], outgoing: [NodeID] = [], learners: [NodeID] = [], witnesses: [NodeID] = []) {
        self.voters = voters.sorted()
        self.outgoing = outgoing.sorted()
        self.learners = learners.sorted()
        self.witnesses = witnesses.sorted()
    }

    /// Both majorities are needed.
    public var isJoint: Bool { !self.outgoing.isEmpty }
    /// All that vote in either configuration, sorted.
    public var allVoters: [NodeID] {
        self.isJoint ? Array(Set(self.voters + self.outgoing)).sorted() : self.voters
    }
    /// All nodes that receive the log, sorted.
    public var all: [NodeID] { Array(Set(self.voters + self.outgoing + self.learners)).sorted() }
    /// Whether the node votes.
    public func isVoter(_ node: NodeID) -> Bool { self.voters.contains(node) || self.outgoing.contains(node) }

    /// Whether `agreeing` holds a majority of the voters, and of the outgoing ones while joint.
    public func hasMajority(where agreeing: (NodeID) -> Bool) -> Bool {
        func majority(of nodes: [NodeID]) -> Bool {
            var agreed = 0
            for node in nodes where agreeing(node) { agreed += 1 }
            return agreed > nodes.count / 2
        }
        return majority(of: self.voters) && (!self.isJoint || majority(of: self.outgoing))
    }
}

/// What must survive a crash besides the log. (Raft Figure 2, "persistent state")
public struct HardState: Equatable, Sendable {
    /// The latest term seen.
    public var term: Term
    /// Who got this node's vote in `term`.
    public var votedFor: NodeID?
    /// A lower bound of the commit index; saves re-learning it, safety does not need it.
    public var commit: LogIndex
    /// The start of each other node's log that was noted last, sorted by node. (Rule E2.1)
    public var noted: [NotedMark]
    /// All fields.
    public init(
        term: Term = .zero, votedFor: NodeID? = nil, commit: LogIndex = .zero, noted: [NotedMark] = []
    ) {
        self.term = term
        self.votedFor = votedFor
        self.commit = commit
        self.noted = noted
    }
}

/// The state machine's content up to a place in the log, which it replaces. (Raft §7)
public struct Snapshot: Equatable, Sendable {
    /// The last entry it covers.
    public var mark: LogMark
    /// The membership in force there.
    public var membership: Membership
    /// The index of the entry that set that membership.
    public var membershipIndex: LogIndex
    /// The state machine's own encoding.
    public var data: [UInt8]
    /// All fields.
    public init(mark: LogMark, membership: Membership, membershipIndex: LogIndex, data: [UInt8]) {
        self.mark = mark
        self.membership = membership
        self.membershipIndex = membershipIndex
        self.data = data
    }
}

/// What a node finds on its disk when it starts.
public struct RestoredState: Equatable, Sendable {
    /// Term, vote and commit.
    public var hardState: HardState
    /// The latest snapshot, if there is one.
    public var snapshot: Snapshot?
    /// The entries after it, without a gap.
    public var entries: [Entry]
    /// All fields.
    public init(hardState: HardState = HardState(), snapshot: Snapshot? = nil, entries: [Entry] = []) {
        self.hardState = hardState
        self.snapshot = snapshot
        self.entries = entries
    }
}

/// What must be made durable, in this order: snapshot, entries, hard state.
public struct PersistRequest: Equatable, Sendable {
    /// Answered by `Consensus.Input.persisted`. Grows by one with each request.
    public var sequence: UInt64
    /// Replaces the log up to and including its mark, when present.
    public var snapshot: Snapshot?
    /// Entries to append. Whatever the log holds from the first one's index on is cut off before. Never empty when
    /// `truncatesFrom` is set.
    public var entries: [Entry]
    /// Term, vote and commit, when they changed.
    public var hardState: HardState?
    /// A mark that the log takes in addition to those of its starts; with a hard state that notes it. (Rule E2.3)
    public var drawn: StartMark?
    /// All fields.
    public init(
        sequence: UInt64, snapshot: Snapshot? = nil, entries: [Entry] = [], hardState: HardState? = nil,
        drawn: StartMark? = nil
    ) {
        self.sequence = sequence
        self.snapshot = snapshot
        self.entries = entries
        self.hardState = hardState
        self.drawn = drawn
    }
}

/// A message and where it goes.
public struct Outbound: Equatable, Sendable {
    /// The receiver.
    public var to: NodeID
    /// What it is told.
    public var message: Message
    /// Combines both parts.
    public init(to: NodeID, message: Message) {
        self.to = to
        self.message = message
    }
}
