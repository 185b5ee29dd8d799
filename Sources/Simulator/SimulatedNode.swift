import Basis
import Cluster
import Raft
import RaftStorage
import Resources
import SimulatedDisks

/// One machine: a clock with its own rate, a disk, processes in cgroups, a guard, volume servers, and a daemon that may
/// be down while the rest lives on.
final class SimulatedNode {
    let id: NodeID
    let name: String
    /// What its daemon takes itself for; what the log says of it it becomes with the next one.
    var role: NodeRole
    var isWitness: Bool { self.role == .witness }
    var disk = SimulatedDisk()
    /// What it follows, beside the log. (Rule R1)
    var generation = GenerationRecord(.first)
    /// What the disk held some time ago, for faults that bring it back; oldest first.
    var copies: [LogCopy] = []
    var volumes: [SimulatedVolume] = []

    /// It has joined, or is there from the start.
    var isPresent = true
    /// An entry that was applied somewhere has expelled it: it is no node any more. (Rule J2)
    var hasLeft = false
    /// The machine is never switched on again.
    var isGone = false
    /// So long it may be on its way out, by its own retirement.
    var mayEndUntil: UInt64 = 0
    /// The machine is on.
    var isOn = true
    /// Which run of the machine this is: raised by each boot, and whenever the machine is taken back to an earlier moment.
    /// Events of an earlier one are void.
    var boot: UInt64 = 1
    /// The run that began with the last boot.
    var bootedAs: UInt64 = 1
    /// It was taken back to an earlier moment since it booted.
    var wasTakenBack: Bool { self.boot != self.bootedAs }
    /// The daemon runs.
    var daemon: SimulatedDaemon?
    /// Until then nothing on the machine is scheduled.
    var pausedUntil: UInt64 = 0
    /// Until then the daemon alone is not scheduled.
    var daemonPausedUntil: UInt64 = 0
    /// From then on the daemon is scheduled again.
    var scheduledFrom: UInt64 { max(self.pausedUntil, self.daemonPausedUntil) }
    var log: LogStore?
    /// A fault touched the log: anything else that makes it unreadable is a mistake of ours.
    var mayLoseLog = false
    /// When the log has rested long enough to be sealed.
    var sealAt: UInt64 = .max
    /// Until then something is wrong with the log's disk; until the other it answers nothing.
    var diskBadUntil: UInt64 = 0
    var diskHangsUntil: UInt64 = 0
    /// What a daemon that starts before that meets.
    var diskFault: SimulatedDisk.Fault?
    /// Until then there is no guard, and since when, by this machine's clock.
    var guardDeadUntil: UInt64 = 0
    var guardDeadSince = Tick.zero
    /// When the daemon is next offered another mark of its log. (Rule E2.3)
    var markAt: UInt64 = .max
    /// When the daemon was last shown that the guard looks.
    var guardShownAt: UInt64 = 0
    /// When the next wake-up of the daemon is due; others are void.
    var wakeAt: UInt64 = .max
    /// The daemon's deadline that it is for.
    var wakeFor = Tick.never

    // The run directory: survives the daemon, not the machine.
    var leaseEnd = Tick.zero
    var leaseIncarnation = Incarnation.none
    var leaseSentAt = Tick.zero
    var leaseGrace = Span.zero
    // The hardware clock counts whole seconds, also while the machine is stopped from outside. (Rule L20)
    var comparison = ClockComparison()
    var hasHardwareClock = true
    /// By how much it is wrong.
    var hardwareOffset: Int64 = 1_700_000_000_000_000_000
    /// When guard or daemon last found the clocks parted.
    var doubtSince = Tick.zero
    /// The guard holds everything still.
    var isFrozen = false { didSet { self.runsChanged() } }

    var isInDoubt: Bool { self.doubtSince != .zero && self.leaseSentAt <= self.doubtSince }
    /// What volume servers go by.
    var usableEnd: Tick { self.isInDoubt ? .zero : self.leaseEnd }
    /// What the guard kills by.
    var lastEnd: Tick { self.isInDoubt ? min(self.leaseEnd, self.doubtSince + self.leaseGrace) : self.leaseEnd }

    func hardwareSeconds(at time: UInt64) -> Int64 { (Int64(time) + self.hardwareOffset) / 1_000_000_000 }
    var facts: Facts?
    /// How far the log had come. (Rule E2.4)
    var progress: LogProgress?
    /// What runs, per group and resource, with the epoch it was started under.
    var processes: [GroupName: [ResourceName: Epoch]] = [:] { didSet { self.runsChanged() } }
    /// Calls under way: their effect when they end.
    var calls: [UInt64: AgentCall] = [:] { didSet { self.runsChanged() } }
    /// Calls that the guard killed: their daemon hears that they failed, if it is the same then.
    var killedCalls: Set<UInt64> = []
    private var runsOwned: Bool?
    /// What runs, as it was last looked for.
    var knownRunning: [Running]?
    /// Raised whenever something of what runs may have changed; and what it was when it was last looked at.
    private(set) var runsVersion = 0
    var lookedAtVersion = 0

    private func runsChanged() {
        self.runsOwned = nil
        self.knownRunning = nil
        self.runsVersion &+= 1
    }

    // The boot clock: local = offset + (true − bootedAt) × rate.
    private var clockOffset: UInt64 = 0
    private var bootedAt: UInt64 = 0
    private var ratePartsPerMillion: Int64 = 0

    init(id: NodeID, name: String, role: NodeRole) {
        self.id = id
        self.name = name
        self.role = role
    }

    // A hypervisor stops the machine: no clock of its own counts that. (Rules L17 to L20)
    private var hiddenBefore: UInt64 = 0
    private var hiddenFrom: UInt64 = .max
    private var hiddenUntil: UInt64 = .max
    /// Until then it may run what another runs too, because it was just resumed and cannot know.
    var excusedUntil: UInt64 = 0

    /// Until then nobody ends here what a lost lease may no longer run, but the daemon. (Rule L12)
    var unguardedUntil: UInt64 { self.guardDeadUntil == 0 ? 0 : self.guardDeadUntil + 500_000_000 }
    /// Until then it may run what another runs too.
    var overlapsUntil: UInt64 { max(self.excusedUntil, self.unguardedUntil) }

    /// The machine stands still from now on, and its clock with it.
    func hide(from time: UInt64, until end: UInt64) {
        if self.hiddenFrom != .max { self.hiddenBefore += self.hiddenUntil - self.hiddenFrom }
        self.hiddenFrom = time
        self.hiddenUntil = end
    }

    /// Ends such a pause early.
    func endHiding(at time: UInt64) {
        if self.hiddenFrom <= time, time < self.hiddenUntil { self.hiddenUntil = time }
    }

    /// Whether such a pause goes on at this moment; its end.
    func hiding(at time: UInt64) -> (from: UInt64, until: UInt64)? {
        self.hiddenFrom <= time && time < self.hiddenUntil ? (self.hiddenFrom, self.hiddenUntil) : nil
    }

    /// True time without what was hidden from the machine.
    private func counted(_ time: UInt64) -> UInt64 {
        let hidden = time <= self.hiddenFrom ? 0 : min(time, self.hiddenUntil) - self.hiddenFrom
        return time - self.hiddenBefore - hidden
    }

    /// The boot clock: how it runs, and what it shows.
    struct ClockMoment {
        fileprivate var offset: UInt64
        fileprivate var bootedAt: UInt64
        fileprivate var ratePartsPerMillion: Int64
        fileprivate var counted: UInt64
    }

    func clockMoment(at time: UInt64) -> ClockMoment {
        ClockMoment(
            offset: self.clockOffset, bootedAt: self.bootedAt, ratePartsPerMillion: self.ratePartsPerMillion,
            counted: self.counted(time))
    }

    /// The boot clock goes on from what it showed then. (Rule E4)
    func bringBackClock(_ moment: ClockMoment, at time: UInt64) {
        self.clockOffset = moment.offset
        self.bootedAt = moment.bootedAt
        self.ratePartsPerMillion = moment.ratePartsPerMillion
        self.hiddenBefore = time - moment.counted
        self.hiddenFrom = .max
        self.hiddenUntil = .max
    }

    func setClock(at time: UInt64, offset: UInt64, ratePartsPerMillion: Int64) {
        self.hiddenBefore = 0
        self.hiddenFrom = .max
        self.hiddenUntil = .max
        self.excusedUntil = 0
        self.comparison = ClockComparison()
        self.doubtSince = .zero
        self.leaseSentAt = .zero
        self.isFrozen = false
        self.bootedAt = time
        self.clockOffset = offset
        self.ratePartsPerMillion = ratePartsPerMillion
    }

    func tick(at time: UInt64) -> Tick {
        let elapsed = Int64(self.counted(time) - self.bootedAt)
        let skew = elapsed / 1_000_000 * self.ratePartsPerMillion
        return Tick(nanoseconds: UInt64(Int64(self.clockOffset) + elapsed + skew))
    }

    /// The true time at which the node's clock shows `tick`, rounded up.
    func time(of tick: Tick) -> UInt64 {
        guard tick != .never else { return .max }
        let local = Int64(tick.nanoseconds) - Int64(self.clockOffset)
        guard local > 0 else { return self.bootedAt }
        let scaled = Double(local) / (1 + Double(self.ratePartsPerMillion) / 1_000_000)
        // The clock's rate moves it in steps of a millisecond: half a microsecond at 500 ppm.
        let counted = self.bootedAt + UInt64(scaled) + 1000 + self.hiddenBefore
        return counted <= self.hiddenFrom ? counted : counted + (self.hiddenUntil - self.hiddenFrom)
    }

    var bootID: String { "boot-\(self.id.rawValue)-\(self.bootedAs)" }

    func volume(_ name: VolumeName) -> SimulatedVolume? { self.volumes.first { $0.name == name } }

    /// Whether anything of the group that only one may run does so here.
    var isOwning: Bool {
        if self.isFrozen { return false }
        if let known = self.runsOwned { return known }
        let runs = self.isRunning(Simulation.group)
        self.runsOwned = runs
        return runs
    }

    /// Whether anything of a group runs, or its start is under way.
    private func isRunning(_ group: GroupName) -> Bool {
        if self.processes.isEmpty, self.calls.isEmpty { return false }
        if let running = self.processes[group], !running.isEmpty { return true }
        return self.calls.values.contains { $0.group == group && $0.action == .start }
    }

    /// The resources of a group that run, or whose start is under way.
    func running(_ group: GroupName) -> [ResourceName: Epoch] {
        var all = self.processes[group] ?? [:]
        for call in self.calls.values where call.group == group && call.action == .start {
            all[call.resource.name] = call.epoch
        }
        return all
    }
}

/// A running daemon. A class, so that its supervisor is changed in place and never copied.
final class SimulatedDaemon {
    var supervisor: Supervisor
    /// As in the real daemon.
    var performer = Performer()
    /// What a slow disk has not made durable yet.
    var unwritten: [PersistRequest] = []
    /// The snapshot that is being written beside the log.
    var snapshotOrder: SnapshotOrder?
    init(_ supervisor: Supervisor) { self.supervisor = supervisor }

    /// An entry that its log holds in memory.
    func entry(at index: LogIndex) -> Entry? { Self.entry(at: index, in: &self.supervisor) }

    /// The life of a node that its state knows.
    func incarnation(of node: NodeID) -> Incarnation { self.supervisor.state.node(node)?.incarnation ?? .none }

    /// In place, so that nothing is copied.
    private static func entry(at index: LogIndex, in supervisor: inout Supervisor) -> Entry? {
        supervisor.consensus.entry(at: index)
    }
}
