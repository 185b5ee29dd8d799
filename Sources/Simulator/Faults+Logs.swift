import Basis
import Cluster
import Raft
import RaftStorage
import SimulatedDisks

/// A copy of a disk, as somebody may bring it back later.
struct LogCopy {
    var disk: SimulatedDisk
    /// The start of the log that was under way.
    var mark: StartMark
}

/// What happens to one log, alone or at the moment when it hurts most. (Rule E2)
struct LogFault {
    /// The part that is due.
    enum Stage {
        /// Somebody asks for something, which only some will know of.
        case wish
        /// The log is lost or replaced, while the machine or only the daemon is down.
        case loss
        /// The machine or the daemon comes back.
        case back
        /// The daemon is started once more.
        case again
        /// All that was cut off or switched off comes back.
        case end
    }
    var victim: NodeID
    /// What comes back in its place; nil for nothing at all.
    var copy: LogCopy?
    /// The machine restarts with it; else only the daemon.
    var isReboot: Bool
    /// The run directory outlives it, unless the machine restarts.
    var keepsRunDirectory = true
    /// Neither is it lost nor replaced: one byte of it changes.
    var isDamage = false
    /// That byte is one of the last.
    var isAtEnd = false
    /// It is started a second time soon after.
    var isStartedTwice: Bool
    /// Away until the loss: they lack what the others commit meanwhile.
    var absent: [NodeID] = []
    /// Away from the loss on: with the victim the only holders of what was committed.
    var holders: [NodeID] = []
    /// Who is away is without power, not only cut off.
    var isPowerLoss = false
}

extension Simulation {
    /// Loses a log, or brings back an older copy: of the present start, the last, or the one before it, with and without a
    /// reboot, once or started twice; alone, or while those that alone hold what was committed are taken away.
    ///
    /// Alone means that all others are well and in touch: only then may a copy come back that not every other node can
    /// tell from the log that was there. (`docs/guarantees.md` states that limit.)
    func harmLog() {
        guard !self.network.isBroken, self.living.allSatisfy({ self.isWell($0) }) else { return }
        self.keepCopies()
        let victim = self.anyNode(&self.memoryRandom)
        guard let present = victim.log?.memory.present else { return }
        var fault = LogFault(
            victim: victim.id, isReboot: self.memoryRandom.chance(perMille: 500),
            isStartedTwice: self.memoryRandom.chance(perMille: 300))
        let age = self.memoryRandom.below(5)
        fault.keepsRunDirectory = self.memoryRandom.chance(perMille: 700)
        fault.isDamage = age == 4 && victim.sealAt == .max
        if age < 3 {
            let copy = victim.copies.last {
                $0.mark.directory == present.directory && $0.mark.start + age == present.start
            }
            guard let copy else { return }
            fault.copy = copy
        }
        let isSeenByAll = self.living.allSatisfy { node in
            node.id == victim.id || node.daemon?.supervisor.consensus.notedMark(of: victim.id)?.mark == present
        }
        // The run directory knows the present start too, while the machine runs.
        let isSeenHere = !fault.isReboot && fault.keepsRunDirectory
        let canHurt =
            isSeenByAll && (fault.copy.map { $0.mark.isBefore(present) || isSeenHere } ?? true)
        let delay: UInt64
        if canHurt, self.memoryRandom.chance(perMille: 600) {
            self.chooseAway(&fault)
            delay = self.memoryRandom.span(.seconds(2), .seconds(6)).nanoseconds
            self.queue.add(.logFault(fault, .wish), at: self.now + delay / 2)
            self.leave(fault.absent, fault)
        } else {
            delay = 0
        }
        let what = fault.copy.map { "an old log (\($0.mark))" } ?? (fault.isDamage ? "a damaged log" : "an empty log")
        self.note("\(victim.name) is to get \(what); away before \(fault.absent), after \(fault.holders)")
        self.count(fault.copy == nil ? (fault.isDamage ? "logs damaged" : "logs emptied") : "logs rolled back")
        if let mark = fault.copy?.mark, mark != present, mark.isSameStart(as: present) {
            self.count("logs rolled back to before a mark of the same start")
        }
        if !fault.holders.isEmpty { self.count("logs lost while the other holders were away") }
        self.quietUntil = self.now + delay + 60_000_000_000
        self.queue.add(.logFault(fault, .loss), at: self.now + delay)
    }

    func isWell(_ node: SimulatedNode) -> Bool {
        guard node.isOn, let supervisor = node.daemon?.supervisor, supervisor.isAdmitted,
            self.now >= max(node.pausedUntil, node.daemonPausedUntil, node.diskBadUntil)
        else { return false }
        let membership = supervisor.consensus.membership
        if self.swarm.has(.members) { return !membership.isJoint && membership.voters.count >= 3 }
        return !membership.isJoint && membership.learners.count == (self.nodes.count { $0.isPresent } + 1) % 2
    }

    private func keepCopies() {
        for node in self.nodes {
            guard let mark = node.log?.memory.present else { continue }
            if node.copies.last?.mark == mark, self.memoryRandom.chance(perMille: 700) { continue }
            node.copies.append(LogCopy(disk: node.disk.fork(), mark: mark))
            if node.copies.count > 6 { node.copies.removeFirst() }
        }
    }

    /// Operators may have taken votes away since: the only voter's log is the cluster's.
    private func leavesMajority(_ victim: SimulatedNode) -> Bool {
        guard self.swarm.has(.members) else { return true }
        return self.nodes.allSatisfy {
            guard let membership = $0.daemon?.supervisor.consensus.membership, membership.isVoter(victim.id) else {
                return true
            }
            return !membership.isJoint && membership.voters.count >= 3
        }
    }

    /// A majority with the victim in it stays, and commits; the rest is away. Then they change places.
    private func chooseAway(_ fault: inout LogFault) {
        guard
            let voters = self.nodes.first(where: { $0.daemon?.supervisor.consensus.isLeader == true })?.daemon?
                .supervisor.consensus.membership.voters, voters.contains(fault.victim), voters.count >= 3
        else { return }
        var others = voters.filter { $0 != fault.victim }
        for place in others.indices.reversed() {
            others.swapAt(place, Int(self.memoryRandom.below(UInt64(place) + 1)))
        }
        let staying = voters.count / 2
        fault.holders = Array(others.prefix(staying))
        fault.absent = Array(others.dropFirst(staying))
        fault.isPowerLoss = self.memoryRandom.chance(perMille: 400)
    }

    private func leave(_ away: [NodeID], _ fault: LogFault) {
        for id in away {
            let node = self.node(id)
            if fault.isPowerLoss { self.powerOff(node) }
            for other in self.nodes where !away.contains(other.id) {
                self.network.cut(from: id, to: other.id)
                self.network.cut(from: other.id, to: id)
            }
        }
    }

    private func comeBack() {
        self.healLines()
        for node in self.nodes where !node.isOn { self.powerOn(node) }
    }

    func go(on fault: LogFault, _ stage: LogFault.Stage) {
        let victim = self.node(fault.victim)
        switch stage {
        case .wish: self.operate(.want(Self.quickGroup, isRunning: true))
        case .loss:
            guard self.now < self.options.length.nanoseconds else { return self.comeBack() }
            // Only a log that nobody touched since is the one that the fault was chosen for.
            if victim.isOn, victim.daemon != nil, self.leavesMajority(victim) { self.lose(victim, fault) }
            self.comeBack(but: fault)
            self.leave(fault.holders, fault)
            let length: (Span, Span) = fault.holders.isEmpty ? (.seconds(1), .seconds(2)) : (.seconds(5), .seconds(15))
            let span = self.memoryRandom.span(length.0, length.1)
            self.queue.add(.logFault(fault, .end), at: self.now + span.nanoseconds)
        case .back:
            if fault.isReboot {
                self.powerOn(victim)
            } else if victim.isOn, victim.daemon == nil {
                self.startDaemon(victim)
            }
            guard fault.isStartedTwice else { return }
            let pause = self.memoryRandom.span(.milliseconds(5), .seconds(3))
            self.queue.add(.logFault(fault, .again), at: self.now + pause.nanoseconds)
        case .again:
            guard victim.isOn, victim.daemon != nil else { return }
            self.stopDaemon(victim)
            self.queue.add(.restartDaemon(victim.id, boot: victim.boot), at: self.now + 50_000_000)
        case .end: self.comeBack()
        }
    }

    private func lose(_ victim: SimulatedNode, _ fault: LogFault) {
        self.note("\(victim.name) loses its log")
        // A frame that was written less than a second ago cannot be told from a torn one. (docs/disk.md)
        let isSealed = victim.sealAt == .max
        if fault.isReboot { self.powerOff(victim) } else { self.stopDaemon(victim) }
        if let copy = fault.copy {
            victim.disk = copy.disk.fork()
            victim.disk.crash(random: &self.memoryRandom)
        } else if fault.isDamage, isSealed {
            if fault.isAtEnd { self.damageEnd(of: victim) } else { victim.disk.damageLog("log", &self.memoryRandom) }
        } else {
            victim.disk.emptyLog()
        }
        victim.mayLoseLog = true
        // Damage to a log at rest is seen: all that was there still is, or nothing of it is used. (Rule C8)
        if !(fault.isDamage && isSealed) { self.checkers[model: victim.id].harmed(victim.id) }
        if !fault.keepsRunDirectory { victim.progress = nil }
        let pause = self.memoryRandom.span(.milliseconds(100), .seconds(3))
        self.queue.add(.logFault(fault, .back), at: self.now + pause.nanoseconds)
    }

    private func comeBack(but fault: LogFault) {
        self.healLines()
        for id in fault.absent where !self.node(id).isOn { self.powerOn(self.node(id)) }
    }
}
