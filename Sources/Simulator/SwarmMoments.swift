import Basis
import Cluster
import Raft
import Resources

/// Something that goes wrong right when something else happens: each alone is met often by chance, both together hardly ever.
struct MomentFault {
    /// What it waits for.
    enum Trigger: CaseIterable {
        /// A resource starts.
        case starts
        /// A resource is to stop.
        case stops
        /// A resource has stopped.
        case stopped
        /// A volume server is told to open.
        case opens
        /// A volume is shown to clients.
        case exports
        /// A log is written.
        case writes
        /// What runs here is written down anew: an assignment, a release, or their end was applied.
        case facts
        /// The lease is given back or has ended, or is there again.
        case lease
        /// The leader is told that a group has stopped.
        case tells
    }

    /// What happens then.
    enum Fault: CaseIterable {
        case isolates
        case cutsFromLeader
        case cutsOneWay
        case losesPower
        case leaderLosesPower
        case killsDaemon
        case pauses
        case standsStill
        case restartsMajority
        case killsServer
        case killsDaemonAndCuts
        /// What the node sends now arrives late, and it is cut off until its lease has ended, but not so long that it is lost.
        /// (Rule L11.1)
        case delaysWord
        /// The disks of the others hang for a while, and its daemon starts anew at once. (Rule L11.2)
        case hangsOthers
        /// The disks of the others hang, and the node hears nobody until its lease has ended: then it has the lease again while
        /// its word is in a log, and not committed. (Rule L11.1)
        case deafens

        /// What the node sends now arrives late, when its next daemon runs, and it is cut off right then. (Rule L11.2)
        case outlivesMessage
        /// The same, but what it said waits in the log of the leader, for the disks of followers that hang. (Rule L11.2)
        case outlivesEntry
        /// An operator gives a group something that another one holds. (Rule B5)
        case edits

        /// It says something only when the leader is told that a group has stopped.
        var isAboutWord: Bool { self == .delaysWord || self == .hangsOthers || self == .deafens }
        /// What `armMoment` draws from; the others have a feature of their own.
        static let drawn = Self.allCases.filter { $0 != .outlivesMessage && $0 != .outlivesEntry && $0 != .edits }
    }

    var trigger: Trigger
    var fault: Fault
    /// How many such moments pass before.
    var skipping: UInt64
    /// Nanoseconds between the moment and the fault.
    var delay: UInt64
    /// Since when it waits.
    var armedAt: UInt64
}

extension Simulation {
    func armMoment() {
        // What nothing reached for a while makes room for another.
        if let armed = self.swarm.armed, self.now < armed.armedAt + 20_000_000_000 { return }
        let triggers = MomentFault.Trigger.allCases
        let faults = MomentFault.Fault.drawn
        var trigger = triggers[Int(self.swarm.random.below(UInt64(triggers.count)))]
        let fault = faults[Int(self.swarm.random.below(UInt64(faults.count)))]
        if fault.isAboutWord { trigger = .tells }
        let most: UInt64 = trigger == .writes ? 40 : trigger == .tells ? 2 : 6
        self.swarm.armed = MomentFault(
            trigger: trigger, fault: fault, skipping: self.swarm.random.below(most),
            delay: fault == .delaysWord ? 0 : self.swarm.random.below(trigger == .tells ? 4_000_000 : 40_000_000),
            armedAt: self.now)
        // Else nothing might stop before the next strike.
        if trigger == .tells { self.queue.add(.swarm(.move), at: self.now + 500_000_000) }
    }

    /// An operator moves a group that runs somewhere, to any other of its nodes, or it fails there.
    func moveSomething() {
        guard !self.swarm.isOver, self.now < self.options.length.nanoseconds else { return }
        let running = self.nodes.filter { $0.isOn && $0.daemon?.supervisor.consensus.isLeader == false && $0.isOwning }
        guard !running.isEmpty else { return }
        let node = running[Int(self.swarm.random.below(UInt64(running.count)))]
        guard let supervisor = node.daemon?.supervisor else { return }
        let runners = supervisor.groups.runners.filter(\.isUp)
        guard !runners.isEmpty else { return }
        let runner = runners[Int(self.swarm.random.below(UInt64(runners.count)))]
        if self.swarm.random.chance(perMille: 500) { return self.wearOut(node, runner.name, left: 60) }
        let names = supervisor.state.policy.groups.first { $0.name == runner.name }?.nodes ?? []
        let others = self.living.filter { names.contains($0.name) && $0 !== node }
        guard !others.isEmpty else { return }
        self.operate(.move(runner.name, to: others[Int(self.swarm.random.below(UInt64(others.count)))].id))
    }

    /// A service dies again and again, until its group is given up on this node: nobody in the log has asked for its end
    /// then. (Rule L11.3)
    func wearOut(_ node: SimulatedNode, _ group: GroupName, left: Int) {
        guard left > 0, node.isOn, node.daemon != nil, !self.swarm.isOver, self.now < self.swarm.wearEndsAt else {
            return
        }
        if self.now >= node.pausedUntil, let running = node.processes[group],
            let name = running.keys.max(by: { $0.rawValue < $1.rawValue }), let epoch = running[name]
        {
            self.note("\(node.name) \(group)/\(name) dies")
            node.processes[group]?[name] = nil
            self.step(node, .serviceExited(group, name, epoch, reason: "killed by signal 9"))
        }
        self.queue.add(.swarm(.wearOut(node, group, left: left - 1)), at: self.now + 50_000_000)
    }

    /// Something happens on a node that a fault may wait for.
    @inline(__always)
    func reached(_ trigger: MomentFault.Trigger, on node: SimulatedNode) {
        if self.swarm.armed != nil { self.reachedArmed(trigger, on: node) }
    }

    private func reachedArmed(_ trigger: MomentFault.Trigger, on node: SimulatedNode) {
        guard let fault = self.swarm.armed, fault.trigger == trigger else { return }
        if fault.skipping > 0 {
            self.swarm.armed?.skipping -= 1
            return
        }
        self.swarm.armed = nil
        if fault.fault == .delaysWord || fault.fault == .outlivesMessage { return self.happen(fault, on: node) }
        self.queue.add(.swarm(.moment(fault, on: node.id)), at: self.now + fault.delay)
    }

    /// A message leaves that a fault may wait for.
    func reachedMessage(_ message: NodeMessage, of node: SimulatedNode) {
        guard self.swarm.armed?.trigger == .tells, case .forward(let command) = message,
            case .stopped = command.command
        else { return }
        self.reachedArmed(.tells, on: node)
    }

    func happen(_ moment: MomentFault, on node: SimulatedNode) {
        guard self.now < self.options.length.nanoseconds, !self.swarm.isOver, self.now >= self.quietUntil, node.isOn
        else { return }
        self.note("right when \(node.name) \(moment.trigger): \(moment.fault)")
        self.count("faults at their moment")
        self.faultAt = self.now
        let leader = self.nodes.first { $0.daemon?.supervisor.consensus.isLeader == true }
        let back = self.now + self.swarm.random.span(.milliseconds(50), .seconds(12)).nanoseconds
        switch moment.fault {
        case .isolates: self.cut(node, from: self.nodes, until: back)
        case .cutsFromLeader: if let leader { self.cut(node, from: [leader], until: back) }
        case .cutsOneWay:
            guard let leader else { return }
            let isOutward = self.swarm.random.chance(perMille: 500)
            self.network.cut(from: isOutward ? node.id : leader.id, to: isOutward ? leader.id : node.id)
            self.queue.add(.heal, at: back)
        case .losesPower:
            self.powerOff(node)
            self.queue.add(.powerOn(node.id), at: back)
        case .leaderLosesPower:
            guard let leader else { return }
            self.powerOff(leader)
            self.queue.add(.powerOn(leader.id), at: back)
        case .killsDaemon: self.killDaemon(node, until: back)
        case .killsDaemonAndCuts:
            self.cut(node, from: self.nodes, until: back)
            self.killDaemon(node, until: self.now + self.swarm.random.below(2_000_000_000))
        case .pauses:
            guard self.now >= node.pausedUntil, node.hiding(at: self.now) == nil else { return }
            node.pausedUntil = back
            self.queue.add(.resume(node.id, boot: node.boot), at: back)
        case .standsStill:
            guard self.now >= node.pausedUntil else { return }
            self.hiddenPause(node, Span(nanoseconds: back - self.now))
        case .restartsMajority: self.restartMajority(but: node.id)
        case .killsServer: for volume in node.volumes { self.stopServer(volume, on: node) }
        case .delaysWord: self.delayWord(of: node)
        case .hangsOthers:
            self.hangOthers(
                than: node, until: self.now + self.swarm.random.span(.milliseconds(500), .seconds(4)).nanoseconds)
            self.killDaemon(node, until: self.now + self.swarm.random.below(200_000_000))
        case .deafens: self.deafen(node)
        case .outlivesMessage, .outlivesEntry: self.outlive(node, moment.fault)
        case .edits: self.editAtMoment()
        }
    }

    private func deafen(_ node: SimulatedNode) {
        let left = node.leaseEnd.since(node.tick(at: self.now))
        guard left > .zero, left < .seconds(4) else { return }
        let back = self.now + left.nanoseconds + self.swarm.random.below(300_000_000)
        for other in self.nodes where other !== node { self.network.cut(from: other.id, to: node.id) }
        self.queue.add(.heal, at: back)
        self.hangOthers(than: node, until: back + self.swarm.random.span(.milliseconds(50), .seconds(1)).nanoseconds)
    }

    private func delayWord(of node: SimulatedNode) {
        let left = node.leaseEnd.since(node.tick(at: self.now))
        guard left > .zero, left < .seconds(30), node.leaseGrace > .zero else { return }
        var back = self.now + left.nanoseconds + self.swarm.random.below(node.leaseGrace.nanoseconds)
        if self.swarm.random.chance(perMille: 500) {
            // Its daemon starts anew instead, and has forgotten what it sent. (Rule L11.2)
            back = self.now + self.swarm.random.below(300_000_000)
            self.queue.add(.swarm(.restart(node, until: back)), at: self.now + 5_000_000)
        } else {
            self.cut(node, from: self.nodes, until: back)
        }
        let arrival = back + self.swarm.random.span(.milliseconds(200), .seconds(8)).nanoseconds
        self.swarm.held = Swarm.Held(from: node.id, until: self.now + 5_000_000, arrival: arrival)
    }

    private func hangOthers(than node: SimulatedNode, until: UInt64) {
        guard self.living.allSatisfy({ self.now >= $0.diskBadUntil }) else { return }
        for other in self.nodes where other !== node && other.isOn {
            other.diskHangsUntil = until
            other.diskBadUntil = until
        }
    }

    func killDaemon(_ node: SimulatedNode, until back: UInt64) {
        guard node.isOn, node.daemon != nil, node.hiding(at: self.now) == nil else { return }
        self.stopDaemon(node)
        self.queue.add(.restartDaemon(node.id, boot: node.boot), at: back)
    }

    func cut(_ node: SimulatedNode, from others: [SimulatedNode], until back: UInt64) {
        for other in others where other !== node {
            self.network.cut(from: node.id, to: other.id)
            self.network.cut(from: other.id, to: node.id)
        }
        self.queue.add(.heal, at: back)
    }
}
