import Basis
import Raft

/// The marks of this node's log, and whether the log is what others hold promises of. (Rules E2, E4)
struct OwnMarks: Sendable {
    /// The mark that the log admits: that of this daemon's start, or the one that was drawn in a doubt since;
    /// `identity.memory` may have later ones. (Rules E2.3, E4.3)
    var admittable: StartMark
    /// This run of the daemon, as others know it. (Rule E4)
    let run: RunID
    /// What the next mark is made of, while it waits for the other nodes, and the mark, while it waits for the disk.
    var offeredNonce: UInt64?
    var drawn: StartMark?
    /// What the mark of a doubt is made of, before it is drawn; whether the drawn mark is that one; and from when on another may
    /// be drawn. (Rule E4.3)
    var doubtNonce: UInt64?
    var isDrawnInDoubt = false
    var nextInDoubtAt = Tick.zero
    /// The applied entry up to which the log's own record of marks was noted.
    var notedAppliedIndex: LogIndex?
    /// This node's log is not the one that others hold promises of; it counts nowhere before it is let in. (Rule E2.2)
    var isStranger = false
    /// This log was rolled back: it is kept aside, and this life of the daemon takes part in nothing more. (Rule E2.2)
    var hasForgotten = false

    /// Another mark is to be drawn because of a doubt, or waits for the disk.
    var isDoubtMarkDue: Bool { self.doubtNonce != nil || self.isDrawnInDoubt }

    init(present: StartMark) {
        self.admittable = present
        self.run = present.run
    }
}
