import Agents
import Basis
import Cluster
import Host
import Mirror
import Raft
import Resources

/// The one thread that owns the supervisor: takes an input, reads the clock, steps, performs the effects in order.
///
/// It goes before everything else on the machine, takes what concerns leases before everything else that waits for it,
/// and never waits for a disk, but for one that has been silent for long. (docs/decisions/0005-leases-first.md)
final class DaemonLoop: Sendable {
    /// What the loop can be handed.
    enum Item: Sendable {
        /// For the supervisor.
        case input(SupervisorInput)
        /// Everything handed to the log up to this request is durable.
        case persisted(UInt64)
        /// The log takes no more writes.
        case logFailed(any Error)
        /// For the supervisor, with somebody who waits for the answer.
        case request(ClientRequest, @Sendable (ClientReply) -> Void)
        /// A look at the supervisor between two steps.
        case inspect(@Sendable (SupervisorView) -> Void)
        /// The end.
        case stop
    }

    /// The log on disk. Blocks as long as that does.
    struct Writers {
        /// Called on a thread of its own, one request after the other.
        var persist: @Sendable (PersistRequest) throws -> Void
        /// Says in a second place what the log holds, once it rests; on the same thread.
        var seal: @Sendable () throws -> Void
        /// Makes a snapshot durable beside the log; on another thread of its own.
        var keep: @Sendable (Snapshot) throws -> Void
    }

    /// What the loop acts upon. All but `log` is called on the loop's thread and must not block.
    struct Actors {
        var log: Writers
        /// Puts the log aside and ends the daemon. (Rule E2.2)
        var forget: (String) -> Void
        var send: (Envelope, NodeID) -> Void
        var lease: LeasePage
        /// Compares the clocks on that page. (Rule L20)
        var witness: ClockWitness
        /// Keeps durably what this node follows. (Rule R1)
        var generation: (GenerationRecord) throws -> Void
        var facts: (Facts) throws -> Void
        var call: (AgentCall) -> Void
        var cancel: (UInt64) -> Void
        var inspect: (UInt64, NodeID, [InspectionQuestion]) -> Void
        var killGroup: (GroupName) -> Void
        var forgetStarted: (GroupName) -> Void
        var volume: (VolumeName, VolumeCommand) -> Void
        var cutVolume: (VolumeName) -> Void
        var volumeServers: ([VolumeServerSpec]) -> Void
        var renew: (HelperRole) -> Void
        var peers: (PeerRoll) -> Void
        /// Called about twenty times a second.
        var housekeeping: (Tick) -> Void
        /// Called once, when the log takes no more writes: what this node could still promise is over.
        var logFailed: (any Error) -> Void
    }

    private let published = Locked<SupervisorView?>(nil)
    /// What the loop's thread has for itself: it holds it as long as it runs.
    private let course: Locked<LoopCourse>

    init(
        _ supervisor: Supervisor, queue: LoopQueue, actors: sending Actors, log: DriverLog,
        logPatience: Span = .seconds(1),
        markInterval: Span = .seconds(3600)
    ) {
        self.course = Locked(
            LoopCourse(
                supervisor, queue: queue, published: self.published, actors: actors, log: log, logPatience: logPatience,
                markInterval: markInterval))
    }

    /// Runs until somebody asks for the end.
    func run() { self.course.withLock { $0.run() } }

    /// The last view that was published: what is known while a disk holds the loop up.
    var latest: SupervisorView? { self.published.withLock { $0 } }

    /// Looks at the supervisor from any thread: fresh if the loop answers in time, else the last published view.
    static func view(
        _ loop: DaemonLoop, queue: LoopQueue, within limit: Span = .milliseconds(100)
    ) async -> SupervisorView? {
        let once = OneAnswer<SupervisorView?>()
        queue.change { $0.append(.inspect { once.give($0) }) }
        let deadline = Task {
            try? await Task.sleep(nanoseconds: limit.nanoseconds)
            once.give(loop.latest)
        }
        defer { deadline.cancel() }
        return await once.value()
    }
}

/// The supervisor and what belongs to it, on the loop's thread.
private final class LoopCourse {
    private static let tickInterval = Span.milliseconds(50)
    private static let publishInterval = Span.milliseconds(500)

    /// A log that has not answered for this long holds everything up: what a dead disk should silence is silent.
    private let logPatience: Span
    /// How often the log gets another mark. (Rule E2.3)
    private let markInterval: Span

    private let queue: LoopQueue
    private let published: Locked<SupervisorView?>
    private let log: DriverLog
    private let worker: LogWorker
    private let snapshots: SnapshotWorker

    private var supervisor: Supervisor
    private var actors: DaemonLoop.Actors
    private var performer = Performer()
    private var waiting: [UInt64: @Sendable (ClientReply) -> Void] = [:]
    private var nextClient: UInt64 = 1
    private var guardSeen = Tick.zero
    private var undeadSince = Tick.zero
    private var doubtSeen = Tick.zero
    private let startedAt = MachineClock.now
    private var leaderSeenAt: Tick?
    private var nextTick = Tick.zero
    private var nextMarkAt = Tick.zero
    /// When the log rests and is sealed; `never` once it is.
    private var nextPublication = Tick.zero
    private var notes = NoteFilter()
    private var told = ToldCounts()
    private var slowSteps = SlowSteps()

    init(
        _ supervisor: Supervisor, queue: LoopQueue, published: Locked<SupervisorView?>, actors: DaemonLoop.Actors,
        log: DriverLog, logPatience: Span, markInterval: Span
    ) {
        self.supervisor = supervisor
        self.queue = queue
        self.published = published
        self.actors = actors
        self.log = log
        self.logPatience = logPatience
        self.markInterval = markInterval
        self.worker = LogWorker(queue: queue, persist: actors.log.persist, seal: actors.log.seal)
        self.snapshots = SnapshotWorker(queue: queue, release: supervisor.identity.release, write: actors.log.keep)
    }

    /// Runs until somebody asks for the end.
    func run() {
        self.worker.start()
        self.snapshots.start()
        defer {
            self.worker.close()
            self.snapshots.close()
        }
        var items: [DaemonLoop.Item] = []
        while true {
            let pause = self.nextTick.since(MachineClock.now)
            _ = self.queue.wait(atMost: pause) { $0.isEmpty ? nil : true }
            self.queue.withLock { $0.take(into: &items) }
            let began = MachineClock.now
            for item in items where !self.take(item) { return }
            self.tickIfDue()
            let now = MachineClock.now
            if self.slowSteps.isWorthTelling(now.since(began), at: now) { self.note(.slowStep(now.since(began))) }
            guard self.awaitLog() else { return }
        }
    }

    /// A disk that hangs silences the node as a whole, as a dead one should; but not before it was given a moment.
    /// False when the end was asked for meanwhile.
    private func awaitLog() -> Bool {
        var items: [DaemonLoop.Item] = []
        while let since = self.performer.logWaitsSince, MachineClock.now.since(since) >= self.logPatience {
            _ = self.queue.wait(atMost: Self.tickInterval) { $0.hasWordOfLog ? true : nil }
            self.queue.withLock { $0.takeWordsOfLog(into: &items) }
            for item in items where !self.take(item) { return false }
            self.actors.housekeeping(MachineClock.now)
        }
        return true
    }

    private func take(_ item: DaemonLoop.Item) -> Bool {
        switch item {
        case .input(let input):
            self.step(input)
        case .persisted(let sequence):
            var world = self
            self.performer.persisted(sequence, in: &world)
            self.step(.persisted(sequence: sequence))
        case .logFailed(let error):
            self.logFailed(error)
        case .request(let request, let answer):
            let id = self.nextClient
            self.nextClient += 1
            self.waiting[id] = answer
            self.step(.client(id: id, request))
        case .inspect(let look):
            look(self.view(at: MachineClock.now))
        case .stop:
            return false
        }
        return true
    }

    private func tickIfDue() {
        guard MachineClock.now >= self.nextTick else { return }
        let seen = self.actors.lease.guardSeen
        if seen != self.guardSeen {
            self.guardSeen = seen
            self.step(.guardSeen(seen))
        }
        let undeadSince = self.actors.lease.undeadSince
        if undeadSince != self.undeadSince {
            self.undeadSince = undeadSince
            self.step(.guardKills(since: undeadSince))
        }
        self.lookForDoubt()
        self.drawMarkIfDue()
        self.step(.tick)
        self.countEvents()
        let now = MachineClock.now
        self.actors.housekeeping(now)
        self.nextTick = min(max(self.supervisor.schedule.deadline, now + .milliseconds(1)), now + Self.tickInterval)
        if now >= self.nextPublication {
            self.nextPublication = now + Self.publishInterval
            let view = self.view(at: now)
            self.published.change { $0 = view }
        }
    }

    /// Rule E2.3: a copy of the log that is older than an hour is to be known by every single other node.
    private func drawMarkIfDue() {
        let now = MachineClock.now
        guard now >= self.nextMarkAt else { return }
        // Not at the start, which has drawn one.
        if self.nextMarkAt != .zero, let nonce = try? Founding.randomNumber() { self.step(.drawMark(nonce: nonce)) }
        self.nextMarkAt = now + self.markInterval
    }

    /// Rule L20: the supervisor learns of a doubt at once.
    private func lookForDoubt() {
        let isInDoubt = self.actors.witness.isInDoubt(at: MachineClock.now)
        let parted = self.actors.lease.partedAt
        if parted != self.doubtSeen {
            self.doubtSeen = parted
            // What a doubt from before this daemon asks for, its start has done. (Rule E4.3)
            let isOlder = parted <= self.startedAt
            if isInDoubt || !isOlder {
                self.step(.doubt(since: parted, nonce: isOlder ? nil : Self.freshNumber(parted)))
            }
        }
    }

    /// A number that this machine draws in no other course of events: a kernel that was taken back may draw the same twice, but
    /// not at the same time of day.
    private static func freshNumber(_ parted: Tick) -> UInt64 {
        let random = (try? Founding.randomNumber()) ?? parted.nanoseconds
        return random ^ (MachineClock.wallMilliseconds &* 0x9E37_79B9_7F4A_7C15)
    }

    private func countEvents() {
        let state = self.supervisor.state
        self.told.count(state.events, through: state.appliedIndex, isNews: self.supervisor.isCaughtUp)
    }

    private func view(at now: Tick) -> SupervisorView {
        self.countEvents()
        return SupervisorView(
            supervisor: self.supervisor, now: now, wallMilliseconds: MachineClock.wallMilliseconds,
            leaderSeenAt: self.leaderSeenAt, isPoisoned: self.performer.isPoisoned,
            startedAt: self.startedAt, told: self.told)
    }

    private func step(_ input: SupervisorInput) {
        let now = MachineClock.now
        var world = self
        self.performer.step(input, in: &world, at: now)
        self.leaderSeenAt = self.supervisor.leaderSeen(at: now) ?? self.leaderSeenAt
        self.nextTick = min(self.nextTick, self.supervisor.schedule.deadline)
    }

    private func logFailed(_ error: any Error) {
        guard let held = self.performer.logFailed() else { return }
        self.log.error("the log cannot be written: \(error)")
        if held > 0 { self.log.warning("\(held) messages were held back: the log is not durable") }
        self.step(.diskFailed)
        self.actors.logFailed(error)
    }
}

/// This machine, for the effects.
extension LoopCourse: SupervisorWorld {
    var isOver: Bool { false }

    func step(_ input: SupervisorInput, into effects: inout [SupervisorEffect]) {
        // Rule L3: the clock is read after the input was received.
        let now = MachineClock.now
        self.supervisor.wallMilliseconds = MachineClock.wallMilliseconds
        self.supervisor.step(input, at: now, into: &effects)
    }

    func isInDoubt(comparing: Bool) -> Bool {
        self.actors.witness.isInDoubt(at: MachineClock.now, atOnce: comparing)
    }

    func persist(_ request: PersistRequest) -> LogAnswer {
        self.worker.put(request)
        return .later
    }

    func keep(_ order: SnapshotOrder, _ answers: inout [SupervisorInput]) { self.snapshots.put(order) }

    func forget(_ reason: String) {
        self.log.error("this log is not what it was: \(reason)")
        self.actors.forget(reason)
    }

    func write(_ record: GenerationRecord) -> Bool {
        do { try self.actors.generation(record) } catch {
            let text = "what this node follows cannot be written down: \(error)"
            if let line = self.notes.admit(text, at: MachineClock.now) { self.log.error(line) }
            return false
        }
        return true
    }

    func write(_ facts: Facts) -> Bool {
        do { try self.actors.facts(facts) } catch {
            let text = "what runs here cannot be written down: \(error); a restart of the daemon will stop it"
            if let line = self.notes.admit(text, at: MachineClock.now) { self.log.error(line) }
            return false
        }
        return true
    }

    func send(_ envelope: consuming Envelope, to hop: NodeID) { self.actors.send(envelope, hop) }

    func keep(_ roll: PeerRoll) { self.actors.peers(roll) }

    func publish(end: Tick, _ incarnation: Incarnation, grace: Span, sentAt: Tick) {
        self.actors.lease.publish(end: end, incarnation, grace: grace, sentAt: sentAt)
    }

    func call(_ call: AgentCall, _ answers: inout [SupervisorInput]) { self.actors.call(call) }

    func cancel(_ id: UInt64) { self.actors.cancel(id) }

    func kill(_ group: GroupName, _ answers: inout [SupervisorInput]) { self.actors.killGroup(group) }

    func forgetStarted(_ group: GroupName) { self.actors.forgetStarted(group) }

    func inspect(
        _ id: UInt64, for asker: NodeID, _ questions: [InspectionQuestion], _ answers: inout [SupervisorInput]
    ) { self.actors.inspect(id, asker, questions) }

    func tell(_ volume: VolumeName, _ command: VolumeCommand, _ answers: inout [SupervisorInput]) {
        self.actors.volume(volume, command)
    }

    func cut(_ volume: VolumeName) { self.actors.cutVolume(volume) }

    func keep(_ servers: [VolumeServerSpec], _ answers: inout [SupervisorInput]) { self.actors.volumeServers(servers) }

    func renew(_ role: HelperRole) { self.actors.renew(role) }

    func reply(_ id: UInt64, _ reply: ClientReply) { self.waiting.removeValue(forKey: id)?(reply) }

    func note(_ note: Note) {
        self.told.count(note)
        let text = note.sentence(self.supervisor.state)
        if let line = self.notes.admit(text, at: MachineClock.now) { self.log.write(.init(note.severity), line) }
    }
}
