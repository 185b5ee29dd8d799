import Basis
import Raft
import Resources

/// Both sides of the lease, links, and the node's own birth.
extension Supervisor {
    // MARK: Links

    mutating func settlePeers(into effects: inout [SupervisorEffect]) {
        let isCurrent = self.birth.isCaughtUp
        guard !self.links.haveSettled(self.state.appliedIndex, isCurrent: isCurrent) else { return }
        if let roll = self.links.settle(self.state, of: self.identity.node, isCurrent: isCurrent) {
            effects.append(.peers(roll))
        }
    }

    /// After the renewals, which make most pings superfluous.
    mutating func settleLinks(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard self.links.reachability.isPingDue(at: now) else { return }
        self.noteLeaderHeard(at: now)
        guard let ping = self.links.reachability.pingDue(to: self.circle(at: now), at: now) else { return }
        let message = NodeMessage.ping(hears: ping.word.hears, reaches: ping.word.reaches)
        for peer in ping.to {
            effects.append(.send(self.envelope(message, to: peer, isRelayed: false, at: now), to: peer))
        }
    }

    // MARK: Holder

    /// Whether groups of this life may run now. (Rule L1)
    public func hasLease(at now: Tick) -> Bool {
        self.lease.holds(for: self.birth.incarnation, grace: self.state.policy.timing.leaseGrace, at: now)
    }

    /// The clocks have parted, and no renewal sent since was answered by a majority: nothing starts. (Rule L20)
    public var isInDoubt: Bool { self.lease.isInDoubt }

    /// What the guard took down while the clocks had parted comes back. (Rule L20)
    private mutating func settleDoubt(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard let isInDoubt = self.lease.settleDoubt() else { return }
        effects.append(
            .note(isInDoubt ? .clocksParted : .doubtEnded))
        guard !isInDoubt, self.hasLease(at: now) else { return }
        for runner in self.groups.runners {
            self.stepRunner(runner.name, runner.epoch, .readdress, at: now, into: &effects)
        }
    }

    mutating func settleLeases(at now: Tick, into effects: inout [SupervisorEffect]) {
        let timing = self.state.policy.timing
        if let renewal = self.lease.holder.renewalDue(
            incarnation: self.birth.incarnation, duration: timing.leaseDuration, interval: timing.renewalInterval,
            membershipIndex: self.consensus.outline.membershipIndex, at: now, slack: Self.timerSlack)
        {
            let message = NodeMessage.renewal(renewal)
            for voter in self.consensus.outline.membership.allVoters {
                if voter == self.identity.node {
                    self.answer(renewal, at: now, into: &effects)
                } else {
                    self.send(message, to: voter, at: now, into: &effects)
                }
            }
        }
        self.publishLease(at: now, into: &effects)
        self.settleDoubt(at: now, into: &effects)
        self.reportSilence(at: now, into: &effects)
    }

    mutating func renewed(
        _ renewal: Renewal, _ words: [ElapsedWord], by voter: NodeID, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        self.heard(words, of: renewal, by: voter, at: now, into: &effects)
        let isLonger = self.lease.holder.answered(
            renewal, by: voter, membership: self.consensus.outline.membership,
            membershipIndex: self.consensus.outline.membershipIndex)
        guard isLonger else { return }
        if self.lease.wasValid, self.hasLease(at: now) {
            self.publishLease(at: now, into: &effects)
        } else {
            self.schedule.isUnsettled = true
        }
    }

    private mutating func publishLease(at now: Tick, into effects: inout [SupervisorEffect]) {
        let isValid = self.lease.holds(
            for: self.birth.incarnation, grace: self.state.policy.timing.leaseGrace, at: now)
        let (end, isChanged) = self.lease.settle(isValid: isValid, at: now)
        if let end {
            effects.append(
                .lease(
                    end: end, self.lease.holder.incarnation, grace: self.state.policy.timing.leaseGrace,
                    sentAt: self.lease.holder.sentAt))
        }
        guard isChanged else { return }
        effects.append(.note(isValid ? .leaseHeld(until: self.lease.holder.end) : .leaseEnded))
        if !isValid { self.leaseEnded(at: now, into: &effects) }
    }

    // MARK: Voter

    /// Reads the suspicions, and the lengths of leases, in entries that are appended but not applied.
    mutating func refreshTail() {
        let version = (log: self.consensus.outline.logVersion, applied: self.state.appliedIndex)
        guard version != self.voting.tail.version else { return }
        self.voting.tail.version = version
        self.voting.tail.suspicions.removeAll(keepingCapacity: true)
        self.voting.tail.longestLease = .zero
        self.voting.tail.ownLogs.removeAll(keepingCapacity: true)
        for entry in self.consensus.entries(after: self.state.appliedIndex) {
            guard case .command(let bytes) = entry.payload else { continue }
            if let duration = LogCommand.configuredLease(bytes) {
                self.voting.tail.longestLease = max(self.voting.tail.longestLease, duration)
            }
            if LogCommand.isAdmission(bytes), let command = try? LogCommand(decoding: bytes),
                case .admit(self.identity.node, _, let mark) = command.command
            {
                self.voting.tail.ownLogs.append(mark.directory)
            }
            guard LogCommand.isSuspicion(bytes),
                let command = try? LogCommand(decoding: bytes),
                case .suspect(let node, let incarnation) = command.command
            else { continue }
            self.voting.tail.suspicions.append(
                .init(node: node, incarnation: incarnation, mark: entry.mark))
        }
    }

    mutating func answer(_ renewal: Renewal, at now: Tick, into effects: inout [SupervisorEffect]) {
        guard self.consensus.outline.membership.isVoter(self.identity.node), !self.consensus.hasFailedDisk,
            !self.consensus.abstains
        else { return }
        self.refreshTail()
        guard let place = self.state.nodes.place(of: renewal.node) else { return }
        let view = self.voting.tail.view(
            ofNodeAt: place, in: self.state.nodes, membershipIndex: self.consensus.outline.membershipIndex)
        // Rule E2.5: who asks may not know this start yet, and this voter may have forgotten a suspicion.
        guard self.birth.isMarkAdmitted else {
            self.voting.voter.hear(renewal, view: view, at: now)
            return
        }
        if let reason = self.voting.voter.receive(renewal, view: view, at: now) {
            // Rule L18: who is not answered is told so at once, each time, and why.
            let words = self.voting.voter.words(for: renewal, isRefusal: true, at: now)
            if renewal.node == self.identity.node {
                self.notRenewed(renewal, reason, words, by: self.identity.node, at: now, into: &effects)
            } else {
                self.send(.notRenewed(renewal, reason, words: words), to: renewal.node, at: now, into: &effects)
            }
            return
        }
        let words = self.voting.voter.words(for: renewal, isRefusal: false, at: now)
        self.voting.voter.note(renewal, at: now)
        if renewal.node == self.identity.node {
            self.renewed(renewal, words, by: self.identity.node, at: now, into: &effects)
        } else {
            self.send(.renewed(renewal, words: words), to: renewal.node, at: now, into: &effects)
        }
    }

    /// A voter refused. (Rules L18, L19)
    mutating func notRenewed(
        _ renewal: Renewal, _ reason: RenewalRefusal, _ words: [ElapsedWord], by voter: NodeID, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        self.heard(words, of: renewal, by: voter, at: now, into: &effects)
        guard self.lease.holder.refused(renewal, reason) else { return }
        self.withdrawLease()
        effects.append(
            .note(.lifeIsOver(says: voter)))
    }

    /// This life is over: what an earlier daemon of it wrote for the guard is withdrawn too. (Rule L18)
    mutating func withdrawLease() {
        self.lease.publishedEnd = .never
        self.schedule.isUnsettled = true
    }

    /// Rule J6: a node leaves only after its life was lost (J2), and no life follows. So whoever hears from one of the same
    /// generation that it has left has no lease from that instant, as if a voter had refused it. (Rule L18)
    mutating func shownOut(by node: NodeID, of generation: Generation?, into effects: inout [SupervisorEffect]) {
        if !self.links.shownOutBy.contains(node) { self.links.shownOutBy.append(node) }
        // The log of another generation gave its ids to others.
        guard let generation, generation == self.recovering.generation else { return }
        let isHeld = self.lease.holder.end != .zero || self.lease.holder.incarnation != .none
        self.lease.holder.resign(max(self.birth.incarnation, self.lease.holder.incarnation))
        self.withdrawLease()
        if isHeld { effects.append(.note(.lifeIsOver(says: node))) }
    }

    private mutating func heard(
        _ words: [ElapsedWord], of renewal: Renewal, by voter: NodeID, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        guard !words.isEmpty, renewal.nonce == self.identity.nonce else { return }
        for word in words
        where self.lease.holder.heard(
            word, partsPerMillion: self.state.policy.timing.clockRateErrorPartsPerMillion, at: now)
        {
            self.schedule.isUnsettled = true
            effects.append(.note(.moreTimePassed(says: voter, end: self.lease.holder.end)))
        }
    }

    /// What this voter hears of the others. (Rules L5, L7)
    mutating func reportLines(at now: Tick) -> [VoterReport.Line] {
        // Rule L5.2: what a failed disk does not hold is no promise any more, and cannot be told from one.
        guard self.consensus.outline.membership.isVoter(self.identity.node), !self.consensus.hasFailedDisk else {
            return []
        }
        self.refreshTail()
        let detection = self.state.policy.timing.detection
        var lines: [VoterReport.Line] = []
        for place in self.state.nodes.indices {
            let silence = self.voting.voter.silence(of: self.state.nodes[place].id, at: now)
            guard
                silence > detection || self.state.nodes[place].standing != .trusted
                    || !self.voting.tail.suspicions.isEmpty
            else { continue }
            let record = self.state.nodes[place]
            // Of an earlier life of its own machine a voter knows what any other does: it may have answered it just before
            // it went down. (Rule E3)
            let isMyLife = record.id == self.identity.node && record.bootID == self.identity.bootID
            guard !isMyLife, record.standing != .never, record.standing != .lost else { continue }
            // Rule L5.2: not before the suspicion is durable here. Rule E2.5: nor before the log has admitted this start
            // of its own.
            let suspicion = self.voting.tail.suspicion(ofNodeAt: place, in: self.state.nodes).flatMap { mark in
                mark.index <= self.consensus.durableIndex ? mark : nil
            }.flatMap { self.birth.isMarkAdmitted ? $0 : nil }
            guard silence > detection || suspicion != nil else { continue }
            // Rule L5.1: a suspicion in this log has every configuration before it that a renewal can rest on.
            let answer = self.voting.voter.answerAge(
                of: record.id, at: now, longest: max(record.longestLease, self.voting.tail.longestLease))
            lines.append(
                VoterReport.Line(
                    node: record.id, incarnation: record.incarnation, silence: silence, suspectedAt: suspicion,
                    answerAge: answer.age, answerDuration: answer.duration))
        }
        return lines
    }

    private mutating func reportSilence(at now: Tick, into effects: inout [SupervisorEffect]) {
        // A suspicion that reaches this log is answered at once.
        let version = (
            log: self.consensus.outline.logVersion, applied: self.state.appliedIndex,
            durable: self.consensus.outline.durableIndex
        )
        guard self.voting.isReportDue(version, at: now) else { return }
        let lines = self.reportLines(at: now)
        let isTold = self.voting.settle(
            lines, self.state.nodes, detection: self.state.policy.timing.detection, at: now)
        guard isTold, let leader = self.consensus.outline.leader, leader != self.identity.node else { return }
        self.send(.voterReport(VoterReport(lines: lines)), to: leader, at: now, into: &effects)
    }

    // MARK: Birth

    /// Gets this boot admitted, and the applied state up to date. (Rules L8, L10, E3, B3)
    mutating func settleBirth(at now: Tick, into effects: inout [SupervisorEffect]) {
        self.settleCatchUp(at: now, into: &effects)
        guard self.departure.since == nil, self.birth.isAdmissionDue(at: now), let me = self.me else { return }
        // After its life was declared lost, a node that was not rebooted asks for a new one only when all is dead.
        let isAllOver =
            self.groups.adoptable == nil && self.groups.remains.ending.isEmpty && self.groups.remains.all.isEmpty
            && self.groups.runners.allSatisfy(\.isEmpty)
        // Rule E5: until a person has spoken it would be refused.
        guard me.twinObjection(toBoot: self.identity.bootID) == nil else { return }
        guard isAllOver || (me.bootID == self.identity.bootID && me.standing != .lost), !self.marks.isDoubtMarkDue
        else {
            return
        }
        let isVoter = self.consensus.outline.membership.isVoter(self.identity.node)
        let command = self.birth.admission(
            of: me, as: self.identity, under: self.marks.admittable, isVoter: isVoter, at: now)
        if let command { self.request(command, at: now, into: &effects) }
    }

    /// Rule L10: nothing starts before the applied state covers an index that the leader confirmed after our start.
    private mutating func settleCatchUp(at now: Tick, into effects: inout [SupervisorEffect]) {
        let applied = self.state.appliedIndex
        switch self.birth.settle(
            applied: applied, isFounded: self.state.clusterID != 0, leader: self.consensus.outline.leader, at: now)
        {
        case nil: return
        case .caughtUp: effects.append(.note(.caughtUp(applied)))
        case .ask(let id, let leader): self.askReadIndex(id, of: leader, at: now, into: &effects)
        }
    }

    static func readID(_ id: UInt64, of node: NodeID) -> UInt64 {
        UInt64(node.rawValue) << 40 | (id & 0xFF_FFFF_FFFF)
    }

    mutating func readReady(_ id: UInt64, _ index: LogIndex, at now: Tick, into effects: inout [SupervisorEffect]) {
        let node = NodeID(UInt32(truncatingIfNeeded: id >> 40))
        let plain = id & 0xFF_FFFF_FFFF
        if node == self.identity.node {
            self.readAnswered(plain, index)
        } else {
            self.send(.readAnswer(id: plain, index: index), to: node, at: now, into: &effects)
        }
    }
}
