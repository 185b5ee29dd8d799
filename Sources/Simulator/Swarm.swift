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
    /// A lost majority that is left behind at the end, and comes back.
    case recoveries
    /// Groups that are removed right when the daemon that runs them starts anew, or get what another one has right when they are on
    /// their way to another node; with edits only.
    case removals
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
        case .attributes, .backings, .copies, .damage, .members, .recoveries, .removals, .standstills, .words: true
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

    /// The features of this run, for people.
    var words: String { SimulationFeature.allCases.filter { self.has($0) }.map(\.rawValue).joined(separator: ", ") }
}

/// What of the features waits in the queue.
enum SwarmEvent {
    /// It is time for another fault, another wish, another configuration.
    case strike, wish, reconfigure, changeMembers
    /// A client asks for an attribute.
    case attribute
    /// Operators let a node go, or do without a machine that is destroyed.
    case letGo(NodeID, until: UInt64)
    case doWithout(NodeID, isReplaced: Bool)
    /// The machine of a new id boots; whose node is none any more is switched off.
    case bootsFirst(SimulatedNode)
    case switchOff(SimulatedNode)
    /// The log says that the node is for something else.
    case becomes(SimulatedNode, NodeRole)
    case join(SimulatedNode)
    /// A node hears from another one that it has left.
    indirect case farewell(SimulatedNode, from: NodeID, of: Generation)
    /// What was armed happens now.
    case moment(MomentFault, on: NodeID)
    /// An operator moves a group, or it fails where it is; and once more.
    case move
    case wearOut(SimulatedNode, GroupName, left: Int)
    case restart(SimulatedNode, until: UInt64)
    /// A node is cut off, and nobody knows what it has said.
    case cutOff(NodeID, until: UInt64)
    /// A disk hangs from now on.
    case hangDisk(SimulatedNode, until: UInt64)
    /// An operator moves this group.
    case moveGroup(GroupName, to: NodeID)
    /// A group that was removed is to be gone.
    case removalLook(GroupName, Epoch)
    /// The second and the third step of a pair of faults.
    case shortenLease
    case restartOthers(NodeID)
    /// A daemon whose disk failed has said what it had to say.
    case diskEnds(SimulatedNode, SimulatedDaemon)
    /// A disk works again.
    case diskMended(SimulatedNode)
    /// A daemon has waited long enough for its disk.
    case diskPatience(SimulatedNode, SimulatedDaemon)
    /// An image of a copy is made; and later its copy is exchanged.
    case imageCopy
    indirect case outage(CopyOutage)
    /// Operators change where a volume's copies are, and start its group again; a server gets another backing.
    case changeBackings
    indirect case configureVolume(VolumePolicy)
    case startAgain(GroupName)
    case useBacking(SimulatedVolume)
}

extension Simulation {
    func handle(_ event: SwarmEvent) {
        if case .attribute = event { return self.useAttribute() }
        self.disturb()
        switch event {
        case .attribute: return
        case .strike: self.strike()
        case .wish: self.wish()
        case .reconfigure: self.reconfigure()
        case .changeMembers: self.changeMembers()
        case .letGo(let id, let until): self.letGo(id, until: until)
        case .doWithout(let id, let isReplaced): self.doWithout(id, isReplaced: isReplaced)
        case .bootsFirst(let node): self.bootFirst(node)
        case .switchOff(let node): self.switchOff(node)
        case .becomes(let node, let role): self.become(role, node)
        case .join(let node): self.join(node)
        case .farewell(let node, let from, let generation): self.hearFarewell(node, from, of: generation)
        case .moment(let fault, let id): self.happen(fault, on: self.node(id))
        case .move: self.moveSomething()
        case .wearOut(let node, let group, let left): self.wearOut(node, group, left: left)
        case .restart(let node, let back): self.killDaemon(node, until: back)
        case .cutOff(let id, let until): self.cutOff(id, until: until)
        case .hangDisk(let node, let until): self.hangDisk(of: node, until: until)
        case .moveGroup(let group, let node): self.operate(.move(group, to: node))
        case .removalLook(let group, let epoch): self.checkRemoved(group, epoch)
        case .shortenLease: self.shortenLease()
        case .restartOthers(let id): self.restartOthers(than: id)
        case .diskEnds(let node, let daemon): self.endDaemon(node, daemon, "cannot write its log")
        case .diskMended(let node): self.mendDisk(of: node)
        case .diskPatience(let node, let daemon): self.losePatience(node, daemon)
        case .imageCopy: self.imageCopy()
        case .outage(let outage): self.losePower(outage)
        case .changeBackings: self.changeBackings()
        case .configureVolume(let volume): self.configure(volume)
        case .startAgain(let group): self.operate(.want(group, isRunning: true))
        case .useBacking(let volume): self.useBacking(of: volume)
        }
    }

    /// One fault of those that this seed's features have.
    private func strike() {
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
