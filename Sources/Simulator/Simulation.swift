import Basis
import Cluster
import Mirror
import Raft
import RaftStorage
import Resources

/// A whole cluster in virtual time from one seed: the production cores, with clock, disk, network, processes and guard
/// replaced. Checkers look after every step. Start reading at `run`.
public final class Simulation {
    /// What happens at a moment of true time.
    ///
    /// Two more are tokens of the queue, because they are three of four: the arrival of a packet, and a daemon's timer.
    enum Event {
        case restartDaemon(NodeID, boot: UInt64)
        indirect case agentDone(NodeID, boot: UInt64, call: UInt64, AgentOutcome)
        case killed(NodeID, boot: UInt64, GroupName)
        case logWritten(SimulatedNode, SimulatedDaemon)
        case snapshotStage(SimulatedNode, SimulatedDaemon, SnapshotStage)
        case guardLook(NodeID, boot: UInt64)
        case resume(NodeID, boot: UInt64)
        case powerOn(NodeID)
        /// The oldest of the volume's `completions` is due.
        case volumeDone(SimulatedVolume, server: UInt64)
        indirect case volumeControl(SimulatedVolume, server: UInt64, VolumeCommand)
        indirect case volumeEvent(SimulatedVolume, boot: UInt64, VolumeEvent)
        case volumeTick(SimulatedVolume, server: UInt64)
        case startServer(SimulatedVolume, boot: UInt64)
        case copyMended(SimulatedVolume)
        case dial(SimulatedVolume, server: UInt64, peer: NodeID)
        case linkFrame(VolumeLinks.Link, toOwner: Bool)
        case linkCheck(VolumeLinks.Link)
        case linkClosed(VolumeLinks.Link, toOwner: Bool)
        case workload
        case logFault(LogFault, LogFault.Stage)
        case fault
        case pairOfFaults
        case hiddenPause
        /// Guard and daemon look at the hardware clock.
        case clockLook(NodeID, boot: UInt64)
        case doubtHeard(NodeID, boot: UInt64, Tick)
        /// What a node that was resumed may still run is over.
        case excuseEnds(NodeID, boot: UInt64, isEarly: Bool)
        case heal
        case edit
        case shutDown
        case shutDownLook(NodeID, boot: UInt64, since: UInt64)
        case revert
        indirect case revertStage(Revert, Revert.Stage)
        case swarm(SwarmEvent)
    }

    let options: SimulationOptions
    var random: SeededRandom
    /// For what concerns copies alone, so that the rest of a seed's run stays what it was.
    var copyRandom: SeededRandom
    /// How the log is cut into snapshots, the same on every node; drawn apart, so that it shifts no other draw.
    let consensusSettings: Consensus.Settings
    /// What pairs of faults are drawn from: they leave the other draws of a seed as they are.
    var pairs: SeededRandom
    /// For the identities and marks of logs, and for what happens to logs.
    var memoryRandom: SeededRandom
    /// How slow disks are: a stream of its own.
    var diskRandom: SeededRandom
    /// How long snapshots are written, likewise.
    var snapshotRandom: SeededRandom
    var now: UInt64 = 0
    var stepsSinceLook = 0
    var queue = EventQueue<Event>()
    var nodes: [SimulatedNode] = []
    var network = SimulatedNetwork()
    var links = VolumeLinks()
    var checkers = Checkers()
    /// The clients of each volume, by its number.
    var workloads: [Workload] = []
    var edits: Edits
    /// Of shutdowns: their own chance, so that a seed means the same without them.
    var shutDownRandom: SeededRandom
    /// Of machines that are taken back, likewise.
    var revertRandom: SeededRandom
    /// What this seed's world has beyond that.
    var swarm: Swarm
    var stage = Stage()
    var wishes = Wishes()
    var roster = Roster()
    var drill: RecoveryDrill
    var operators: Operators
    var sent = SentCounts()
    var events: UInt64 = 0
    var counts: [String: UInt64] = [:]
    /// No other fault before this: the present one may not be joined by a second.
    var quietUntil: UInt64 = 0
    /// The copies of the volume have been in contact since one of them was harmed.
    var haveCopiesMet: Bool { self.copiesHaveMet.allSatisfy { $0 } }
    /// The same for each volume, by its number.
    var copiesHaveMet: [Bool] = []
    /// When operators last asked for other backings or replicas.
    var replicasAskedAt: UInt64 = 0
    /// When a machine was last taken back.
    var takenBackAt: UInt64 = 0
    /// How long it may stay quiet between two faults.
    var longestFaultPause = Span.seconds(25)
    /// One node is lost, and nothing else goes wrong.
    var isLastFailure = false
    /// When the network healed last.
    var healedAt: UInt64 = 0
    var judged = JudgedSets()
    /// Whatever may move groups.
    var disturbance = History.Disturbance()
    /// The latest fault.
    var faultAt: UInt64 = 0
    var trace = TraceRing()
    var violation: String?
    var effects: [SupervisorEffect] = []
    var volumeEffects: Volume.Effects?
    var packets = PacketPool()
    /// For each receiver the packet that the step under way fills.
    var open: [Int] = []
    /// A bit for each receiver that has one.
    var openMask: UInt64 = 0

    static let group = GroupName("orders")
    static let quickGroup = GroupName("cache")
    static let volume = VolumeName("pgdata")

    /// Sets up the nodes; nothing has happened yet.
    public init(options: SimulationOptions) {
        self.options = options
        self.random = SeededRandom(seed: options.seed)
        self.edits = Edits(seed: options.seed)
        self.swarm = Swarm(seed: options.seed, options.features)
        self.drill = RecoveryDrill(seed: options.seed)
        self.operators = Operators(seed: options.seed)
        self.shutDownRandom = SeededRandom(seed: options.seed ^ 0x5EED_D0D0_0FF0_0FF0)
        self.revertRandom = SeededRandom(seed: options.seed ^ 0xBAC4_BAC4_0E40_0E40)
        self.copyRandom = SeededRandom(seed: options.seed ^ 0x636F_7069_6573)
        var drawn = SeededRandom(seed: options.seed ^ 0x736E_6170_7368_6F74)
        // A run of half an hour has some 400 entries: most are to see several snapshots, some of them sent to a node
        // that was away, in several pieces.
        self.consensusSettings = Consensus.Settings(
            snapshotChunkBytes: 500 + Int(drawn.below(4000)), trailingEntries: drawn.below(60),
            entriesBetweenSnapshots: 15 + drawn.below(150))
        self.pairs = SeededRandom(seed: options.seed ^ 0x7061_6972)
        self.memoryRandom = SeededRandom(seed: options.seed ^ 0x1067_3A92_55D1_0C3B)
        self.diskRandom = SeededRandom(seed: options.seed ^ 0x5107_D15C)
        self.snapshotRandom = SeededRandom(seed: options.seed ^ 0x0B51_DE00_F11E)
    }

    /// Runs to the end, or to the first violation. A run that fails is played once more to write down what happened: the
    /// lines cost too much where nobody reads them.
    public func run() -> SimulationResult {
        let result = self.play()
        guard let violation = result.violation, !self.options.isTraced, !self.options.isVerbose else { return result }
        var options = self.options
        options.isTraced = true
        var traced = Simulation(options: options).play()
        if traced.violation != violation {
            traced.violation = "\(violation); NOT DETERMINISTIC: the second run gave \(traced.violation ?? "no error")"
        }
        return traced
    }

    private func play() -> SimulationResult {
        self.setUp()
        let length = self.options.length.nanoseconds
        let calm = self.options.calm.nanoseconds
        self.queue.add(.fault, at: 20_000_000_000)
        self.queue.add(.hiddenPause, at: self.pairs.span(.seconds(30), .seconds(120)).nanoseconds)
        self.queue.add(.pairOfFaults, at: self.pairs.span(.seconds(30), .seconds(160)).nanoseconds)
        if self.options.reverts != .none { self.queue.add(.revert, at: 20_000_000_000) }
        self.beginSwarm()
        self.playFaults()
        if self.violation == nil, self.options.hasFaults, calm > 0 {
            // Liveness: with all faults gone, everything must run again.
            self.checkWishes()
            self.healEverything()
            self.advance(to: length + calm / 3)
            self.endWishes()
            self.advance(to: length + calm)
            self.checkRecovered()
            self.checkStatus()
            self.playLastActs()
        }
        if self.violation == nil { self.checkMembersCalmly() }
        self.countSent()
        let counts = self.counts.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        return SimulationResult(
            violation: self.violation, simulated: Span(nanoseconds: self.now), events: self.events,
            digest: self.checkers.digest, counts: counts,
            trace: self.violation == nil ? [] : self.trace.lines)
    }

    func advance(to end: UInt64) {
        while self.violation == nil, let time = self.queue.nextTime, time <= end {
            self.now = max(self.now, time)
            self.events += 1
            if let token = self.queue.nextToken() {
                if token & 1 == 0 { self.deliver(token >> 1) } else { self.timer(self.nodes[token >> 1]) }
            } else {
                self.handle(self.queue.nextEvent())
            }
        }
        self.now = max(self.now, end)
    }

    func node(_ id: NodeID) -> SimulatedNode { self.nodes[Int(id.rawValue) - 1] }

    func count(_ what: String) { self.counts[what, default: 0] += 1 }

    func fail(_ text: String) {
        guard self.violation == nil else { return }
        self.violation = "\(text) (at \(Span(nanoseconds: self.now)))"
        self.note("VIOLATION \(text)")
    }

    func note(_ text: @autoclosure () -> String) {
        guard self.options.isTraced || self.options.isVerbose else { return }
        let line = "\(Span(nanoseconds: self.now)) \(text())"
        self.trace.add(line)
        if self.options.isVerbose { self.verbose?(line) }
    }

    /// Receives every line of a verbose run.
    public var verbose: ((String) -> Void)?

    func handle(_ event: Event) {
        switch event {
        case .restartDaemon(let id, let boot):
            let node = self.node(id)
            guard node.isOn, node.boot == boot, node.daemon == nil else { return }
            self.startDaemon(node)
        case .agentDone(let id, let boot, let call, let outcome):
            self.agentDone(self.node(id), boot, call, outcome, event)
        case .killed(let id, let boot, let group):
            let node = self.node(id)
            guard node.isOn, node.boot == boot else { return }
            self.input(node, .groupKilled(group, isDead: node.running(group).isEmpty), orRetry: event)
        case .logWritten(let node, let daemon): self.logWritten(node, daemon)
        case .snapshotStage(let node, let daemon, let stage): self.snapshot(node, daemon, stage)
        case .guardLook(let id, let boot): self.guardLook(self.node(id), boot)
        case .resume(let id, let boot):
            let node = self.node(id)
            guard node.boot == boot, node.isOn else { return }
            // The guard's priority is above everybody's: it is scheduled first.
            self.guardLook(node, boot)
            self.checkers.look(at: node, in: self)
            self.wake(node)
        case .powerOn(let id): self.powerOn(self.node(id))
        case .volumeDone, .volumeControl, .volumeEvent, .volumeTick, .startServer, .copyMended, .dial, .linkFrame,
            .linkCheck, .linkClosed:
            self.handleVolume(event)
        case .workload: self.stepWorkload()
        case .logFault(let fault, let stage): self.go(on: fault, stage)
        case .fault: self.injectFault()
        case .pairOfFaults: self.injectPair()
        case .clockLook(let id, let boot): self.lookAtClocks(self.node(id), boot)
        case .doubtHeard(let id, let boot, let tick):
            let node = self.node(id)
            guard node.isOn, node.boot == boot else { return }
            self.input(node, .doubt(since: tick, nonce: self.revertRandom.next()), orRetry: event)
        case .hiddenPause: self.injectHiddenPause()
        case .excuseEnds(let id, let boot, let isEarly): self.endExcuse(self.node(id), boot, isEarly: isEarly)
        case .heal: self.healNetwork()
        case .edit: self.edit()
        case .shutDown: self.injectShutDown()
        case .revert: self.injectRevert()
        case .swarm(let event): self.handle(event)
        case .revertStage(let revert, let stage): self.go(on: revert, stage)
        case .shutDownLook(let id, let boot, let since): self.lookAtShutDown(self.node(id), boot, since: since)
        }
    }

    // MARK: Daemons

    /// The packet at this place of the pool arrives.
    private func deliver(_ place: Int) {
        // Nodes live as long as the simulation: not counted.
        unowned(unsafe) let node = self.node(self.packets[place].to)
        if node.isOn, node.boot == self.packets[place].boot || self.isLate(place) {
            guard self.now >= node.scheduledFrom else {
                return self.queue.add(token: Self.token(packet: place), at: node.scheduledFrom)
            }
            let via = self.packets[place].via
            if self.roster.left > 0 { self.showOut(via, by: node) }
            self.step(node) { supervisor, tick, effects in
                supervisor.receive(&self.packets[place].letters, via: via, at: tick, into: &effects)
            }
        }
        self.packets.giveBack(place)
    }

    /// It waited at its sender, and the way is free.
    private func isLate(_ place: Int) -> Bool {
        self.packets[place].boot == Packet.anyBoot
            && !self.network.isCut(from: self.packets[place].via, to: self.packets[place].to)
    }

    static func token(packet place: Int) -> Int { place << 1 }

    /// What the daemon waits for may be due.
    private func timer(_ node: SimulatedNode) {
        guard node.wakeAt <= self.now else { return }
        node.wakeAt = .max
        guard node.isOn, let daemon = node.daemon else { return }
        guard self.now >= node.scheduledFrom else {
            node.wakeAt = node.scheduledFrom
            return self.addTimer(of: node)
        }
        if self.now >= node.sealAt {
            node.sealAt = .max
            if !daemon.performer.isPoisoned, !self.seal(node, daemon) { return }
        }
        // What was due has been put off since: the daemon sleeps on, as the real one does.
        if node.tick(at: self.now) < daemon.supervisor.schedule.deadline {
            self.wake(node, daemon)
        } else {
            self.step(node, .tick)
        }
    }

    /// False when nothing goes on here because of it.
    private func seal(_ node: SimulatedNode, _ daemon: SimulatedDaemon) -> Bool {
        do { try node.log?.seal() } catch {
            guard self.logFailed(error, of: node) == .failed else { return false }
            _ = daemon.performer.logFailed()
            self.step(node, .diskFailed)
            return false
        }
        node.progress = node.log?.progress
        return true
    }

    private func addTimer(of node: SimulatedNode) {
        self.queue.add(token: (Int(node.id.rawValue) - 1) << 1 | 1, at: node.wakeAt)
    }

    /// Feeds a node's supervisor, unless the machine or the daemon is paused: then the event comes back later.
    func input(_ node: SimulatedNode, _ input: SupervisorInput, orRetry event: Event) {
        guard node.isOn else { return }
        guard self.now >= node.scheduledFrom else { return self.queue.add(event, at: node.scheduledFrom) }
        self.step(node, input)
    }

    func step(_ node: SimulatedNode, _ input: SupervisorInput) {
        self.step(node) { supervisor, tick, effects in supervisor.step(input, at: tick, into: &effects) }
    }

    @inline(__always)
    private func step(_ node: SimulatedNode, _ advance: (inout Supervisor, Tick, inout [SupervisorEffect]) -> Void) {
        guard let daemon = node.daemon else { return }
        // The buffer is lent out, so that a nested step gets one of its own.
        var effects: [SupervisorEffect] = []
        swap(&effects, &self.effects)
        daemon.supervisor.wallMilliseconds = self.now / 1_000_000
        let tick = node.tick(at: self.now)
        if self.now >= node.guardShownAt + 100_000_000, self.now >= node.guardDeadUntil {
            // The guard of a machine that is not paused has looked a moment ago.
            node.guardShownAt = self.now
            daemon.supervisor.step(.guardSeen(tick), at: tick, into: &effects)
        }
        if self.now >= node.markAt {
            // An hour in a daemon's life is short here, so that copies from between two marks come back too. (Rule E2.3)
            node.markAt = self.now + self.memoryRandom.span(.seconds(10), .seconds(200)).nanoseconds
            daemon.supervisor.step(.drawMark(nonce: self.memoryRandom.next()), at: tick, into: &effects)
        }
        advance(&daemon.supervisor, tick, &effects)
        self.checkers.checkModel(node.id, daemon, in: self)
        if !effects.isEmpty { self.perform(&effects, of: node, daemon) }
        swap(&effects, &self.effects)
        self.checkInvariants(of: node, daemon)
        self.checkers.look(at: node, daemon, in: self)
        self.checkSets()
        self.followMembers()
        if node.daemon === daemon { self.wake(node, daemon) }
    }

    /// Schedules the daemon's next tick.
    func wake(_ node: SimulatedNode) {
        if let daemon = node.daemon { self.wake(node, daemon) }
    }

    private func wake(_ node: SimulatedNode, _ daemon: SimulatedDaemon) {
        let deadline = daemon.supervisor.schedule.deadline
        if node.wakeAt != .max, deadline >= node.wakeFor { return }
        let due = max(self.now + 5_000_000, node.time(of: deadline))
        guard due < node.wakeAt else { return }
        node.wakeAt = due
        node.wakeFor = deadline
        self.addTimer(of: node)
    }
}
