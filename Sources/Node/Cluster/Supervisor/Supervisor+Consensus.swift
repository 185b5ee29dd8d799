import Basis
import Mirror
import Raft
import Resources

/// The log: messages in, entries out.
extension Supervisor {
    mutating func consensusStep(
        _ input: Consensus.Input, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        let version = self.consensus.outline.logVersion
        self.consensus.step(input, at: now, into: &self.raftEffects)
        if self.consensus.outline.logVersion != version { self.schedule.isUnsettled = true }
        if self.raftEffects.areMessagesOnly {
            // Heartbeats and their answers: most steps by far.
            if !self.raftEffects.messagesNow.isEmpty {
                // Lent out, so that nothing is copied.
                var messages: [Outbound] = []
                swap(&messages, &self.raftEffects.messagesNow)
                for place in messages.indices {
                    self.send(.raft(messages[place].message), to: messages[place].to, at: now, into: &effects)
                }
                messages.drop()
                swap(&messages, &self.raftEffects.messagesNow)
            }
            self.noteLeader(at: now)
            return
        }
        // The buffer is lent out, so that a nested step gets one of its own and no copy is made.
        var raft = Raft.Effects()
        swap(&raft, &self.raftEffects)
        self.perform(&raft, at: now, into: &effects)
        raft.removeAll()
        swap(&raft, &self.raftEffects)
    }

    /// Proposes as leader. False when this node does not lead.
    mutating func propose(_ command: LogCommand, at now: Tick, into effects: inout [SupervisorEffect]) -> Bool {
        if self.recovering.isOvertaken { return false }
        var raft = Raft.Effects()
        let mark = self.consensus.propose(command.encoded, at: now, into: &raft)
        self.perform(&raft, at: now, into: &effects)
        return mark != nil
    }

    private mutating func perform(
        _ raft: inout Raft.Effects, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        for note in raft.notes { effects.append(.note(.consensus(note))) }
        if !raft.violations.isEmpty { self.accuse(raft.violations, at: now, into: &effects) }
        for outbound in raft.messagesNow {
            self.send(.raft(outbound.message), to: outbound.to, at: now, into: &effects)
        }
        if let request = raft.persist {
            effects.append(.persist(request))
        } else if !raft.messagesAfterPersist.isEmpty {
            effects.append(.barrier)
        }
        for outbound in raft.messagesAfterPersist {
            self.send(.raft(outbound.message), to: outbound.to, at: now, into: &effects)
        }
        if let snapshot = raft.keep { self.keep(snapshot, into: &effects) }
        if let snapshot = raft.installed { self.install(snapshot, at: now, into: &effects) }
        for entry in raft.committed { self.apply(entry, at: now, into: &effects) }
        for read in raft.reads { self.readReady(read.id, read.index, at: now, into: &effects) }
        if raft.installed != nil || !raft.committed.isEmpty || !raft.reads.isEmpty { self.schedule.isUnsettled = true }
        self.noteLeader(at: now)
        if !raft.committed.isEmpty { self.leadership?.nextPlanAt = now }
        self.compactIfLong(at: now, into: &effects)
    }

    private mutating func apply(_ entry: Entry, at now: Tick, into effects: inout [SupervisorEffect]) {
        guard entry.mark.index > self.state.appliedIndex, self.applied.unreadable == nil else { return }
        self.applied.term = entry.mark.term
        switch entry.payload {
        case .empty:
            self.state.skip(to: entry.mark.index)
            self.requests.askAgain(at: now)
        case .membership(let membership):
            self.state.skip(to: entry.mark.index)
            self.applied.membership = membership
            self.applied.membershipIndex = entry.mark.index
            self.voting.voter.membershipChanged(at: now)  // Rule L5.
        case .command(let bytes):
            let command: LogCommand
            do { command = try LogCommand(decoding: bytes) } catch {
                return self.stopApplying("entry \(entry.mark)", error, at: now, into: &effects)
            }
            // Rule U2: what follows may be what this release cannot do.
            if case .raise(let level, _) = command.command, level > self.identity.release.level {
                let error = CodecError.foreignLevel(level, own: self.identity.release)
                return self.stopApplying("entry \(entry.mark)", error, at: now, into: &effects)
            }
            self.leadership?.applied(command)
            let outcome = self.state.apply(command, at: entry.mark.index, term: entry.mark.term)
            self.applied.at = now
            self.groups.changes.add(command.command, touched: self.state.touched.names)
            self.state.touched.names.removeAll()
            self.derive()
            // What was refused before this daemon began was told then.
            if case .refused(let refusal) = outcome, self.birth.isCaughtUp, refusal.isNews {
                effects.append(.note(.refused(entry.mark.index, refusal)))
            }
            self.applied(command, outcome, at: entry.mark.index, now, into: &effects)
        }
    }

    private mutating func applied(
        _ entry: LogCommand, _ outcome: Outcome, at index: LogIndex, _ now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        if outcome == .accepted {
            switch entry.command {
            case .admit(let node, let bootID, _):
                // Not when only a new start of its log was let in.
                if self.state.node(node)?.bootID == bootID { self.voting.voter.admitted(node, at: now) }
            case .confirmStopped(let group, let node, _): self.confirmedStopped(group, on: node, into: &effects)
            case .leaves(let volume, _, _, _), .joins(let volume, _, _, _, _), .opens(let volume, _, _, _, _),
                .copy(let volume, _, _, _, _, _, _), .lacks(let volume, _, _, _), .yields(let volume, _, _):
                self.inSyncChanged(volume, into: &effects)
            case .configure, .expel, .replaceNode, .recovered:
                for volume in self.state.volumes { self.inSyncChanged(volume.name, into: &effects) }
            case .compare(let volume):
                if self.state.volume(volume)?.owner == self.identity.node {
                    effects.append(.volume(volume, .resyncAll))
                }
            default: break
            }
        }
        self.resolve(entry, outcome, at: index, into: &effects)
    }

    private mutating func install(_ snapshot: Snapshot, at now: Tick, into effects: inout [SupervisorEffect]) {
        do {
            self.state = try self.stateOf(snapshot)
        } catch {
            return self.stopApplying("snapshot \(snapshot.mark)", error, at: now, into: &effects)
        }
        self.applied.at = now
        self.groups.changes.addEverything()
        self.derive()
        self.applied.term = snapshot.mark.term
        self.applied.membership = snapshot.membership
        self.applied.membershipIndex = snapshot.membershipIndex
        self.voting.voter.membershipChanged(at: now)
        for record in self.state.nodes { self.voting.voter.admitted(record.id, at: now) }
        for volume in self.state.volumes { self.inSyncChanged(volume.name, into: &effects) }
    }

    private mutating func noteLeader(at now: Tick) {
        if !self.consensus.outline.isLeader {
            if self.leadership != nil {
                self.leadership = nil
                self.schedule.isUnsettled = true
            }
        } else if self.leadership == nil {
            self.schedule.isUnsettled = true
            self.departure.preference.began(at: now)
            self.leadership = Leadership(
                since: now, index: self.consensus.outline.last.index,
                // What has passed here since the last entry has passed in the cluster too, also while nobody led.
                clusterMilliseconds: self.state.clusterMilliseconds + now.since(self.applied.at).milliseconds)
        }
        guard self.consensus.outline.leader != self.voting.leader else { return }
        // A new leader is told at once what this voter hears, so that detection and election overlap.
        self.voting.leader = self.consensus.outline.leader
        self.voting.nextReportAt = now
        self.schedule.isUnsettled = true
    }

    /// What an earlier life of a node's daemon said about the groups and copies there; the present one says it anew, if it
    /// is still so. (Rule L11.2)
    private func isLate(_ command: Command, from sender: NodeID, _ mark: StartMark) -> Bool {
        switch command {
        case .absent, .found, .started, .stopped, .dropped, .leaves, .joins, .opens:
            guard let place = self.state.nodes.place(of: sender) else { return false }
            return mark.isBefore(self.state.nodes[place].mark)
        default: return false
        }
    }

    /// Rule L16: one hop, and only for somebody else's message that was not relayed by another already.
    mutating func relay(
        _ envelope: Envelope, via: NodeID, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        if self.recovering.isOvertaken { return }
        guard envelope.isRelayed, via == envelope.from, !self.state.hasLeft(via),
            self.links.reachability.isGood(envelope.to, at: now)
        else {
            return
        }
        effects.append(.send(envelope, to: envelope.to))
    }

    mutating func receive(
        _ message: NodeMessage, from sender: NodeID, _ mark: StartMark, via: NodeID, isLate: Bool = false,
        at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        // Rule J6: who has left says nothing any more, to nobody.
        if self.state.hasLeft(sender) || self.state.hasLeft(via) { return }
        if via == sender {
            self.links.reachability.heard(via, at: now)
        } else if self.links.reachability.isGood(sender, at: now) {
            // Rule L16: a relay speaks only for who is cut off from here; who is not speaks for itself.
            effects.append(.note(.refusedRelay(via: via, for: sender)))
            return
        }
        guard self.counts(message, from: sender, mark, via: via, isLate: isLate, at: now, into: &effects) else {
            return
        }
        if case .raft = message, self.peers.isDistrusted(sender, mark) { return }
        self.peers.presentMark = mark
        self.take(message, from: sender, mark, via: via, at: now, into: &effects)
    }

    /// What counts has its effect.
    private mutating func take(
        _ message: NodeMessage, from sender: NodeID, _ mark: StartMark, via: NodeID, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        switch message {
        case .ping(let hears, let reaches):
            if via == sender { self.links.reachability.pinged(by: via, hears: hears, reaches: reaches, at: now) }
        case .raft(let message):
            self.consensusStep(.receive(from: sender, message), at: now, into: &effects)
        case .renewal(let renewal):
            guard renewal.node == sender else { return }
            self.answer(renewal, at: now, into: &effects)
        case .renewed(let renewal, let words):
            self.renewed(renewal, words, by: sender, at: now, into: &effects)
        case .notRenewed(let renewal, let reason, let words):
            self.notRenewed(renewal, reason, words, by: sender, at: now, into: &effects)
        case .voterReport(let report):
            guard self.consensus.outline.isLeader else { return }
            self.leadership?.received(report, from: sender, at: now)
            self.schedule.isUnsettled = true
        case .forward(let command):
            guard !self.isLate(command.command, from: sender, mark) else { return }
            self.proposeForwarded(command, from: sender, at: now, into: &effects)
            self.schedule.isUnsettled = true
        case .readRequest(let id):
            guard self.consensus.outline.isLeader else { return }
            self.schedule.isUnsettled = true
            self.consensusStep(.readIndex(id: Self.readID(id, of: sender)), at: now, into: &effects)
        case .readAnswer(let id, let index):
            self.readAnswered(id, index)
            self.schedule.isUnsettled = true
        case .transferRequest(let target):
            if self.consensus.outline.isLeader {
                self.schedule.isUnsettled = true
                self.consensusStep(.transferLeadership(to: target), at: now, into: &effects)
            }
        case .challenge(let noted, let nonce):
            self.challenged(noted, nonce: nonce, by: sender, at: now, into: &effects)
        case .echo(let nonce, let remembers, let admittedAt):
            self.echoed(
                nonce, remembers: remembers, admittedAt: admittedAt, by: sender, mark, at: now, into: &effects)
        case .inspect(let id, let questions):
            effects.append(.inspect(id: id, for: sender, Array(questions.prefix(InspectionQuestion.maximumCount))))
        case .inspected(let id, let answers):
            self.received(answers, to: id, from: sender, into: &effects)
        case .recovery: break
        case .summary(let summary):
            self.telling.received(summary, from: sender, isDirect: via == sender, at: now)
        case .askStandings: if via == sender { self.tellStandings(to: sender, at: now, into: &effects) }
        case .standings(let standings): self.gathered(standings, at: now, into: &effects)
        }
    }
}
