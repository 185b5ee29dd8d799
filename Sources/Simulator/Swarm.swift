import Basis
import Cluster
import Resources

/// A part of the world that a run may have beyond crashes, pauses, cuts, and lost logs and copies.
public enum SimulationFeature: String, CaseIterable, Sendable {
    /// Starts, stops and checks of services that fail, hang or take their time, and starts that leave something behind.
    case agents
    /// Clients that put, compare and read attributes on every node.
    case attributes
    /// Volumes whose replicas get other backings, or other nodes, by operators who ask at the wrong moment.
    case backings
    /// Networks that carry little.
    case bandwidth
    /// Clock rates up to the bound of `Timing.clockRateErrorPartsPerMillion`.
    case clocks
    /// Readers of volumes, and two writers of each block.
    case clients
    /// A configuration of which every part is changed while the cluster runs.
    case configuration
    /// Copies of volumes that are exchanged or put back while all others are away.
    case copies
    /// Damage to the end of a log that is at rest.
    case damage
    /// Disks of logs that fail, are full, hang, or lose power while they write.
    case disks
    /// One to seven more groups.
    case groups
    /// Guards that are late by as much as `Timing.guardKill` allows, or dead for a while.
    case guards
    /// Nodes that join during the run.
    case joins
    /// Messages that arrive up to ten minutes late, also in a later life of their receiver.
    case lateness
    /// A majority of daemons or machines that starts anew at once.
    case majorities
    /// Nodes that come, leave, are destroyed and replaced, and become something else.
    case members
    /// Faults at the very moment when something else happens: a cut during a stop, a loss of power during a write.
    case moments
    /// Pauses of nodes that operators announce, and that come, or come later, or are none.
    case pauses
    /// A lost majority that is left behind at the end, and comes back.
    case recoveries
    /// Groups that are removed right when the daemon that runs them starts anew, or get what another one has right when they are on
    /// their way to another node; with edits only.
    case removals
    /// Sites in which a node is to lead, by operators who change their mind.
    case sites
    /// Machines without a hardware clock that stand still for about as long as it takes to lose them, and go on with a disk that
    /// hangs, before voters that started anew meanwhile.
    case standstills
    /// One to three more volumes, with two and three replicas, each with a group and clients.
    case volumes
    /// What operators ask of any node, and what they are told.
    case wishes
    /// What a daemon has said gets into the log when the next one runs already, and its node is cut off.
    case words

    /// Drawn by chance of its own, so that a seed draws what it drew before there was this.
    var isDrawnApart: Bool {
        switch self {
        case .attributes, .backings, .copies, .damage, .members, .pauses, .recoveries, .removals, .sites, .standstills,
            .words:
            true
        default: false
        }
    }
}

/// What one seed's world is made of beyond what every seed has: which features exist, how often each strikes, and which of
/// the common faults are left out. Swarm testing: a world with few faults gets further with each than one with all.
///
/// Its chance is its own, so that a seed without features means what it always meant.
struct Swarm {
    var random: SeededRandom
    /// None has any part until here.
    private var features: UInt64 = 0
    /// All faults have ended, for the check of liveness.
    private(set) var isOver = false
    /// Kinds of `injectFault` that this seed leaves out, a bit each.
    private var muted: UInt64 = 0
    /// The pauses between two strikes lie between a second and this.
    private(set) var longestPause = Span.seconds(30)
    private(set) var agents = AgentRates()
    /// How late a guard may look, in nanoseconds.
    private(set) var guardLatenessNanoseconds: UInt64 = 30_000_000
    /// How many packets of a million come late.
    private(set) var latePerMillion: UInt64 = 0
    /// What is to happen at which moment; nil while nothing is armed.
    var armed: MomentFault?
    /// Which of the edited groups gets something at that moment.
    var editedPlace = 0
    /// No service is worn out any more from then on.
    var wearEndsAt: UInt64 = .max
    /// What a node sends until then arrives much later.
    var held: Held?

    struct Held {
        var from: NodeID
        var until: UInt64
        var arrival: UInt64
    }

    /// How often services fail, of a thousand calls.
    struct AgentRates {
        var startFails: UInt64 = 0
        var startHangs: UInt64 = 0
        var startIsSlow: UInt64 = 0
        var leavesBehind: UInt64 = 0
        var stopFails: UInt64 = 0
        var stopHangs: UInt64 = 0
        var stopIsSlow: UInt64 = 0
        var checkFails: UInt64 = 0
        var checkHangs: UInt64 = 0
    }

    init(seed: UInt64, _ wanted: SimulationOptions.Features) {
        self.random = SeededRandom(seed: seed ^ 0x05A4_4A50_5A44_A505)
        switch wanted {
        case .none: return
        case .drawn:
            for feature in SimulationFeature.allCases
            where !feature.isDrawnApart && self.random.chance(perMille: 500) {
                self.add(feature)
            }
            for kind in 0..<UInt64(15) where self.random.chance(perMille: 250) { self.muted |= 1 << kind }
            // By chance of its own, so that a seed draws what it drew before there were attributes.
            var other = SeededRandom(seed: seed ^ 0xA77_21B0_7E51)
            if other.chance(perMille: 500) { self.add(.attributes) }
        case .chosen(let features): for feature in features { self.add(feature) }
        }
        // Of its own chance, so that seeds mean what they meant before there was this.
        var others = SeededRandom(seed: seed ^ 0x6D65_6D62_6572_7301)
        if wanted == .drawn, others.chance(perMille: 300) { self.add(.members) }
        var copies = SeededRandom(seed: seed ^ 0x636F_7069_6573_0001)
        if wanted == .drawn, copies.chance(perMille: 250) { self.add(.copies) }
        if wanted == .drawn, copies.chance(perMille: 250) { self.add(.backings) }
        // The number is one with which the seeds that failed once draw none of these.
        var pairs = SeededRandom(seed: seed ^ 0x7061_6972_7328)
        for feature in [SimulationFeature.damage, .removals, .standstills, .words]
        where wanted == .drawn && pairs.chance(perMille: 150) {
            self.add(feature)
        }
        var recoveries = SeededRandom(seed: seed ^ 0x7265_636F_7665_0001)
        if wanted == .drawn, recoveries.chance(perMille: 150) { self.add(.recoveries) }
        // Again with a number with which the seeds that failed once draw none of these.
        var announced = SeededRandom(seed: seed ^ 0x616E_6E6F_756E_631C)
        for feature in [SimulationFeature.pauses, .sites] where wanted == .drawn && announced.chance(perMille: 200) {
            self.add(feature)
        }
        self.longestPause = self.random.span(.seconds(3), .seconds(60))
        self.drawAgents()
        if self.has(.guards) { self.guardLatenessNanoseconds = self.random.below(450_000_000) }
        if self.has(.lateness) { self.latePerMillion = 50 + self.random.below(5000) }
    }

    private mutating func drawAgents() {
        guard self.has(.agents) else { return }
        func rate(_ most: UInt64) -> UInt64 { self.random.chance(perMille: 500) ? self.random.below(most) : 0 }
        self.agents = AgentRates(
            startFails: rate(60), startHangs: rate(60), startIsSlow: rate(500), leavesBehind: rate(500),
            stopFails: rate(60), stopHangs: rate(60), stopIsSlow: rate(500), checkFails: rate(15), checkHangs: rate(15))
    }

    private static func bit(_ feature: SimulationFeature) -> UInt64 {
        var bit: UInt64 = 1
        for other in SimulationFeature.allCases {
            if other == feature { return bit }
            bit <<= 1
        }
        return bit
    }

    private mutating func add(_ feature: SimulationFeature) { self.features |= Self.bit(feature) }

    /// Whether this run has the feature at all.
    func has(_ feature: SimulationFeature) -> Bool { self.features != 0 && self.features & Self.bit(feature) != 0 }

    /// Whether the feature may strike now.
    func strikes(_ feature: SimulationFeature) -> Bool { !self.isOver && self.has(feature) }

    /// Whether this run has any feature.
    var isEmpty: Bool { self.features == 0 }

    /// Whether this seed leaves out a kind of the common faults.
    func leavesOut(_ kind: UInt64) -> Bool { self.muted >> kind & 1 == 1 }

    mutating func end() {
        self.isOver = true
        self.armed = nil
        self.held = nil
        self.latePerMillion = 0
        self.guardLatenessNanoseconds = 30_000_000
    }

    /// The faults that have ended go on.
    mutating func goOn(as world: Swarm) {
        let random = self.random
        self = world
        self.random = random
        self.armed = nil
        self.held = nil
    }

    /// The features of this run, for people.
    var words: String { SimulationFeature.allCases.filter { self.has($0) }.map(\.rawValue).joined(separator: ", ") }
}

extension Simulation {
    /// One fault of those that this seed's features have.
    func strike() {
        guard self.options.hasFaults, self.now < self.options.length.nanoseconds, !self.swarm.isOver else { return }
        let pause = self.swarm.random.span(.seconds(1), self.swarm.longestPause).nanoseconds
        self.queue.add(.swarm(.strike), at: self.now + pause)
        guard self.now >= self.quietUntil else { return }
        let kinds: [SimulationFeature] = [
            .bandwidth, .disks, .guards, .majorities, .moments, .damage, .removals, .standstills, .words,
        ].filter { self.swarm.has($0) }
        guard !kinds.isEmpty else { return }
        let victim = self.anyNode()
        switch kinds[Int(self.swarm.random.below(UInt64(kinds.count)))] {
        case .bandwidth: self.narrowNetwork()
        case .disks: self.breakDisk(of: victim)
        case .guards: self.killGuard(of: victim)
        case .majorities: self.restartMajority(but: nil)
        case .damage: self.damageTail(of: victim)
        case .removals: self.removeGroup()
        case .standstills: self.standStill()
        case .words: self.awaitWord()
        default: self.armMoment()
        }
    }

    /// Every connection carries only so much for a while.
    private func narrowNetwork() {
        self.faultAt = self.now
        let most: UInt64 = 8_000 << self.swarm.random.below(9)
        self.note("the network carries \(most) bytes a second")
        self.count("narrow networks")
        self.network.bytesPerSecond = most
        self.queue.add(.heal, at: self.now + self.swarm.random.span(.seconds(1), .seconds(30)).nanoseconds)
    }

    /// The guard is gone until something starts it anew. SingleOwner is not promised for that time; but nothing starts then.
    private func killGuard(of node: SimulatedNode) {
        guard node.isOn, self.now >= node.scheduledFrom, self.now >= node.guardDeadUntil else { return }
        let length = self.swarm.random.span(.milliseconds(200), .seconds(20))
        self.note("\(node.name) has no guard for \(length)")
        self.count("guards dead")
        self.faultAt = self.now
        node.guardDeadSince = node.tick(at: self.now)
        node.guardDeadUntil = self.now + length.nanoseconds
        self.queue.add(
            .excuseEnds(node.id, boot: node.boot, isEarly: false), at: node.unguardedUntil)
    }

    /// A majority of the voters starts anew within half a second; but never this one.
    func restartMajority(but spared: NodeID?) {
        var chosen = self.living.filter {
            $0.isOn && $0.daemon != nil && $0.id != spared && $0.hiding(at: self.now) == nil
        }
        let count = self.living.count / 2 + 1
        guard chosen.count >= count else { return }
        for place in chosen.indices.reversed() {
            chosen.swapAt(place, Int(self.swarm.random.below(UInt64(place) + 1)))
        }
        self.faultAt = self.now
        self.count("majorities restarted")
        self.note("a majority restarts")
        let isPowerLoss = self.swarm.random.chance(perMille: 500)
        for node in chosen.prefix(count) {
            let pause = self.now + self.swarm.random.span(.milliseconds(20), .seconds(4)).nanoseconds
            if isPowerLoss {
                self.powerOff(node)
                self.queue.add(.powerOn(node.id), at: pause)
            } else {
                self.stopDaemon(node)
                self.queue.add(.restartDaemon(node.id, boot: node.boot), at: pause)
            }
        }
    }

    /// Rule L12: without a guard no group begins. `facts` are what the run directory is to say from now on.
    func checkGuarded(_ facts: Facts, on node: SimulatedNode) {
        let unseen = node.tick(at: self.now).since(node.guardDeadSince)
        guard let before = node.facts, self.now < node.guardDeadUntil else { return }
        guard unseen >= .milliseconds(600) else { return }
        for runner in node.daemon?.supervisor.groups.runners ?? [] where runner.goal == .up {
            let isNew = !before.groups.contains { $0.name == runner.name && $0.epoch == runner.epoch }
            guard isNew, facts.groups.contains(where: { $0.name == runner.name && $0.epoch == runner.epoch }) else {
                continue
            }
            self.fail("L12: \(node.name) begins \(runner.name), and has had no guard for \(unseen)")
        }
    }

    /// What this seed's services do wrong.
    func disturb(_ call: AgentCall, _ outcome: inout AgentOutcome, _ delay: inout UInt64) {
        let rates = self.swarm.agents
        func happens(_ rate: UInt64) -> Bool { rate > 0 && self.swarm.random.chance(perMille: rate) }
        let (fails, hangs, isSlow) =
            switch call.action {
            case .start: (rates.startFails, rates.startHangs, rates.startIsSlow)
            case .stop: (rates.stopFails, rates.stopHangs, rates.stopIsSlow)
            case .monitor: (rates.checkFails, rates.checkHangs, UInt64(0))
            case .probe: (UInt64(0), UInt64(0), UInt64(0))
            }
        if happens(hangs) {
            self.disturb()
            self.count("agents that hung")
            outcome = .timedOut
            delay = call.timeout.nanoseconds
        } else if happens(fails) {
            self.disturb()
            self.count("agents that failed")
            outcome = .failed(reason: "drawn", recovery: .soft)
        } else if happens(isSlow) {
            delay = max(delay, self.swarm.random.below(call.timeout.nanoseconds))
        }
    }

    /// A start that failed may have brought something up.
    func leavesBehind() -> Bool {
        self.swarm.strikes(.agents) && self.swarm.random.chance(perMille: self.swarm.agents.leavesBehind)
    }
}
