import Basis
import Cluster
import Raft

/// What goes wrong, and when: drawn from the seed.
extension Simulation {
    func injectFault() {
        guard self.options.hasFaults, self.now < self.options.length.nanoseconds else { return }
        let pause = self.random.span(.seconds(2), self.longestFaultPause).nanoseconds
        self.queue.add(.fault, at: self.now + pause)
        guard self.now >= self.quietUntil else { return }
        self.faultAt = self.now
        self.disturb()
        self.harmCopies()
        guard self.now >= self.quietUntil else { return }
        let victim = self.anyNode(&self.random)
        let kind = self.random.below(15)
        if self.swarm.leavesOut(kind) { return }
        switch kind {
        case 0: self.partition()
        case 1: self.isolate(victim)
        case 2: self.cutOneLink()
        case 3: self.cutOneWay()
        case 4: self.degradeNetwork()
        case 5, 6: self.crash(victim)
        case 7: self.crashSeveral()
        case 8: self.killDaemon(victim)
        case 9: self.pauseMachine(victim)
        case 10: self.pauseDaemon(victim)
        case 11: if victim.isOn { self.stopServers(of: victim) }
        case 12: self.killService(victim)
        case 13: self.harmLog()
        default: self.operate(victim)
        }
    }

    private func stopServers(of node: SimulatedNode) {
        guard !node.volumes.isEmpty else { return }
        let place = node.volumes.count == 1 ? 0 : Int(self.swarm.random.below(UInt64(node.volumes.count)))
        self.stopServer(node.volumes[place], on: node)
    }

    private func healLater() {
        self.queue.add(.heal, at: self.now + self.random.span(.milliseconds(300), .seconds(20)).nanoseconds)
    }

    func healNetwork() {
        self.healedAt = self.now
        self.disturb()
        self.note("the network heals")
        self.healLines()
    }

    /// Nothing is cut, lost or narrow any more, and what was queued behind a narrow line goes on.
    func healLines() {
        let wasNarrow = self.network.bytesPerSecond != nil
        self.network.healAll()
        guard wasNarrow else { return }
        let soon = self.now + self.network.delayHigh.nanoseconds
        self.queue.bringForward(
            to: soon,
            tokens: { token in token & 1 == 0 && self.packets[token >> 1].boot != Packet.anyBoot },
            events: { event in if case .linkFrame = event { true } else { false } })
        self.links.bringForward(to: soon)
    }

    /// Something happens that may move groups.
    func disturb() {
        self.disturbance.number += 1
        self.disturbance.at = self.now
    }

    func healEverything() {
        self.healLines()
        self.disturb()
        self.note("all faults end")
        self.swarm.end()
        for node in self.nodes where node.hasLeft { self.switchOff(node) }
        for node in self.living {
            self.endSwarmFaults(of: node)
            let isMachinePaused = node.isOn && self.now < node.pausedUntil
            node.endHiding(at: self.now)
            node.pausedUntil = min(node.pausedUntil, self.now)
            node.daemonPausedUntil = min(node.daemonPausedUntil, self.now)
            // As after every pause of a machine, the guard is the first to be scheduled.
            if isMachinePaused { self.handle(.resume(node.id, boot: node.boot)) }
            if !node.isOn { self.powerOn(node) } else if node.daemon == nil { self.startDaemon(node) }
        }
    }

    /// Takes back what operators wished, so that everything is to run.
    func endWishes() {
        let leader = self.nodes.first { $0.daemon?.supervisor.consensus.isLeader == true }?.daemon?.supervisor
        for name in leader.map({ self.groupNames($0.state) }) ?? [] { self.operate(.want(name, isRunning: true)) }
        for node in self.living { self.operate(.drain(node.id, isDrained: false)) }
        self.endAnnouncements()
    }

    private func partition() {
        let mask = self.random.below(1 << UInt64(self.nodes.count))
        self.note("partition \(mask)")
        self.count("partitions")
        for left in self.nodes {
            for right in self.nodes
            where (mask >> UInt64(left.id.rawValue - 1)) & 1 != (mask >> UInt64(right.id.rawValue - 1)) & 1 {
                self.network.cut(from: left.id, to: right.id)
            }
        }
        self.healLater()
    }

    private func isolate(_ node: SimulatedNode) {
        self.note("\(node.name) is isolated")
        self.count("isolations")
        for other in self.nodes where other.id != node.id {
            self.network.cut(from: node.id, to: other.id)
            self.network.cut(from: other.id, to: node.id)
        }
        self.healLater()
    }

    private func twoNodes() -> (NodeID, NodeID) {
        let living = self.living
        let left = self.random.below(UInt64(living.count))
        let right = (left + 1 + self.random.below(UInt64(living.count) - 1)) % UInt64(living.count)
        return (living[Int(left)].id, living[Int(right)].id)
    }

    private func cutOneLink() {
        let (left, right) = self.twoNodes()
        self.note("the link \(left)-\(right) is cut")
        self.count("link cuts")
        self.network.cut(from: left, to: right)
        self.network.cut(from: right, to: left)
        self.healLater()
    }

    private func cutOneWay() {
        let (left, right) = self.twoNodes()
        self.note("the link \(left)>\(right) is cut one way")
        self.count("one-way cuts")
        self.network.cut(from: left, to: right)
        self.healLater()
    }

    private func degradeNetwork() {
        self.count("bad networks")
        self.network.lossPerMille = self.random.below(200)
        self.network.duplicatePerMille = self.random.below(200)
        self.network.delayHigh = .milliseconds(2 + self.random.below(150))
        self.note("the network loses \(self.network.lossPerMille)‰ and delays up to \(self.network.delayHigh)")
        self.healLater()
    }

    private func crash(_ node: SimulatedNode) {
        guard node.isOn else { return }
        self.powerOff(node)
        self.queue.add(.powerOn(node.id), at: self.now + self.random.span(.milliseconds(500), .seconds(25)).nanoseconds)
    }

    private func crashSeveral() {
        for node in self.nodes where self.random.chance(perMille: 600) { self.crash(node) }
    }

    private func killDaemon(_ node: SimulatedNode) {
        guard node.isOn, node.daemon != nil, node.hiding(at: self.now) == nil else { return }
        self.stopDaemon(node)
        self.queue.add(
            .restartDaemon(node.id, boot: node.boot),
            at: self.now + self.random.span(.milliseconds(20), .seconds(4)).nanoseconds)
    }

    private func pauseMachine(_ node: SimulatedNode) {
        guard node.isOn, node.hiding(at: self.now) == nil else { return }
        let length = self.random.span(.milliseconds(100), .seconds(8))
        self.note("\(node.name) pauses for \(length)")
        self.count("machine pauses")
        node.pausedUntil = self.now + length.nanoseconds
        self.queue.add(.resume(node.id, boot: node.boot), at: node.pausedUntil)
    }

    private func pauseDaemon(_ node: SimulatedNode) {
        guard node.isOn else { return }
        let length = self.random.span(.milliseconds(100), .seconds(8))
        self.note("\(node.name) daemon pauses for \(length)")
        self.count("daemon pauses")
        node.daemonPausedUntil = self.now + length.nanoseconds
    }

    private func killService(_ node: SimulatedNode) {
        guard node.isOn, node.daemon != nil, self.now >= node.pausedUntil else { return }
        let group = self.random.chance(perMille: 500) ? Self.group : Self.quickGroup
        let name = ResourceName(group == Self.group ? "db" : "app")
        guard let epoch = node.processes[group]?[name] else { return }
        self.note("\(node.name) \(group)/\(name) dies")
        self.count("service deaths")
        node.processes[group]?[name] = nil
        self.step(node, .serviceExited(group, name, epoch, reason: "killed by signal 9"))
    }

    private func operate(_ node: SimulatedNode) {
        self.count("operator commands")
        let group = self.random.chance(perMille: 600) ? Self.group : Self.quickGroup
        switch self.random.below(6) {
        case 0, 1: self.operate(.move(group, to: node.id))
        case 2: self.operate(.want(group, isRunning: self.random.chance(perMille: 500)))
        case 3: self.operate(.want(group, isRunning: true))
        case 4: self.operate(.drain(node.id, isDrained: self.random.chance(perMille: 500)))
        default:
            guard let someone = self.nodes.first(where: { $0.daemon != nil }) else { return }
            self.step(someone, .client(id: 1, .transferLeadership(to: nil)))
        }
    }

    func operate(_ command: Command) {
        self.note("an operator asks: \(command)")
        self.disturb()
        if !self.swarm.isEmpty { self.wishes.lose(command) }
        for node in self.nodes where node.isOn && node.daemon?.supervisor.consensus.isLeader == true {
            self.step(node, .client(id: self.checkers.history.ask(command), .propose(command)))
        }
    }
}
