import Basis
import Cluster
import Mirror
import Raft
import RaftStorage
import Resources

/// Performs a supervisor's effects in virtual time.
extension Simulation {
    func perform(_ effects: inout [SupervisorEffect], of node: SimulatedNode) {
        defer {
            effects.drop()
            if self.openMask != 0 { self.dispatch() }
        }
        // Taken from the end, so that nothing is copied or left over: most are messages.
        effects.turn()
        node.daemon?.outbox.begin()
        while !effects.isEmpty {
            switch effects.removeLast() {
            case .send(let envelope, let to):
                node.daemon?.outbox.send(envelope, to: to) { self.post($0, from: node, to: $1) }
            case .persist(let request):
                node.daemon?.outbox.persist(request.sequence, at: node.tick(at: self.now))
                if node.daemon?.isPoisoned == true || self.isLate(request, of: node) { continue }
                switch self.persist(request, of: node) {
                case .written: self.follow(&effects, .persisted(sequence: request.sequence), of: node)
                case .refused: self.follow(&effects, .diskFailed, of: node)
                case .over: return
                }
            case .forget(let reason): return self.forget(node, reason)
            case .barrier: node.daemon?.outbox.barrier()
            case .lease(let end, let incarnation, let grace, let sentAt):
                node.leaseGrace = grace
                node.leaseIncarnation = incarnation
                self.publish(end: end, sentAt: sentAt, of: node)
            case .facts(let facts):
                if node.guardDeadUntil != 0 { self.checkGuarded(facts, on: node) }
                node.facts = facts
                self.reached(.facts, on: node)
            case .call(let call):
                self.call(call, on: node)
            case .cancel(let id): self.cancel(id, on: node)
            case .killGroup(let group): self.kill(group, on: node)
            case .forgetStarted, .cutVolume: continue
            case .inspect: continue
            case .volume(let name, let command):
                guard let volume = node.volume(name), volume.core != nil || volume.absence != nil,
                    !self.isLost(command, of: node)
                else { continue }
                self.queue.add(
                    .volumeControl(volume, server: volume.server, command),
                    at: self.now + 50_000 + self.random.below(200_000))
            case .volumeServers(let specs) where !self.swarm.isEmpty:
                for name in self.keepServers(specs, on: node) {
                    self.follow(&effects, .volumeConnected(name), of: node)
                }
            case .volumeServers(let specs):
                for spec in specs {
                    guard let volume = node.volume(spec.policy.name) else { continue }
                    guard volume.core == nil, volume.absence == nil else {
                        // It has outlived the daemon that started it, and is found again.
                        self.follow(&effects, .volumeConnected(volume.name), of: node)
                        continue
                    }
                    volume.identity = spec.identity
                    self.queue.add(.startServer(volume, boot: node.boot), at: self.now + 20_000_000)
                }
            case .peers: continue
            case .reply(let id, let reply): self.answer(id, reply, from: node)
            case .note(let note):
                self.note("\(node.name): \(node.daemon.map { note.sentence($0.supervisor.state) } ?? note.identifier)")
            }
            guard node.daemon != nil, self.violation == nil else { return }
        }
    }

    /// A lease, for the guard and the volume servers.
    private func publish(end: Tick, sentAt: Tick, of node: SimulatedNode) {
        if self.swarm.armed != nil, end <= node.leaseEnd || node.tick(at: self.now) >= node.leaseEnd {
            self.reached(.lease, on: node)
        }
        node.leaseEnd = end
        node.leaseSentAt = max(node.leaseSentAt, sentAt)
        for volume in node.volumes {
            self.step(volume, .lease(end: node.usableEnd, incarnation: node.leaseIncarnation), on: node)
        }
        if node.isFrozen || !node.heldCalls.isEmpty, !node.isInDoubt { self.endDoubt(node) }
    }

    /// The last words of a daemon to its volume servers may not get to them.
    private func isLost(_ command: VolumeCommand, of node: SimulatedNode) -> Bool {
        command == .takenBack && node.daemon?.supervisor.hasForgotten == true
            && self.revertRandom.chance(perMille: 300)
    }

    /// Steps the supervisor once more, and performs what it asks for after what is left of `effects`.
    private func follow(_ effects: inout [SupervisorEffect], _ input: SupervisorInput, of node: SimulatedNode) {
        var more: [SupervisorEffect] = []
        guard let daemon = node.daemon else { return }
        daemon.supervisor.step(input, at: node.tick(at: self.now), into: &more)
        self.checkers.checkModel(node.id, daemon, in: self)
        effects.insert(contentsOf: more.reversed(), at: 0)
    }

    /// Whether a request waits for a slow disk: the daemon goes on meanwhile, and what it hands over until then is written
    /// along with it.
    private func isLate(_ request: PersistRequest, of node: SimulatedNode) -> Bool {
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
        if daemon.isPoisoned { return }
        self.count("slow log writes")
        let written = self.persist(joined, of: node)
        if self.openMask != 0 { self.dispatch() }
        switch written {
        case .written: self.step(node, .persisted(sequence: joined.sequence))
        case .refused: self.step(node, .diskFailed)
        case .over: return
        }
    }

    private func persist(_ request: PersistRequest, of node: SimulatedNode) -> LogWrite {
        guard let log = node.log else { return .over }
        self.reached(.writes, on: node)
        do {
            try log.persist(request)
            self.checkers.model.persisted(node.id, request)
            if let violation = self.checkers.model.violation { self.fail(violation) }
            self.noteProgress(of: log, on: node)
            node.sealAt = self.now + 1_000_000_000
            if let snapshot = request.snapshot {
                let isOwn = node.daemon?.supervisor.state.appliedIndex ?? .zero >= snapshot.mark.index
                self.count(isOwn ? "snapshots" : "snapshots installed")
            }
            node.daemon?.outbox.persisted(request.sequence) { self.post($0, from: node, to: $1) }
            return .written
        } catch {
            self.checkers.model.failedToPersist(node.id, request)
            return self.logFailed(error, of: node)
        }
    }

    private func post(_ envelope: consuming Envelope, from node: SimulatedNode, to: NodeID) {
        if case .raft(let message) = envelope.message, envelope.from == node.id {
            self.checkers.model.sent(node.id, message, to: envelope.to)
            if let violation = self.checkers.model.violation { self.fail(violation) }
        }
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
        let bytes = self.packets[place].letters.reduce(64) { $0 + UInt64($1.encoded.count) + 8 }
        return self.network.wait(
            bytes, from: self.packets[place].via, to: self.packets[place].to, isVolume: false, at: self.now)
    }

    // MARK: Agents

    func call(_ call: AgentCall, on node: SimulatedNode) {
        if call.action == .start {
            // Rule L20: the clocks are compared before each start.
            self.compareClocks(node)
            if node.isInDoubt {
                node.heldCalls.append(call)
                return
            }
        }
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
            if outcome == .success, self.options.hasFaults, !self.isLastFailure, self.random.chance(perMille: 10) {
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
        guard node.isOn, node.boot == boot, let call = node.calls[id] else { return }
        guard self.now >= node.scheduledFrom else { return self.queue.add(event, at: node.scheduledFrom) }
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

    private func cancel(_ id: UInt64, on node: SimulatedNode) {
        if !node.heldCalls.isEmpty { node.heldCalls.removeAll { $0.id == id } }
        guard let call = node.calls.removeValue(forKey: id) else { return }
        // What a killed start had brought up by then stays until it is stopped.
        if call.action == .start { node.processes[call.group, default: [:]][call.resource.name] = call.epoch }
    }

    private func kill(_ group: GroupName, on node: SimulatedNode) {
        self.note("\(node.name) kills \(group)")
        if !node.heldCalls.isEmpty { node.heldCalls.removeAll { $0.group == group } }
        node.calls = node.calls.filter { $0.value.group != group }
        // Rule L11: dead is what is dead, not what was told to die.
        if self.random.chance(perMille: 900) { node.processes[group] = nil }
        self.queue.add(
            .killed(node.id, boot: node.boot, group), at: self.now + self.random.below(100_000_000))
    }
}
