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
    /// When admission is asked for again.
    var nextAdmitAt = Tick.zero

    /// A read's number must not repeat one of an earlier life of the daemon.
    init(nonce: UInt64) { self.readID = nonce & 0x3F_FFFF_FFFF }
}
