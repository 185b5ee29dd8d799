import Basis
import Raft

/// How a daemon comes to take part: it catches up with the log, and its life is admitted. (Rules L8, L10, E3, B3)
struct Birth: Sendable {
    /// The applied state is surely not older than this daemon's start. (Rule L10)
    var isCaughtUp = false
    /// The latest question for a read index, the answer, and when it is asked again.
    var readID: UInt64
    var readIndex: LogIndex?
    var nextReadAt = Tick.zero
    /// This node's admitted life, if this boot is the one that was admitted.
    var incarnation = Incarnation.none
    /// This very life of the daemon is the admitted one.
    var isAdmitted = false
    /// The log has let in this very start of this node's log, whatever became of its life. (Rule E2.5)
    var isMarkAdmitted = false
    /// The log has let in another log of this node, and not this one. (Rule E2.10)
    var isAnotherLogAdmitted = false
    /// When admission is asked for again.
    var nextAdmitAt = Tick.zero

    /// A read's number must not repeat one of an earlier life of the daemon.
    init(nonce: UInt64) { self.readID = nonce & 0x3F_FFFF_FFFF }

    /// What catching up asks for, or that it is done.
    enum CatchUp: Equatable, Sendable {
        case caughtUp
        case ask(UInt64, of: NodeID)
    }

    private static let readInterval = Span.milliseconds(200)
    private static let admitInterval = Span.milliseconds(250)
    /// While it is not done, how soon to look again.
    private static let pause = Span.milliseconds(100)

    /// Whether nothing is left to do.
    var isDone: Bool { self.isCaughtUp && self.isAdmitted }

    /// When to look again.
    func deadline(after now: Tick) -> Tick { self.isDone ? .never : now + Self.pause }

    /// Rule L10: caught up is who has applied an index that the leader confirmed after this start.
    mutating func settle(applied: LogIndex, isFounded: Bool, leader: NodeID?, at now: Tick) -> CatchUp? {
        guard !self.isCaughtUp else { return nil }
        if let readIndex = self.readIndex {
            guard applied >= readIndex, isFounded else { return nil }
            self.isCaughtUp = true
            return .caughtUp
        }
        guard now >= self.nextReadAt, let leader else { return nil }
        self.nextReadAt = now + Self.readInterval
        self.readID += 1
        return .ask(self.readID, of: leader)
    }

    /// What follows from the applied state alone, so that it is not worked out anew at each step.
    mutating func derive(from me: ClusterState.NodeRecord?, bootID: String, _ marks: OwnMarks) {
        self.isAdmitted = false
        self.isAnotherLogAdmitted =
            me.map { $0.mark != .none && $0.mark.directory != marks.admittable.directory } ?? false
        self.isMarkAdmitted = me?.mark == marks.admittable && !marks.isDoubtMarkDue
        guard let me, me.bootID == bootID, me.standing != .lost, me.standing != .never else {
            self.incarnation = .none
            return
        }
        self.incarnation = me.incarnation
        self.isAdmitted = self.isMarkAdmitted
    }

    /// Whether admission may be asked for now.
    func isAdmissionDue(at now: Tick) -> Bool { !self.isAdmitted && self.isCaughtUp && now >= self.nextAdmitAt }

    /// What the log is asked for, so that this life begins or goes on; nil while it would be refused.
    mutating func admission(
        of me: ClusterState.NodeRecord, as identity: Supervisor.Identity, under mark: StartMark, isVoter: Bool,
        at now: Tick
    ) -> Command? {
        self.nextAdmitAt = now + Self.admitInterval
        if mark.draw > 0, self.incarnation != .none {
            // What this node has applied may be old: the life that it knows may be over, and what runs here belongs to it.
            return .remark(identity.node, self.incarnation, mark: mark)
        }
        // Rule E2.6: another log directory is let in only when the known life is over, and while it has no vote.
        let isOther = me.mark != .none && me.mark.directory != identity.memory.directory
        if isOther, me.standing != .lost || isVoter { return nil }
        return .admit(identity.node, bootID: identity.bootID, mark: mark)
    }
}
