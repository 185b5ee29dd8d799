import Basis
import Mirror
import Raft
import Resources

/// What a supervisor's effects are done to: the five things that tests and simulator fake, and nobody decides in. The
/// `Performer` says what is done, in which order, and what waits.
///
/// What is answered at once goes into `answers`; all else comes back later, as an input of the supervisor.
public protocol SupervisorWorld {
    /// Whether this daemon has ended: nothing more is performed.
    var isOver: Bool { get }
    /// Steps the supervisor.
    mutating func step(_ input: SupervisorInput, into effects: inout [SupervisorEffect])

    // The clock.

    /// Whether boot clock and hardware clock have parted, and no renewal sent since was answered; compares them now, if
    /// `comparing`. (Rule L20)
    mutating func isInDoubt(comparing: Bool) -> Bool

    // The disk.

    /// Hands a request to the log.
    mutating func persist(_ request: PersistRequest) -> LogAnswer
    /// Makes a snapshot durable beside the log, and need not be done when this returns. (Rule C4)
    mutating func keep(_ order: SnapshotOrder, _ answers: inout [SupervisorInput])
    /// Keeps the log aside and ends the daemon. (Rule E2.2)
    mutating func forget(_ reason: String)
    /// Writes durably what this node follows; false if that failed. (Rule R1)
    mutating func write(_ record: GenerationRecord) -> Bool
    /// Writes what runs here to the run directory; false if that failed. (Rule L10)
    mutating func write(_ facts: Facts) -> Bool

    // The network.

    /// Sends through this next hop.
    mutating func send(_ envelope: consuming Envelope, to hop: NodeID)
    /// Keeps links to the nodes of the cluster, and shows out who has left.
    mutating func keep(_ roll: PeerRoll)

    // The fence.

    /// Publishes the lease to guard and volume servers. (Rules L1, L12)
    mutating func publish(end: Tick, _ incarnation: Incarnation, grace: Span, sentAt: Tick)

    // Processes: agents and volume servers.

    /// Calls an agent.
    mutating func call(_ call: AgentCall, _ answers: inout [SupervisorInput])
    /// Kills a call.
    mutating func cancel(_ id: UInt64)
    /// Kills everything of a group.
    mutating func kill(_ group: GroupName, _ answers: inout [SupervisorInput])
    /// Forgets what was started of a group. (Rule L11.5)
    mutating func forgetStarted(_ group: GroupName)
    /// Looks at this machine for a node.
    mutating func inspect(
        _ id: UInt64, for asker: NodeID, _ questions: [InspectionQuestion], _ answers: inout [SupervisorInput])
    /// Tells a volume server.
    mutating func tell(_ volume: VolumeName, _ command: VolumeCommand, _ answers: inout [SupervisorInput])
    /// Makes whoever waits for an attached volume fail.
    mutating func cut(_ volume: VolumeName)
    /// Keeps these volume servers, and no others.
    mutating func keep(_ servers: [VolumeServerSpec], _ answers: inout [SupervisorInput])

    /// Starts another process in the place of one that outlived an upgrade. (Rules L12.4, V23)
    mutating func renew(_ role: HelperRole)

    // People.

    /// Answers a client.
    mutating func reply(_ id: UInt64, _ reply: ClientReply)
    /// Tells whoever looks after the node.
    mutating func note(_ note: Note)
}

/// What a log says to a request.
public enum LogAnswer: Sendable {
    /// Nothing yet: whether it is durable is said later.
    case later
    /// It is durable.
    case written
    /// It is not durable, and the log takes no more writes.
    case failed
}
