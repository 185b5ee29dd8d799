import Basis
import Mirror
import Node
import Raft
import Resources

/// Performs a supervisor's effects in virtual time.
extension Simulation {
    func perform(_ effects: inout [SupervisorEffect], of node: SimulatedNode) {
        defer { if self.hasOutgoing { self.dispatch(from: node) } }
        var place = 0
        while place < effects.count {
            defer { place += 1 }
            // Taken out, not copied: most are messages.
            var effect = SupervisorEffect.cancel(0)
            swap(&effect, &effects[place])
            switch consume effect {
            case .send(let envelope, let to): self.post(envelope, to: to)
            case .persist(let request):
                guard self.persist(request, of: node) else { return }
                let sequence = request.sequence
                node.daemon?.supervisor.step(
                    .persisted(sequence: sequence), at: node.tick(at: self.now), into: &effects)
            case .raiseStartCounter(let counter):
                do { try node.log?.raiseStartCounter(to: counter) } catch {
                    return self.fail("\(node.name) could not raise its start counter: \(error)")
                }
                node.daemon?.supervisor.step(
                    .startCounterRaised(to: counter), at: node.tick(at: self.now), into: &effects)
            case .lease(let end, let incarnation, _):
                node.leaseEnd = end
                node.leaseIncarnation = incarnation
                for volume in node.volumes {
                    self.step(volume, .lease(end: end, incarnation: incarnation), on: node)
                }
            case .facts(let facts): node.facts = facts
            case .call(let call): self.call(call, on: node)
            case .cancel(let id): self.cancel(id, on: node)
            case .killGroup(let group): self.kill(group, on: node)
            case .volume(let name, let command):
                guard let volume = node.volume(name), volume.core != nil else { continue }
                self.queue.add(
                    .volumeControl(volume, server: volume.server, command),
                    at: self.now + 50_000 + self.random.below(200_000))
            case .volumeServers(let specs):
                for spec in specs {
                    guard let volume = node.volume(spec.policy.name), volume.core == nil else { continue }
                    self.queue.add(.startServer(volume, boot: node.boot), at: self.now + 20_000_000)
                }
            case .peers, .reply: continue
            case .note(let text): self.note("\(node.name): \(text)")
            }
            guard node.daemon != nil, self.violation == nil else { return }
        }
    }

    /// False when the machine died of it: power fails in the middle of a write now and then.
    private func persist(_ request: PersistRequest, of node: SimulatedNode) -> Bool {
        guard let log = node.log else { return false }
        do {
            try log.persist(request)
            return true
        } catch {
            self.fail("\(node.name) could not persist: \(error)")
            return false
        }
    }

    private func post(_ envelope: consuming Envelope, to: NodeID) {
        guard to.rawValue >= 1, Int(to.rawValue) <= self.nodes.count else { return }
        self.hasOutgoing = true
        self.outbox[Int(to.rawValue) - 1].append(envelope)
    }

    /// Sends what one step wrote: mostly together, as a connection would carry it; now and then, and whenever the
    /// network is bad, each message by itself.
    private func dispatch(from node: SimulatedNode) {
        self.hasOutgoing = false
        for place in self.outbox.indices where !self.outbox[place].isEmpty {
            let receiver = self.nodes[place]
            guard receiver.isOn, !self.network.isCut(from: node.id, to: receiver.id) else {
                self.outbox[place].drop()
                continue
            }
            if self.outbox[place].count > 1, self.network.isBad || self.random.chance(perMille: 30) {
                for letter in self.outbox[place] {
                    let packet = self.packets.take(from: node, to: receiver)
                    self.packets[packet].letters.append(letter)
                    self.carry(packet)
                }
                self.outbox[place].drop()
            } else {
                let packet = self.packets.take(from: node, to: receiver)
                swap(&self.packets[packet].letters, &self.outbox[place])
                self.carry(packet)
            }
        }
    }

    private func carry(_ place: Int) {
        if self.network.duplicatePerMille > 0, self.random.chance(perMille: self.network.duplicatePerMille) {
            self.launch(self.packets.copy(place))
        }
        self.launch(place)
    }

    private func launch(_ place: Int) {
        if self.network.lossPerMille > 0, self.random.chance(perMille: self.network.lossPerMille) {
            self.packets.giveBack(place)
        } else {
            self.queue.add(.deliver(place), at: self.now + self.network.delay(&self.random))
        }
    }

    // MARK: Agents

    private func call(_ call: AgentCall, on node: SimulatedNode) {
        var outcome = AgentOutcome.success
        let isRunning = node.processes[call.group]?[call.resource.name] != nil
        var delay = self.random.span(.milliseconds(5), .milliseconds(150)).nanoseconds
        switch call.action {
        case .start:
            self.note("\(node.name) starts \(call.group)/\(call.resource.name) under \(call.epoch)")
            if call.resource.agent == "volume", node.volume(Self.volume)?.exportEpoch == nil {
                outcome = .failed(reason: "no export", recovery: .soft)
            } else if self.options.hasFaults, self.random.chance(perMille: 10) {
                outcome = .failed(reason: "simulated", recovery: .soft)
            }
            node.calls[call.id] = call
            self.checkers.look(at: node, in: self)
        case .stop:
            node.calls[call.id] = call
            if self.options.hasFaults, self.random.chance(perMille: 10) {
                delay = call.timeout.nanoseconds
                outcome = .timedOut
            }
        case .monitor:
            node.calls[call.id] = call
            if !isRunning { outcome = .notRunning }
        case .probe:
            node.calls[call.id] = call
            if !isRunning { outcome = .notRunning }
        }
        self.queue.add(.agentDone(node.id, boot: node.boot, call: call.id, outcome), at: self.now + delay)
    }

    func agentDone(
        _ node: SimulatedNode, _ boot: UInt64, _ id: UInt64, _ outcome: AgentOutcome, _ event: Event
    ) {
        guard node.isOn, node.boot == boot, let call = node.calls[id] else { return }
        if self.now < max(node.pausedUntil, node.daemonPausedUntil) {
            self.queue.add(event, at: max(node.pausedUntil, node.daemonPausedUntil))
            return
        }
        node.calls[id] = nil
        switch (call.action, outcome) {
        case (.start, .success): node.processes[call.group, default: [:]][call.resource.name] = call.epoch
        case (.stop, .success): node.processes[call.group]?[call.resource.name] = nil
        default: break
        }
        self.checkers.look(at: node, in: self)
        self.step(node, .agentFinished(id: id, outcome))
    }

    private func cancel(_ id: UInt64, on node: SimulatedNode) {
        guard let call = node.calls.removeValue(forKey: id) else { return }
        // What a killed start had brought up by then stays until it is stopped.
        if call.action == .start { node.processes[call.group, default: [:]][call.resource.name] = call.epoch }
    }

    private func kill(_ group: GroupName, on node: SimulatedNode) {
        self.note("\(node.name) kills \(group)")
        node.calls = node.calls.filter { $0.value.group != group }
        // Rule L11: dead is what is dead, not what was told to die.
        if self.random.chance(perMille: 900) { node.processes[group] = nil }
        self.queue.add(
            .killed(node.id, boot: node.boot, group), at: self.now + self.random.below(100_000_000))
    }
}
