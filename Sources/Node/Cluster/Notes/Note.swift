import Basis
import Raft
import Resources

/// What a supervisor tells whoever looks after its node: the one value from which log, counters and alerts speak. Nothing is
/// decided from it. `sentence` has the words.
public enum Note: Equatable, Sendable {
    case consensus(ConsensusNote)
    case group(GroupName, GroupNote)

    // The log.

    /// A committed command did not take effect.
    case refused(LogIndex, Refusal)
    /// A peer's command is not proposed.
    case refusedCommand(from: NodeID, Refusal)
    /// A node speaks for another that is heard directly. (Rule L16)
    case refusedRelay(via: NodeID, for: NodeID)
    /// Committed content that this release cannot read, and what to do.
    case unreadable(String)
    /// A peer said what no correct peer can say.
    case distrusts(NodeID, Violation)
    /// The applied state is surely not older than this daemon's start. (Rule L10)
    case caughtUp(LogIndex)
    /// The log's disk takes no more writes.
    case diskFailed
    /// A snapshot could not be written; what it was to replace stays. (Rule C4)
    case snapshotFailed(LogMark, reason: String)
    /// The one thread that keeps leases alive was busy with one thing for so long.
    case slowStep(Span)
    /// A leader leaves its place to a node in a site that comes before its own. (Rule C11)
    case prefersLeader(NodeID)

    // Marks of logs. (Rule E2)

    case lostItsLog(NodeID)
    case doesNotRemember(NodeID, StartMark)
    case askedTooFarBack(by: NodeID, StartMark)
    /// This node's log directory is new, and another node holds promises of the old one.
    case isStranger(askedBy: NodeID, StartMark, own: DirectoryID)
    case newMark(StartMark)

    // Generations. (Rule R1)

    /// This node takes nothing of its old generation any more.
    case preparedFor(Generation, askedBy: NodeID)
    /// It begins a new one.
    case beginsGeneration(Generation)
    /// Its log is empty, and it follows what it hears.
    case followsGeneration(Generation)
    /// It was left behind.
    case overtaken(by: Generation, says: NodeID)

    // Lives and leases.

    /// A node asks for a new life while its old one is still heard.
    case twoLives(NodeID)
    /// A node has started anew and waits for the end of its old lease. (Rule E3)
    case awaitsEndOfLife(NodeID)
    /// Several machines say that they are this node. (Rule E5)
    case duplicated(NodeID, [Twin])
    /// This machine is one of several that say that they are this node, or is not this node. (Rule E5)
    case isTwin(says: NodeID, TwinWord)
    case leaseHeld(until: Tick)
    case leaseEnded
    case leaseGivenBack
    /// Boot clock and hardware clock have parted, or a majority answered since. (Rule L20)
    case clocksParted
    case doubtEnded
    /// A voter said that this life is over. (Rule L18)
    case lifeIsOver(says: NodeID)
    /// A voter's word shows that more time has passed than this clock says. (Rule L19)
    case moreTimePassed(says: NodeID, end: Tick)

    // What runs here.

    case starts(GroupName, Epoch)
    case stopsLeftovers(GroupName)
    case adopts(GroupName, Epoch)
    case confirmedStopped(GroupName)
    /// What outlived an upgrade of the daemon is started anew.
    case renews(HelperRole)

    // Volumes.

    /// Why there is no copy here that counts.
    case noCopy(VolumeName, reason: String)
    /// The copy here is behind another of the last set. (Rule V19)
    case copyOutdated(VolumeName, reason: String)
    /// The copy here was taken back with its machine. (Rule E4)
    case copyTakenBack(VolumeName, reason: String)
    /// Its server cannot serve.
    case serverFailed(VolumeName, reason: String)
    /// In its server's own words.
    case serverSays(VolumeName, String)

    /// A stable name for counters and alerts; never reworded.
    public var identifier: String {
        switch self {
        case .consensus(let note): note.identifier
        case .group(_, let note): note.identifier
        case .refused: "log.refused"
        case .refusedCommand: "log.refused-command"
        case .refusedRelay: "log.refused-relay"
        case .unreadable: "log.unreadable"
        case .distrusts: "log.distrusts"
        case .caughtUp: "log.caught-up"
        case .diskFailed: "log.disk-failed"
        case .snapshotFailed: "log.snapshot-failed"
        case .slowStep: "loop.slow-step"
        case .prefersLeader: "log.prefers-leader"
        case .lostItsLog: "mark.lost-its-log"
        case .doesNotRemember: "mark.does-not-remember"
        case .askedTooFarBack: "mark.asked-too-far-back"
        case .isStranger: "mark.is-stranger"
        case .newMark: "mark.new"
        case .preparedFor: "generation.prepared"
        case .beginsGeneration: "generation.begins"
        case .followsGeneration: "generation.follows"
        case .overtaken: "generation.overtaken"
        case .twoLives: "life.two"
        case .awaitsEndOfLife: "life.awaits-end"
        case .duplicated: "life.duplicated"
        case .isTwin: "life.is-twin"
        case .leaseHeld: "lease.held"
        case .leaseEnded: "lease.ended"
        case .leaseGivenBack: "lease.given-back"
        case .clocksParted: "lease.clocks-parted"
        case .doubtEnded: "lease.doubt-ended"
        case .lifeIsOver: "lease.life-is-over"
        case .moreTimePassed: "lease.more-time-passed"
        case .starts: "group.starts"
        case .stopsLeftovers: "group.stops-leftovers"
        case .adopts: "group.adopts"
        case .confirmedStopped: "group.confirmed-stopped"
        case .renews: "helper.renews"
        case .noCopy: "volume.no-copy"
        case .copyOutdated: "volume.copy-outdated"
        case .copyTakenBack: "volume.copy-taken-back"
        case .serverFailed: "volume.server-failed"
        case .serverSays: "volume.server-says"
        }
    }

    /// How much it matters.
    public var severity: Severity {
        switch self {
        case .consensus(let note): note.severity
        case .group(_, let note): note.severity
        case .caughtUp, .newMark, .followsGeneration, .leaseHeld, .leaseGivenBack, .doubtEnded, .starts,
            .stopsLeftovers, .adopts,
            .confirmedStopped, .renews, .refused, .awaitsEndOfLife, .prefersLeader:
            .info
        case .preparedFor, .beginsGeneration,
            .refusedCommand, .refusedRelay, .lostItsLog, .doesNotRemember, .askedTooFarBack, .isStranger, .leaseEnded,
            .clocksParted, .moreTimePassed, .snapshotFailed, .slowStep, .noCopy, .copyOutdated, .copyTakenBack,
            .serverSays:
            .warning
        case .overtaken, .unreadable, .distrusts, .diskFailed, .twoLives, .duplicated, .isTwin, .lifeIsOver,
            .serverFailed:
            .error
        }
    }
}
