import Basis
import Raft
import Resources

/// Generations: which messages count, and how the survivors of a lost majority go on. (Rules R1 to R5)
extension Supervisor {
    /// What this node follows, and what has left it behind.
    public var generation: GenerationRecord { self.recovering.record }

    /// A recovery was begun here and is not finished: the log does not know this generation yet.
    public var isRecoveryUnfinished: Bool {
        self.recovering.generation.number > self.logBase.generation.number && !self.consensus.hasPromisedNothing
    }

    /// The last generation in the log, applied or not, and whether the membership that begins it stands there too: only with both
    /// is it begun. (Rule R5)
    var logBase: (generation: Generation, isBegun: Bool) {
        var base = (generation: self.state.base, isBegun: true)
        for entry in self.consensus.entries(after: self.state.appliedIndex) {
            switch entry.payload {
            case .empty: break
            case .membership: base.isBegun = true
            case .command(let bytes):
                guard LogCommand.isRecovery(bytes), let command = try? LogCommand(decoding: bytes),
                    case .recovered(let plan) = command.command
                else { continue }
                base = (plan.generation, false)
            }
        }
        return base
    }

    // MARK: What counts (rule R1)

    /// A message of another generation counts for nothing. What is about generations themselves does not come here.
    mutating func hearOfAnother(
        _ envelope: Envelope, via: NodeID, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        let (generation, sender) = (envelope.generation, envelope.from)
        if self.recovering.generation.isBefore(generation) {
            // Nobody holds a promise of an empty log: it follows whoever leads. Others may only have prepared for that generation,
            // and if nobody ever begins it, nobody would find this node there.
            if self.consensus.hasPromisedNothing, envelope.message.isOfLeader {
                self.adopt(generation, into: &effects)
            }
        } else if let plan = self.state.recoveries.last, plan.generation == self.recovering.generation,
            !self.state.hasLeft(via), self.recovering.isToBeTold(sender, at: now)
        {
            self.tell(.overtaken(by: plan), to: sender, into: &effects)
        }
    }

    private mutating func adopt(_ generation: Generation, into effects: inout [SupervisorEffect]) {
        effects.append(.note(.followsGeneration(generation)))
        effects.append(.generation(GenerationRecord(generation)))
    }

    /// Directly, and of any generation: these are no promises.
    func tell(_ message: RecoveryMessage, to node: NodeID, into effects: inout [SupervisorEffect]) {
        effects.append(
            .send(
                Envelope(
                    from: self.identity.node, to: node, isRelayed: false, generation: self.recovering.generation,
                    mark: self.identity.memory.present, message: .recovery(message)),
                to: node))
    }

    mutating func take(
        _ message: RecoveryMessage, from sender: NodeID, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        switch message {
        case .survey(let id): self.tell(.surveyed(id: id, self.survivorWord(at: now)), to: sender, into: &effects)
        case .surveyed(let id, let word): self.recovering.surveyed(id, Surveyed(node: sender, word: word))
        case .prepare(let plan): self.prepare(plan, at: now, into: &effects)
        case .prepared(let generation, let word): self.prepared(generation, word, sender)
        case .unprepared(let generation, let reason):
            self.fail(generation, "\(self.state.name(of: sender)) takes no part: \(reason)", into: &effects)
        case .execute(let plan, let term): self.execute(plan, above: term, at: now, into: &effects)
        case .overtaken(let plan):
            guard self.recovering.generation.isBefore(plan.generation), !self.recovering.isOvertaken,
                !self.consensus.hasPromisedNothing
            else { return }
            effects.append(.note(.overtaken(by: plan.generation, says: sender)))
            // The lease ends now, whatever the disk does: it was answered by who is not asked any more.
            self.endLease()
            effects.append(
                .generation(GenerationRecord(self.recovering.generation, overtakenBy: plan.generation)))
        }
        self.schedule.isUnsettled = true
    }

    private mutating func endLease() {
        self.lease.holder.resign(self.birth.incarnation)
        self.withdrawLease()
    }

    /// The disk says what this node follows.
    mutating func generationWritten(
        _ record: GenerationRecord, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        let before = self.recovering.record
        // Whatever it leads or asks for, it does so no more.
        if record != before { self.consensusStep(.abstain(true), at: now, into: &effects) }
        self.recovering.written(record)
        guard record != before else { return }
        self.endLease()
        // What was held until its sender had answered was said in the old one.
        for place in self.peers.acquaintances.indices { self.peers.acquaintances[place].held = [] }
        if let plan = self.recovering.plan, plan.generation == record.generation, record.overtakenBy == nil {
            effects.append(.note(.preparedFor(record.generation, askedBy: plan.coordinator)))
            self.answerPrepared(plan, at: now, into: &effects)
        }
    }

    /// Whether this node has no majority to take part in: it was left behind, or has turned away from its own and its log does
    /// not hold the next one yet. It neither asks for votes nor gives one, and answers no renewal: those that have prepared may
    /// be a majority of the old one, and another may be begun beside them. (Rules R1, R2)
    var isBetweenGenerations: Bool {
        if self.recovering.isOvertaken { return true }
        if self.recovering.generation == .first { return false }
        let base = self.logBase
        return base.generation != self.recovering.generation || !base.isBegun
    }

    /// Whether this node neither asks for votes nor gives one.
    var hasNoVoteYet: Bool { self.isBetweenGenerations || self.isLearningAnew }

    mutating func settleAbstention(at now: Tick, into effects: inout [SupervisorEffect]) {
        self.refreshTail()
        let abstains = self.hasNoVoteYet
        guard abstains != self.consensus.abstains else { return }
        self.consensusStep(.abstain(abstains), at: now, into: &effects)
    }

    // MARK: How this node stands

    /// How it stands, for a recovery.
    mutating func survivorWord(at now: Tick) -> SurvivorWord {
        SurvivorWord(
            generation: self.recovering.generation, base: self.logBase.generation, term: self.consensus.term,
            last: self.consensus.outline.last,
            committed: self.consensus.commitIndex, wait: self.longestWait(at: now),
            hasLeader: self.leaderHeard(at: now) != nil)
    }

    /// The leader that this node follows, or is, if it was heard a moment ago. A node without a vote goes on following one that
    /// is dead.
    func leaderHeard(at now: Tick) -> NodeID? {
        guard let seen = self.leaderSeen(at: now), now.since(seen) < self.consensus.patience else {
            return nil
        }
        return self.consensus.outline.leader
    }

    /// How long anybody may go on by what this voter has answered, at most. (Rules R3, L5.1, L9)
    private mutating func longestWait(at now: Tick) -> Span {
        self.refreshTail()
        let timing = self.state.policy.timing
        var longest = timing.wait(forLease: timing.leaseDuration)
        for record in self.state.nodes {
            let answer = self.voting.voter.answerAge(
                of: record.id, at: now, longest: max(record.longestLease, self.voting.tail.longestLease))
            longest = max(longest, timing.wait(forLease: answer.duration, grace: record.longestGrace))
        }
        return longest
    }

    private var otherNodes: [NodeID] { self.state.nodes.map(\.id).filter { $0 != self.identity.node } }

    /// Asks everybody how they stand.
    mutating func survey(for client: UInt64, at now: Tick, into effects: inout [SupervisorEffect]) {
        let others = self.otherNodes
        self.recovering.surveys.append(
            Recovering.Survey(
                client: client, until: now + Recovering.surveyPatience, asked: others.count + 1,
                words: [Surveyed(node: self.identity.node, word: self.survivorWord(at: now))]))
        for other in others { self.tell(.survey(id: client), to: other, into: &effects) }
    }

    // MARK: A survivor (rule R2)

    /// Why this node does not prepare; nil if it does.
    private func objection(to plan: RecoveryPlan, at now: Tick) -> String? {
        if self.consensus.hasFailedDisk { return "the disk of its log has failed" }
        let base = self.logBase.generation
        if plan.base != base {
            return "its log knows generation \(base.number), and that of the node where this was asked for knows "
                + "\(plan.base.number): ask where the later one is known, and give up who does not know it; it comes back with "
                + "`holdfast cluster rejoin`"
        }
        let follows = self.recovering.highestNumber
        if plan.generation.number <= follows { return "it knows of generation \(follows) already; ask once more" }
        if let leader = self.leaderHeard(at: now) {
            return "it follows \(self.state.name(of: leader)), so a majority is alive"
        }
        return plan.survivors.contains(self.identity.node) ? nil : "it is not among the survivors that were named"
    }

    private mutating func prepare(_ plan: RecoveryPlan, at now: Tick, into effects: inout [SupervisorEffect]) {
        if plan.generation == self.recovering.generation {
            return self.answerPrepared(plan, at: now, into: &effects)
        }
        if let objection = self.objection(to: plan, at: now) {
            return self.tell(
                .unprepared(plan.generation, reason: objection), to: plan.coordinator, into: &effects)
        }
        self.recovering.plan = plan
        effects.append(.generation(self.preparedRecord(plan.generation)))
    }

    /// What the disk is to say before this node tells that it has prepared.
    func preparedRecord(_ generation: Generation) -> GenerationRecord {
        GenerationRecord(generation, preparedWith: self.identity.memory.present.directory)
    }

    /// Rule R2: the end of the log is told once the disk holds all of it. Whatever was acknowledged before lies in it, and nothing
    /// of the old generation is taken any more.
    private mutating func answerPrepared(
        _ plan: RecoveryPlan, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard self.consensus.durableIndex >= self.consensus.outline.last.index, !self.recovering.isOvertaken else {
            return
        }
        let word = self.survivorWord(at: now)
        if plan.coordinator == self.identity.node {
            self.prepared(plan.generation, word, plan.coordinator)
        } else {
            self.tell(.prepared(plan.generation, word), to: plan.coordinator, into: &effects)
        }
    }

    /// Rule R5: this node has the longest log, and begins. Asked again, it does not: what it began may have gone on with others,
    /// and the log, not what was applied of it, remembers that over a crash. Half of it, after a crash, is begun anew.
    private mutating func execute(
        _ plan: RecoveryPlan, above term: Term, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        let base = self.logBase
        guard plan.generation == self.recovering.generation, !self.recovering.isOvertaken,
            !self.consensus.outline.isLeader, base.generation != plan.generation || !base.isBegun
        else { return }
        effects.append(.note(.beginsGeneration(plan.generation)))
        let entry = LogCommand(
            origin: self.identity.node, nonce: self.identity.nonce, sequence: 0,
            clusterMilliseconds: self.state.clusterMilliseconds + now.since(self.applied.at).milliseconds,
            wallMilliseconds: self.wallMilliseconds, command: .recovered(plan))
        self.consensusStep(.recover(entry.encoded, learners: self.otherNodes, above: term), at: now, into: &effects)
    }

    /// Its log is empty, and nobody leads in the generation that it follows: perhaps nobody ever began it.
    public func isAstray(at now: Tick) -> Bool {
        self.recovering.generation.number > self.logBase.generation.number && self.consensus.hasPromisedNothing
            && self.leaderHeard(at: now) == nil
    }

    /// This node comes back with an empty log. (Rule R1)
    mutating func rejoin(for client: UInt64, at now: Tick, into effects: inout [SupervisorEffect]) {
        guard let overtaker = self.recovering.record.overtakenBy else {
            if self.isRecoveryUnfinished || self.isAstray(at: now) {
                // The majority is back, and nobody began the new generation: what this one promised in the old one is forgotten.
                effects.append(.reply(id: client, .handedOn))
                effects.append(.generation(GenerationRecord(self.logBase.generation)))
                return self.forget("a recovery that was begun here never ended, and it is to come back", into: &effects)
            }
            let refusal = Refusal.unfit("this node was not left behind: there is nothing to come back from")
            return effects.append(.reply(id: client, .applied(.refused(refusal), at: self.state.appliedIndex)))
        }
        effects.append(.reply(id: client, .handedOn))
        self.forget("it was left behind by generation \(overtaker.number), and is to come back", into: &effects)
    }
}

extension NodeMessage {
    /// Only who leads says this: in the generation that it is of somebody leads, so it has begun.
    var isOfLeader: Bool {
        guard case .raft(let message) = self else { return false }
        switch message.body {
        case .append, .heartbeat, .snapshotChunk: return true
        default: return false
        }
    }
}
