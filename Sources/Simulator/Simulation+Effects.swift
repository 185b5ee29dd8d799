import Basis
import Cluster
import Mirror
import Raft
import RaftStorage
import Resources

/// A machine, for the effects of its daemon.
struct SimulatedWorld: SupervisorWorld {
    let simulation: Simulation
    let node: SimulatedNode
    let daemon: SimulatedDaemon

    var isOver: Bool { self.node.daemon !== self.daemon || self.simulation.violation != nil }

    func step(_ input: SupervisorInput, into effects: inout [SupervisorEffect]) {
        self.daemon.supervisor.step(input, at: self.node.tick(at: self.simulation.now), into: &effects)
        self.simulation.checkers.checkModel(self.node.id, self.daemon, in: self.simulation)
    }

    func isInDoubt(comparing: Bool) -> Bool {
        if comparing { self.simulation.compareClocks(self.node) }
        guard self.node.isInDoubt else { return false }
        // What waits may be late, and go elsewhere.
        if comparing { self.simulation.disturb() }
        return true
    }

    func persist(_ request: PersistRequest) -> LogAnswer {
        if self.simulation.swarm.has(.pauses) { self.simulation.checkAnnounced(request, of: self.node, self.daemon) }
        if self.simulation.isLate(request, of: self.node) { return .later }
        return self.simulation.persist(request, of: self.node)
    }

    func keep(_ order: SnapshotOrder, _ answers: inout [SupervisorInput]) {
        self.simulation.keepLater(order, of: self.node, self.daemon)
    }

    func forget(_ reason: String) { self.simulation.forget(self.node, reason) }

    func write(_ record: GenerationRecord) -> Bool {
        self.node.generation = record
        self.simulation.checkers.follow(record.generation, self.node.id)
        return true
    }

    func write(_ facts: Facts) -> Bool {
        if self.node.guardDeadUntil != 0 { self.simulation.checkGuarded(facts, on: self.node) }
        self.node.facts = facts
        self.simulation.reached(.facts, on: self.node)
        return true
    }

    func send(_ envelope: consuming Envelope, to hop: NodeID) {
        self.simulation.post(envelope, from: self.node, to: hop)
    }

    func keep(_ roll: PeerRoll) { self.simulation.keep(roll, on: self.node) }

    func publish(end: Tick, _ incarnation: Incarnation, grace: Span, sentAt: Tick) {
        self.node.leaseGrace = grace
        self.node.leaseIncarnation = incarnation
        self.simulation.publish(end: end, sentAt: sentAt, of: self.node)
    }

    func call(_ call: AgentCall, _ answers: inout [SupervisorInput]) { self.simulation.call(call, on: self.node) }

    func cancel(_ id: UInt64) { self.simulation.cancel(id, on: self.node) }

    func kill(_ group: GroupName, _ answers: inout [SupervisorInput]) { self.simulation.kill(group, on: self.node) }

    func forgetStarted(_ group: GroupName) {}

    func inspect(
        _ id: UInt64, for asker: NodeID, _ questions: [InspectionQuestion], _ answers: inout [SupervisorInput]
    ) {}

    func tell(_ volume: VolumeName, _ command: VolumeCommand, _ answers: inout [SupervisorInput]) {
        self.simulation.tell(volume, command, on: self.node)
    }

    func cut(_ volume: VolumeName) {}

    func keep(_ servers: [VolumeServerSpec], _ answers: inout [SupervisorInput]) {
        for name in self.simulation.keep(servers, on: self.node) { answers.append(.volumeConnected(name)) }
    }

    func renew(_ role: HelperRole) { self.simulation.renew(role, on: self.node) }

    func reply(_ id: UInt64, _ reply: ClientReply) { self.simulation.answer(id, reply, from: self.node) }

    func note(_ note: Note) {
        if case .leaseEnded = note { self.simulation.leaseEnded(self.node) }
        if case .prefersLeader(let other) = note { self.simulation.handsOver(self.node, self.daemon, to: other) }
        self.simulation.note("\(self.node.name): \(note.sentence(self.daemon.supervisor.state))")
    }
}

/// What the effects of a supervisor do in virtual time.
extension Simulation {
    func perform(_ effects: inout [SupervisorEffect], of node: SimulatedNode, _ daemon: SimulatedDaemon) {
        var world = SimulatedWorld(simulation: self, node: node, daemon: daemon)
        daemon.performer.perform(&effects, in: &world, at: node.tick(at: self.now))
        if self.openMask != 0 { self.dispatch() }
    }

    fileprivate func tell(_ name: VolumeName, _ command: VolumeCommand, on node: SimulatedNode) {
        guard let volume = node.volume(name), volume.core != nil || volume.absence != nil,
            !self.isLost(command, of: node)
        else { return }
        // One that is about to be started anew must not become the owner first.
        if case .open = command, volume.wantedBacking != volume.backing { return }
        self.queue.add(
            .volumeControl(volume, server: volume.server, command), at: self.now + 50_000 + self.random.below(200_000))
    }

    /// Those that run already: they are found again.
    fileprivate func keep(_ servers: [VolumeServerSpec], on node: SimulatedNode) -> [VolumeName] {
        if !self.swarm.isEmpty { return self.keepServers(servers, on: node) }
        var found: [VolumeName] = []
        for spec in servers {
            guard let volume = node.volume(spec.policy.name) else { continue }
            guard volume.core == nil, volume.absence == nil else {
                // It has outlived the daemon that started it.
                found.append(volume.name)
                continue
            }
            volume.identity = spec.identity
            self.queue.add(.startServer(volume, boot: node.boot), at: self.now + 20_000_000)
        }
        return found
    }

    /// A guard that takes another's place is the same here: one looks all the time.
    fileprivate func renew(_ role: HelperRole, on node: SimulatedNode) {
        guard case .server(let name) = role, let volume = node.volume(name) else { return }
        self.stopServer(volume, on: node)
    }

    /// A lease, for the guard and the volume servers.
    fileprivate func publish(end: Tick, sentAt: Tick, of node: SimulatedNode) {
        if self.swarm.armed != nil, end <= node.leaseEnd || node.tick(at: self.now) >= node.leaseEnd {
            self.reached(.lease, on: node)
        }
        node.leaseEnd = end
        node.leaseSentAt = max(node.leaseSentAt, sentAt)
        for volume in node.volumes {
            self.step(volume, .lease(end: node.usableEnd, incarnation: node.leaseIncarnation), on: node)
        }
        if node.isFrozen, !node.isInDoubt { self.endDoubt(node) }
    }

    /// The last words of a daemon to its volume servers may not get to them.
    private func isLost(_ command: VolumeCommand, of node: SimulatedNode) -> Bool {
        command == .takenBack && node.daemon?.supervisor.hasForgotten == true
            && self.revertRandom.chance(perMille: 300)
    }

    /// Whether a request waits for a slow disk: the daemon goes on meanwhile, and what it hands over until then is written
    /// along with it.
    fileprivate func isLate(_ request: PersistRequest, of node: SimulatedNode) -> Bool {
        guard let daemon = node.daemon else { return false }
        if daemon.unwritten.isEmpty, let delay = self.hangs(node, daemon) {
            self.queue.add(.logWritten(node, daemon), at: self.now + delay)
        } else if daemon.unwritten.isEmpty {
            guard self.options.hasFaults, self.diskRandom.chance(perMille: 50) else { return false }
            let delay =
                self.diskRandom.chance(perMille: 100)
                ? self.diskRandom.span(.milliseconds(100), .milliseconds(900))
                : self.diskRandom.span(.milliseconds(1), .milliseconds(100))
            self.queue.add(.logWritten(node, daemon), at: self.now + delay.nanoseconds)
        }
        daemon.unwritten.append(request)
        return true
    }

    /// The slow disk has written what waited for it; nothing of a daemon that ended meanwhile.
    func logWritten(_ node: SimulatedNode, _ daemon: SimulatedDaemon) {
        guard node.isOn, node.daemon === daemon, var joined = daemon.unwritten.first else { return }
        guard self.now >= node.scheduledFrom else {
            return self.queue.add(.logWritten(node, daemon), at: node.scheduledFrom)
        }
        for request in daemon.unwritten.dropFirst() { joined.join(request) }
        daemon.unwritten.removeAll()
        if daemon.performer.isPoisoned { return }
        self.count("slow log writes")
        switch self.persist(joined, of: node) {
        case .written:
            var world = SimulatedWorld(simulation: self, node: node, daemon: daemon)
            daemon.performer.persisted(joined.sequence, in: &world)
            if self.openMask != 0 { self.dispatch() }
            self.step(node, .persisted(sequence: joined.sequence))
        case .failed:
            _ = daemon.performer.logFailed()
            self.step(node, .diskFailed)
        case .later: return
        }
    }

    fileprivate func persist(_ request: PersistRequest, of node: SimulatedNode) -> LogAnswer {
        guard let log = node.log else { return .later }
        self.reached(.writes, on: node)
        do {
            try log.persist(request)
            self.checkers[model: node.id].persisted(node.id, request)
            if let violation = self.checkers[model: node.id].violation { self.fail(violation) }
            self.noteProgress(of: log, on: node)
            node.sealAt = self.now + 1_000_000_000
            if let snapshot = request.snapshot {
                let isOwn = node.daemon?.supervisor.state.appliedIndex ?? .zero >= snapshot.mark.index
                self.count(isOwn ? "snapshots" : "snapshots installed")
            }
            return .written
        } catch {
            self.checkers[model: node.id].failedToPersist(node.id, request)
            return self.logFailed(error, of: node)
        }
    }

    fileprivate func post(_ envelope: consuming Envelope, from node: SimulatedNode, to: NodeID) {
        if case .raft(let message) = envelope.message, envelope.from == node.id {
            self.checkers[model: node.id].sent(node.id, message, to: envelope.to)
            if let violation = self.checkers[model: node.id].violation { self.fail(violation) }
        }
        if case .voterReport(let report) = envelope.message, envelope.from == node.id {
            for line in report.lines { line.suspectedAt.map { self.checkers[model: node.id].reported(node.id, $0) } }
            if let violation = self.checkers[model: node.id].violation { self.fail(violation) }
        }
        if envelope.from == node.id { self.sent.count(envelope.message) }
        let place = Int(to.rawValue) - 1
        guard self.open.indices.contains(place) else { return }
        if self.openMask >> UInt64(place) & 1 == 0 {
            // Nodes live as long as the simulation: not counted.
            unowned(unsafe) let receiver = self.nodes[place]
            guard receiver.isOn, !self.network.isCut(from: node.id, to: to) else { return }
            self.openMask |= 1 << UInt64(place)
            self.open[place] = self.packets.take(from: node.id, to: to, boot: receiver.boot)
        }
        if self.swarm.armed != nil { self.reachedMessage(envelope.message, of: node) }
        self.packets[self.open[place]].letters.append(envelope)
    }

    /// Sends what one step wrote: mostly together, as a connection would carry it; now and then, and whenever the
    /// network is bad, each message by itself.
    private func dispatch() {
        while self.openMask != 0 {
            let place = self.openMask.trailingZeroBitCount
            self.openMask &= self.openMask - 1
            let packet = self.open[place]
            if self.packets[packet].letters.count > 1, self.network.isBad || self.random.chance(perMille: 30) {
                let letters = self.packets[packet].letters
                for letter in letters {
                    self.carry(self.packets.copy(packet, with: [letter]))
                }
                self.packets.giveBack(packet)
            } else {
                self.carry(packet)
            }
        }
    }

    private func carry(_ place: Int) {
        if self.network.duplicatePerMille > 0, self.random.chance(perMille: self.network.duplicatePerMille) {
            self.launch(self.packets.copy(place, with: self.packets[place].letters))
        }
        self.launch(place)
    }

    /// A copy of a packet comes late, perhaps to a later life of its receiver; every other time it is the only one.
    private func launchLate(_ place: Int) {
        self.count("late messages")
        let copy = self.packets.copy(place, with: self.packets[place].letters)
        self.packets[copy].boot = Packet.anyBoot
        // As often a second late as a minute.
        let scale = UInt64(200_000_000) << self.swarm.random.below(12)
        let delay = self.swarm.random.below(scale)
        self.queue.add(token: Self.token(packet: copy), at: self.now + delay)
    }

    private func launch(_ place: Int) {
        if let held = self.swarm.held, held.from == self.packets[place].via, self.now <= held.until {
            self.packets[place].boot = Packet.anyBoot
            return self.queue.add(token: Self.token(packet: place), at: held.arrival)
        }
        if self.swarm.latePerMillion > 0, self.swarm.random.below(1_000_000) < self.swarm.latePerMillion {
            self.launchLate(place)
            if self.swarm.random.chance(perMille: 500) { return self.packets.giveBack(place) }
        }
        if self.network.lossPerMille > 0, self.random.chance(perMille: self.network.lossPerMille) {
            self.packets.giveBack(place)
        } else {
            var due = self.now + self.network.delay(&self.random)
            if self.network.bytesPerSecond != nil { due += self.transferTime(of: place) }
            self.queue.add(token: Self.token(packet: place), at: due)
        }
    }

    private func transferTime(of place: Int) -> UInt64 {
        let bytes = self.packets[place].letters.reduce(64) {
            $0 + UInt64($1.encoded(in: Format.envelope.version).count) + 8
        }
        return self.network.wait(
            bytes, from: self.packets[place].via, to: self.packets[place].to, isVolume: false, at: self.now)
    }

    // MARK: Agents

    fileprivate func call(_ call: AgentCall, on node: SimulatedNode) {
        var outcome = AgentOutcome.success
        let isRunning = node.processes[call.group]?[call.resource.name] != nil
        var delay = self.random.span(.milliseconds(5), .milliseconds(150)).nanoseconds
        if self.swarm.strikes(.agents) { self.disturb(call, &outcome, &delay) }
        switch call.action {
        case .start:
            self.reached(.starts, on: node)
            self.note("\(node.name) starts \(call.group)/\(call.resource.name) under \(call.epoch)")
            if call.resource.kind.openedVolume != nil, self.volume(of: call, on: node)?.exportEpoch == nil {
                outcome = .failed(reason: "no export", recovery: .soft)
            } else if call.resource.kind.openedVolume != nil, let volume = self.volume(of: call, on: node),
                volume.isUnjudged
            {
                self.promoted(volume, on: node)
            }
            if outcome == .success, self.options.hasFaults, !self.isLastFailure, self.random.chance(perMille: 10),
                !self.swarm.isOver
            {
                // Not after the end of all faults: one failure on each node that a group has, and it waits for a person.
                outcome = .failed(reason: "simulated", recovery: .soft)
                self.disturb()
            }
            node.calls[call.id] = call
            self.checkers.look(at: node, in: self)
        case .stop:
            self.reached(.stops, on: node)
            node.calls[call.id] = call
            if self.options.hasFaults, !self.isLastFailure, self.random.chance(perMille: 10) {
                delay = call.timeout.nanoseconds
                outcome = .timedOut
                self.disturb()
            }
        case .monitor:
            node.calls[call.id] = call
            if !isRunning, outcome == .success { outcome = .notRunning }
        case .probe:
            node.calls[call.id] = call
            if !isRunning { outcome = .notRunning }
        }
        self.queue.add(.agentDone(node.id, boot: node.boot, call: call.id, outcome), at: self.now + delay)
    }

    /// The volume that a call of the agent is about.
    private func volume(of call: AgentCall, on node: SimulatedNode) -> SimulatedVolume? {
        call.resource.parameter("volume").flatMap { node.volume(VolumeName($0)) }
    }

    func agentDone(
        _ node: SimulatedNode, _ boot: UInt64, _ id: UInt64, _ outcome: AgentOutcome, _ event: Event
    ) {
        guard node.isOn, node.boot == boot, node.calls[id] != nil || node.killedCalls.contains(id) else { return }
        guard self.now >= node.scheduledFrom else { return self.queue.add(event, at: node.scheduledFrom) }
        if node.killedCalls.remove(id) != nil {
            return self.step(node, .agentFinished(id: id, .failed(reason: "killed by the guard", recovery: .soft)))
        }
        guard let call = node.calls[id] else { return }
        node.calls[id] = nil
        switch (call.action, outcome) {
        case (.start, .success): node.processes[call.group, default: [:]][call.resource.name] = call.epoch
        case (.stop, .success):
            node.processes[call.group]?[call.resource.name] = nil
            self.reached(.stopped, on: node)
        case (.start, _):
            if self.leavesBehind() { node.processes[call.group, default: [:]][call.resource.name] = call.epoch }
        default: break
        }
        self.checkers.look(at: node, in: self)
        self.step(node, .agentFinished(id: id, outcome))
    }

    fileprivate func cancel(_ id: UInt64, on node: SimulatedNode) {
        guard let call = node.calls.removeValue(forKey: id) else { return }
        // What a killed start had brought up by then stays until it is stopped.
        if call.action == .start { node.processes[call.group, default: [:]][call.resource.name] = call.epoch }
    }

    fileprivate func kill(_ group: GroupName, on node: SimulatedNode) {
        self.note("\(node.name) kills \(group)")
        node.calls = node.calls.filter { $0.value.group != group }
        // Rule L11: dead is what is dead, not what was told to die.
        if self.random.chance(perMille: 900) { node.processes[group] = nil }
        self.queue.add(
            .killed(node.id, boot: node.boot, group), at: self.now + self.random.below(100_000_000))
    }
}
