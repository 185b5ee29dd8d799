import Basis

/// What a node is, with the data that only makes sense while it is.
enum Role: Sendable {
    case follower(Follower)
    /// Asks whether it could win, without a new term. (Thesis §9.6)
    case preCandidate(Campaign)
    case candidate(Campaign)
    /// Its data are `Consensus.leading`.
    case leader
}

/// When a node that does not lead may think of an election.
struct ElectionTimes: Sendable {
    /// When it asks for votes unless it hears a leader before.
    var deadline: Tick = .never
    /// Until then a restarted node votes for nobody: it may have forgotten a leader. (Pitfall E13)
    var silentUntil: Tick = .zero
    /// When the leader of this term was last heard; while following only.
    var leaderHeardAt = Tick.zero
    /// When somebody who led was heard last, and in which term: in it nobody else leads.
    var heard = (term: Term.zero, at: Tick.zero)
    /// When the pre-votes were asked for of which the latest campaign came.
    var askedAt = Tick.zero
    /// When the latest campaign began.
    var campaignedAt = Tick.zero
    /// Campaigns in a row that nobody won in time, at most two.
    var failures: UInt64 = 0
    /// What the lines are like.
    var silences = Silences()
    /// For all of `Consensus`, and for what holds one.
    private let layout: PassedInPlace

    init() { self.layout = PassedInPlace() }
}

struct Follower: Sendable {
    /// The leader of this term, once heard.
    var leader: NodeID?
    /// Up to here the log was seen to agree with this leader's.
    var agreed: LogIndex = .zero
    /// A snapshot that is arriving.
    var incoming: IncomingSnapshot?
}

struct IncomingSnapshot: Sendable {
    /// Its data are what has arrived so far.
    var snapshot: Snapshot
    var total: UInt64
    /// All of it is here, and it is being written.
    var isBeingKept = false

    init(_ chunk: Message.SnapshotChunk) {
        self.snapshot = Snapshot(
            mark: chunk.mark, membership: chunk.membership, membershipIndex: chunk.membershipIndex, data: [])
        self.total = chunk.total
        // So that what has arrived is not moved again and again; memory is taken only as it is filled.
        self.snapshot.data.reserveCapacity(Int(min(chunk.total, Self.reservedMaximum)))
    }

    private static let reservedMaximum: UInt64 = 1 << 28

    var received: UInt64 { UInt64(self.snapshot.data.count) }

    /// Puts a part at the end, if it belongs there.
    mutating func take(_ chunk: Message.SnapshotChunk) {
        guard chunk.offset == self.received, !chunk.bytes.isEmpty else { return }
        self.snapshot.data += chunk.bytes
    }
}

struct Campaign: Sendable {
    /// The term it wants to lead.
    let term: Term
    /// Whether the old leader asked for it.
    let transfer: Bool
    var granted: [NodeID] = []
    var refused: [NodeID] = []
    /// The persist request that makes this node's own vote durable; the vote counts from then on. (Pitfall E2)
    var ownVote: UInt64?
}

struct Leader: Sendable {
    struct Transfer: Sendable {
        let target: NodeID
        let deadline: Tick
        var sent = false
    }

    struct Read: Sendable {
        let id: UInt64
        /// Who asked; this node itself, or a follower.
        let from: NodeID
        /// The commit index when it was asked.
        let index: LogIndex
        /// The heartbeat round that a majority must answer.
        let round: UInt64
    }

    /// The others, sorted by number.
    var peers: [Progress]
    var heartbeatDue: Tick
    /// The index of the empty entry that opened this term.
    let opening: LogIndex
    var uncommittedBytes: Int
    var transfer: Transfer?
    /// Before this no transfer starts by itself.
    var restUntil: Tick = .zero
    /// The number of the latest heartbeat round.
    var round: UInt64 = 0
    /// Reads whose round was not answered by a majority yet, oldest first.
    var reads: [Read] = []
    /// Reads that came before the opening entry committed. (Pitfall R1)
    var earlyReads: [(id: UInt64, from: NodeID)] = []

    /// The data of a node that does not lead.
    static let none = Leader(peers: [], heartbeatDue: .never, opening: .zero, uncommittedBytes: 0)

    func position(of node: NodeID) -> Int? {
        for position in self.peers.indices where self.peers[position].node == node { return position }
        return nil
    }
}

/// docs/states.md shows the table.
extension Role: SteppedState {
    /// The roles without their data.
    enum Name: String, CaseIterable { case follower, preCandidate = "pre-candidate", candidate, leader }

    var name: Name {
        switch self {
        case .follower: .follower
        case .preCandidate: .preCandidate
        case .candidate: .candidate
        case .leader: .leader
        }
    }

    /// Nothing leads back to a campaign from `leader`: it follows first. (Rules C1, C5)
    static let steps: [StateStep<Name>] = [
        .init(.follower, .preCandidate, "it hears no leader for the election timeout"),
        .init(.follower, .candidate, "the leader hands over to it, or it is the only voter"),
        .init(.preCandidate, .candidate, "a majority would vote for it"),
        .init(.candidate, .leader, "a majority voted for it, itself durably (C1)"),
        .init(.candidate, .preCandidate, "nobody won within the election timeout"),
        .init(.preCandidate, .follower, "a leader is heard, a later term, or a majority refuses"),
        .init(.candidate, .follower, "a leader is heard, a later term, or a majority refuses"),
        .init(.leader, .follower, "a later term, no majority answers, or it has no vote any more"),
    ]
}
