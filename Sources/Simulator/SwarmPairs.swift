import Basis
import Cluster
import Host
import Raft
import Resources
import SimulatedDisks

/// More faults that belong together, each with a feature of its own: each of the parts is met often by chance, all of them at
/// the right moment hardly ever.
extension Simulation {
    // MARK: Words

    /// A group fails for good on a node that does not lead. When the leader is told so, the daemon that says it ends, and the next
    /// one runs before anybody else knows. (Rule L11.2)
    func awaitWord() {
        if let armed = self.swarm.armed, self.now < armed.armedAt + 20_000_000_000 { return }
        guard !self.network.isBroken, let owner = self.nodes.first(where: { $0.isOn && $0.isOwning }),
            let supervisor = owner.daemon?.supervisor, self.now >= owner.scheduledFrom
        else { return }
        guard !supervisor.consensus.isLeader else {
            return self.step(owner, .client(id: 1, .transferLeadership(to: nil)))
        }
        let running = supervisor.groups.runners.filter { $0.isUp && $0.name != Self.quickGroup }
        guard !running.isEmpty else { return }
        let group = running[Int(self.swarm.random.below(UInt64(running.count)))].name
        let isLate = self.swarm.random.chance(perMille: 500)
        self.swarm.armed = MomentFault(
            trigger: .tells, fault: isLate ? .outlivesMessage : .outlivesEntry, skipping: 0,
            delay: isLate ? 0 : self.swarm.random.below(4_000_000), armedAt: self.now)
        self.swarm.wearEndsAt = .max
        self.wearOut(owner, group, left: 60)
    }

    func outlive(_ node: SimulatedNode, _ fault: MomentFault.Fault) {
        self.swarm.wearEndsAt = self.now
        guard !self.network.isBroken, self.living.allSatisfy({ self.isWell($0) }) else { return }
        self.count("words that outlived their daemon")
        let restart = self.now + self.swarm.random.span(.milliseconds(10), .milliseconds(200)).nanoseconds
        // By then the next daemon has begun anew whatever it believes to be its own, and has its lease still.
        let arrival = restart + self.swarm.random.span(.milliseconds(300), .milliseconds(1200)).nanoseconds
        if fault == .outlivesMessage {
            self.swarm.held = Swarm.Held(from: node.id, until: self.now + 5_000_000, arrival: arrival)
            self.queue.add(.swarm(.restart(node, until: restart)), at: self.now + 5_000_000)
        } else {
            self.hangFollowers(besides: node, until: arrival)
            self.killDaemon(node, until: restart)
            // The next daemon has opened its log, and is told what is in it too late.
            let late = arrival + self.swarm.random.span(.milliseconds(500), .milliseconds(1500)).nanoseconds
            self.queue.add(.swarm(.hangDisk(node, until: late)), at: restart + 100_000)
        }
        let back = arrival + self.swarm.random.span(.seconds(1), .seconds(5)).nanoseconds
        self.quietUntil = arrival + 2_000_000_000
        self.queue.add(.swarm(.cutOff(node.id, until: back)), at: arrival + 1000)
    }

    /// The disks of so many followers hang that nothing is committed, while a majority hears the leader.
    private func hangFollowers(besides node: SimulatedNode, until: UInt64) {
        guard let leader = self.nodes.first(where: { $0.daemon?.supervisor.consensus.isLeader == true }),
            let voters = leader.daemon?.supervisor.consensus.membership.voters
        else { return }
        let others = voters.filter { $0 != node.id && $0 != leader.id }
        for id in others.dropFirst(max(0, voters.count / 2 - 1)) { self.hangDisk(of: self.node(id), until: until) }
    }

    func hangDisk(of node: SimulatedNode, until: UInt64) {
        guard self.now < self.options.length.nanoseconds, !self.swarm.isOver, self.now >= node.diskBadUntil else {
            return
        }
        node.diskHangsUntil = until
        node.diskBadUntil = until
    }

    func cutOff(_ id: NodeID, until back: UInt64) {
        guard self.now < self.options.length.nanoseconds, !self.swarm.isOver else { return }
        self.faultAt = self.now
        self.cut(self.node(id), from: self.nodes, until: back)
    }

    // MARK: Standstills

    /// Some machines of this seed have no hardware clock: nothing but what others say tells them that they stood still.
    func drawHardwareClocks() {
        // Who is taken back while nobody who knows is in reach has its clocks alone. (Rule E4.3)
        guard self.swarm.has(.standstills), self.options.reverts == .none else { return }
        for node in self.nodes { node.hasHardwareClock = self.swarm.random.chance(perMille: 300) }
    }

    /// An owner stands still until its groups run elsewhere, and a moment more. (Rule L18)
    func standStill() {
        guard !self.network.isBroken, self.living.allSatisfy({ self.isWell($0) }),
            let owner = self.nodes.first(where: { $0.isOn && $0.isOwning }),
            let timing = owner.daemon?.supervisor.state.policy.timing
        else { return }
        var length = timing.wait(forLease: timing.leaseDuration, grace: timing.leaseGrace)
        length = length + self.swarm.random.span(.milliseconds(300), .milliseconds(2500))
        if self.swarm.random.chance(perMille: 500) {
            // Those that answered it start anew: they cannot say how long ago that was. (Rule L19)
            let restart = self.swarm.random.span(.milliseconds(20), .milliseconds(300))
            length = length + restart + .seconds(1)
            for other in self.nodes where other !== owner {
                self.killDaemon(other, until: self.now + restart.nanoseconds)
            }
        }
        self.count("owners that stood still")
        self.hiddenPause(owner, length)
        let end = self.now + length.nanoseconds
        self.quietUntil = end + 3_000_000_000
        guard self.swarm.random.chance(perMille: 700) else { return }
        // What the log says comes late: only what is said of its lease tells it in time.
        self.hangDisk(of: owner, until: end + self.swarm.random.span(.milliseconds(500), .seconds(3)).nanoseconds)
    }

    // MARK: Edits at a moment

    /// A group is on its way to another node, and an address of the other one is to be its own right when its former owner says
    /// that it has stopped: the plan that gives it away was made before. (Rule B5)
    func awaitStop() {
        if let armed = self.swarm.armed, self.now < armed.armedAt + 20_000_000_000 { return }
        guard !self.network.isBroken, self.now >= self.edits.heldUntil, self.living.allSatisfy({ self.isWell($0) }),
            let leader = self.nodes.first(where: { $0.daemon?.supervisor.consensus.isLeader == true }),
            let state = leader.daemon?.supervisor.state
        else { return }
        let place = Int(self.swarm.random.below(2))
        let name = GroupName(self.edits.names[place])
        guard let owner = state.group(name)?.assignment?.node, owner != leader.id,
            let target = self.hosts.compactMap({ state.node(named: $0)?.id }).first(where: { $0 != owner })
        else { return }
        // The other one is to have both addresses before.
        self.edits.holders = [1 - place, 1 - place]
        self.applyEdits()
        self.edits.heldUntil = self.now + 8_000_000_000
        self.swarm.armed = MomentFault(
            trigger: .tells, fault: .edits, skipping: 0, delay: self.swarm.random.below(4_000_000),
            armedAt: self.now + 3_000_000_000)
        self.swarm.editedPlace = place
        self.queue.add(.swarm(.moveGroup(name, to: target)), at: self.now + 3_000_000_000)
    }

    /// The group that is on its way gets an address of the other one.
    func editAtMoment() {
        self.edits.holders[Int(self.swarm.random.below(2))] = self.swarm.editedPlace
        self.applyEdits()
        self.edits.heldUntil = self.now + 3_000_000_000
    }

    // MARK: Removals

    private static let removalPatienceNanoseconds: UInt64 = 40_000_000_000

    /// A group gets another name while it runs, and the daemon that is to stop it under the former one starts anew right then.
    /// (Rules L11, K2)
    func removeGroup() {
        guard self.options.hasEdits, !self.network.isBroken, self.now >= self.edits.heldUntil,
            self.living.allSatisfy({ self.isWell($0) }),
            let leader = self.nodes.first(where: { $0.daemon?.supervisor.consensus.isLeader == true }),
            let state = leader.daemon?.supervisor.state
        else { return }
        if self.swarm.random.chance(perMille: 600) { return self.awaitStop() }
        let place = Int(self.swarm.random.below(2))
        guard let record = state.group(GroupName(self.edits.names[place])), let owner = record.assignment?.node else {
            return
        }
        self.note("\(record.name) is removed, and the daemon of \(owner) starts anew")
        self.count("groups removed while a daemon starts anew")
        self.edits.rename(place)
        self.applyEdits()
        self.faultAt = self.now
        self.quietUntil = self.now + Self.removalPatienceNanoseconds
        self.edits.heldUntil = self.quietUntil
        let end = self.now + self.swarm.random.below(60_000_000)
        let back = end + self.swarm.random.span(.milliseconds(20), .seconds(1)).nanoseconds
        self.queue.add(.swarm(.restart(self.node(owner), until: back)), at: end)
        self.queue.add(.swarm(.removalLook(record.name, record.epoch)), at: self.quietUntil)
    }

    /// BoundedRecovery: with nothing else wrong, what was removed is gone.
    func checkRemoved(_ name: GroupName, _ epoch: Epoch) {
        guard !self.swarm.isOver, !self.network.isBroken, self.living.allSatisfy({ self.isWell($0) }),
            let leader = self.nodes.first(where: { $0.daemon?.supervisor.consensus.isLeader == true }),
            let state = leader.daemon?.supervisor.state, state.policy.group(name) == nil,
            let record = state.group(name), record.epoch == epoch
        else { return }
        let patience = Span(nanoseconds: Self.removalPatienceNanoseconds)
        let owner = record.assignment.map { "it is with \($0.node)" } ?? "it has no owner"
        self.fail("BoundedRecovery: \(name) was removed \(patience) ago, and nobody says that it has stopped: \(owner)")
    }

    // MARK: Damage

    /// One of the last bytes that the log has written changes while the daemon is down. (Rule C8)
    func damageTail(of victim: SimulatedNode) {
        guard !self.network.isBroken, self.living.allSatisfy({ self.isWell($0) }), victim.sealAt == .max else { return }
        var fault = LogFault(
            victim: victim.id, isReboot: self.swarm.random.chance(perMille: 600),
            isStartedTwice: self.swarm.random.chance(perMille: 200))
        fault.keepsRunDirectory = self.swarm.random.chance(perMille: 500)
        fault.isDamage = true
        fault.isAtEnd = true
        self.count("logs damaged at their end")
        self.faultAt = self.now
        self.quietUntil = self.now + 60_000_000_000
        self.go(on: fault, .loss)
    }

    func damageEnd(of victim: SimulatedNode) {
        let names = (try? victim.disk.list("log")) ?? []
        guard let last = names.filter({ $0.hasPrefix("log-") }).max() else { return }
        let path = "log/\(last)"
        let length = (try? victim.disk.read(path).count) ?? 0
        guard length > 0 else { return }
        let back = 1 + Int(self.memoryRandom.below(UInt64(min(length, 120))))
        victim.disk.corrupt(path, at: length - back, mask: UInt8(1 + self.memoryRandom.below(255)))
    }
}
