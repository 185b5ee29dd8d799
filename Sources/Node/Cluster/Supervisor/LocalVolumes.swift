import Basis
import Mirror
import Raft

/// The volume servers of this node, and what they found where the copies should be.
struct LocalVolumes: Sendable {
    /// One volume's server on this node.
    struct View: Equatable, Sendable {
        var name: VolumeName
        var isConnected = false
        var status: VolumeStatus?
        /// What its server found where the copy should be.
        var report: CopyReport?
        var failure = ""
        /// Why there is no copy that counts, if there is none, and which of it was noted for the journal.
        var problem = ""
        var notedProblem = ""
        /// The last epoch under which its server said that it serves clients, in this life of the daemon.
        var openedEpoch = Epoch.none
        /// When the server may be asked again to make or to note a copy.
        var askAt = Tick.zero
        /// The question whose answer decides whether the copy is an older one, and what the log knew when it was asked.
        var question: UInt64 = 0
        var askedAgainst: CopyKnowledge?
        var isAnswered = false
    }

    /// What the decisions about copies depend on.
    struct CopiesKey: Equatable, Sendable {
        var applied = LogIndex.zero
        var version: UInt64 = .max
    }

    /// What the list of servers depends on.
    struct ServersKey: Equatable, Sendable {
        var applied: LogIndex
        var groupsVersion: UInt64
    }

    /// Sorted by name.
    var views: [View] = []
    /// Grows with each change of what a volume's server is, but not with its progress.
    var version: UInt64 = 0
    /// The servers that should run, and what that follows from.
    var servers: [VolumeServerSpec] = []
    var serversDerivedAt: ServersKey?
    /// When the copies were compared with the log, and when they are to be again.
    var copiesSettledAt = CopiesKey()
    var nextLook = Tick.never
    /// Copies that were taken back, before their servers have shown that they know it. (Rule E4.2)
    var takenBack: [Facts.TakenBack] = []
}
