import Basis
import Cluster
import Raft
import Reports
import Resources

/// Pauses that operators announce. (Rule L22)
struct AnnouncedPauses {
    var random: SeededRandom

    init(random: SeededRandom) { self.random = random }
}

extension Simulation {
    /// An operator announces a pause, mostly of a node that matters; what comes of it is another thing.
    func announcePause() {
        guard self.now < self.options.length.nanoseconds, !self.swarm.isOver else { return }
        let pause = self.operators.pauses.random.span(.seconds(5), .seconds(75)).nanoseconds
        self.queue.add(.swarm(.announcePause), at: self.now + pause)
        self.excusePatience()
        let asked = self.anyNode(&self.operators.pauses.random)
        let victim = self.toPause()
        guard let state = asked.daemon?.supervisor.state, self.now >= asked.scheduledFrom,
            let record = state.node(victim.id)
        else { return }
        let length = self.drawAnnounced()
        self.count("pauses announced")
        self.ask(.expectPause(victim.id, record.incarnation, length), of: asked)
        let later = self.operators.pauses.random.chance(perMille: 700) ? .seconds(2) : max(length, .seconds(1))
        let at = self.now + self.operators.pauses.random.span(.milliseconds(20), later).nanoseconds
        self.queue.add(.swarm(.announced(victim, length)), at: at)
    }

    private func toPause() -> SimulatedNode {
        let kind = self.operators.pauses.random.below(10)
        let leader = self.living.first { $0.daemon?.supervisor.consensus.isLeader == true }
        let owner = self.living.first { $0.isOn && $0.isOwning }
        let chosen = kind < 3 ? leader : kind < 7 ? owner : nil
        return chosen ?? self.anyNode(&self.operators.pauses.random)
    }

    /// Zero takes it back; and one is longer than anybody may announce.
    private func drawAnnounced() -> Span {
        switch self.operators.pauses.random.below(16) {
        case 0: .zero
        case 1: .seconds(301)
        case 2: self.operators.pauses.random.span(.seconds(60), .seconds(300))
        default: self.operators.pauses.random.span(.seconds(2), .seconds(40))
        }
    }

    /// Whatever was announced: the node pauses for less than that, or for longer, or something else happens, or nothing.
    func keepAnnounced(_ node: SimulatedNode, _ length: Span) {
        guard self.options.hasFaults, self.now < self.options.length.nanoseconds, !self.swarm.isOver,
            self.now >= self.quietUntil, !node.hasLeft, node.isOn, self.now >= node.pausedUntil,
            node.hiding(at: self.now) == nil
        else { return }
        let most = min(max(length, .seconds(1)), .seconds(30))
        let drawn = self.operators.pauses.random.span(.milliseconds(200), most)
        switch self.operators.pauses.random.below(10) {
        case 0, 1, 2, 3: self.hiddenPause(node, drawn)
        case 4: self.hiddenPause(node, most + self.operators.pauses.random.span(.seconds(1), .seconds(15)))
        case 5: self.cutOff(node.id, until: self.now + drawn.nanoseconds)
        case 6:
            self.faultAt = self.now
            self.powerOff(node)
            self.queue.add(.powerOn(node.id), at: self.now + drawn.nanoseconds)
        case 7: self.killDaemon(node, until: self.now + drawn.nanoseconds)
        default: return
        }
        self.count("announced pauses that came")
    }

    /// As long as a pause is expected, and from the moment when none is any more, something may move groups. (NoFlap)
    private func excusePatience() {
        let isExpected = self.nodes.contains { node in
            guard let daemon = node.daemon, daemon.supervisor.consensus.isLeader else { return false }
            let tick = node.tick(at: self.now)
            return daemon.supervisor.state.nodes.contains { daemon.supervisor.isPauseExpected(of: $0, at: tick) }
        }
        if isExpected { self.disturb() }
    }

    // MARK: What is checked

    /// Announced: who leads, and knows of an announced pause, does not ask for the suspicion of that life, unless there is another
    /// reason than silence.
    func checkAnnounced(_ request: PersistRequest, of node: SimulatedNode, _ daemon: SimulatedDaemon) {
        guard daemon.supervisor.consensus.isLeader else { return }
        for entry in request.entries where entry.mark.term == daemon.supervisor.consensus.term {
            guard case .command(let bytes) = entry.payload, let command = try? LogCommand(decoding: bytes),
                case .suspect(let id, let incarnation) = command.command,
                let record = daemon.supervisor.state.node(id), record.incarnation == incarnation,
                let announcedAt = self.checkers.history.pauses[id], self.checkers.applied(by: node.id) >= announcedAt
            else { continue }
            let tick = node.tick(at: self.now)
            guard daemon.supervisor.isPauseExpected(of: record, at: tick) else { continue }
            // Rules E2.6, E5, J2.
            guard !daemon.supervisor.isForgetful(id, at: tick), !record.twins.isOpen, !record.isRetiring else {
                continue
            }
            self.fail("Announced: \(node.name) suspects \(record.about.name), whose pause is expected (L22)")
        }
    }

    /// Announcements are over with all else.
    func endAnnouncements() {
        guard self.swarm.has(.pauses) else { return }
        for record in self.checkers.history.state.nodes where record.pauseExpectedUntil > 0 {
            self.operate(.expectPause(record.id, record.incarnation, .zero))
        }
    }

    /// With all well a node is lost whose pause was announced: whoever leads has left its place by then, nothing is taken over
    /// before that time, and everything is soon after it.
    func loseAnnouncedNode() {
        guard self.violation == nil, self.swarm.has(.pauses),
            let leader = self.nodes.first(where: { $0.daemon?.supervisor.consensus.isLeader == true }),
            let report = self.status(of: leader), report.survivesFailures > 0, let bound = report.boundSeconds,
            let victim = self.announcedVictim(leader), let record = leader.daemon?.supervisor.state.node(victim.id)
        else { return }
        let length = self.operators.pauses.random.span(.seconds(20), .seconds(50))
        let running = report.groups.filter { $0.state == .running }.map { GroupName($0.name) }
        self.operate(.expectPause(victim.id, record.incarnation, length))
        let end = self.now + length.nanoseconds
        self.advance(to: self.now + 15_000_000_000)
        guard self.violation == nil else { return }
        if victim.daemon?.supervisor.consensus.isLeader == true {
            return self.fail("Announced: \(victim.name) leads on, although it is to pause (L22)")
        }
        self.note("\(victim.name) is lost, whose pause was announced")
        self.count("announced nodes lost")
        self.isLastFailure = true
        self.powerOff(victim)
        // Clocks differ by a thousandth, and there is a moment between what is asked for and what is agreed.
        self.advance(to: max(self.now, end - 1_000_000_000))
        if self.violation == nil, self.checkers.history.state.node(victim.id)?.standing != .trusted {
            return self.fail("Announced: \(victim.name) is taken for lost before its pause is over (L22)")
        }
        self.disturb()
        self.advance(to: end + 3_000_000_000 + UInt64(bound * 1e9))
        for name in running where self.violation == nil && !self.nodes.contains(where: { self.isUp(name, on: $0) }) {
            self.fail("Announced: \(name) does not run \(bound) s after the end of the pause of \(victim.name) (L22)")
        }
        guard self.violation == nil else { return }
        self.powerOn(victim)
        self.advance(to: self.now + 60_000_000_000)
    }

    /// Mostly the leader, where another one can lead.
    private func announcedVictim(_ leader: SimulatedNode) -> SimulatedNode? {
        let alive = self.nodes.filter { $0.isOn && $0.daemon != nil && !$0.hasLeft }
        let voters = leader.daemon?.supervisor.consensus.membership.voters ?? []
        let others = alive.filter { $0 !== leader && $0.role == .member && voters.contains($0.id) }
        let kind = self.operators.pauses.random.below(10)
        if kind < 4, !others.isEmpty { return leader }
        if kind < 7, let owner = alive.first(where: { $0.isOwning && $0 !== leader }) { return owner }
        let rest = alive.filter { $0 !== leader }
        return rest.isEmpty ? nil : rest[Int(self.operators.pauses.random.below(UInt64(rest.count)))]
    }
}
