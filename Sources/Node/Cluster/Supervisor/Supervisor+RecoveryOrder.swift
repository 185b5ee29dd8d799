import Basis
import Raft

/// The node on which a recovery was asked for leads the survivors through it. (Rules R2, R3)
extension Supervisor {
    /// Why the order cannot be carried out; nil if it can.
    private func objection(to order: RecoveryOrder, at now: Tick) -> String? {
        if !self.recovering.attempts.isEmpty { return "a recovery is under way here already" }
        if self.consensus.hasFailedDisk { return "the disk of this node's log has failed" }
        if self.state.clusterID == 0 { return "this node does not know the cluster yet" }
        if let leader = self.leaderHeard(at: now) {
            return "\(self.state.name(of: leader)) leads: a majority is alive, and nothing is to be recovered"
        }
        if let stranger = order.dead.first(where: { self.state.node($0) == nil }) {
            return "there is no node \(stranger)"
        }
        if order.dead.contains(self.identity.node) { return "this node is not dead" }
        // Who has turned away from it after an earlier order is no part of it any more.
        let membership = self.consensus.outline.membership
        let isPart = { (node: NodeID) -> Bool in !order.dead.contains(node) && !order.prepared.contains(node) }
        if !self.isRecoveryUnfinished, !self.recovering.isOvertaken, membership.hasMajority(where: isPart) {
            return "those that are not given up are a majority: start their daemons, and they elect a leader"
        }
        return nil
    }

    /// Leaves a lost majority behind.
    mutating func recover(
        _ order: RecoveryOrder, for client: UInt64, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        if let objection = self.objection(to: order, at: now) {
            return effects.append(
                .reply(id: client, .applied(.refused(.unfit(objection)), at: self.state.appliedIndex)))
        }
        let survivors = self.state.nodes.map(\.id).filter { !order.dead.contains($0) }
        let number = max(self.recovering.highestNumber, order.above) + 1
        let plan = RecoveryPlan(
            generation: Generation(number: number, recovery: order.recovery), base: self.logBase.generation,
            coordinator: self.identity.node, survivors: survivors, dead: order.dead, statement: order.statement,
            startsGroups: order.startsGroups)
        self.recovering.plan = plan
        self.recovering.attempts = [
            Recovering.Attempt(plan: plan, client: client, phase: .preparing(until: now + Recovering.patience))
        ]
        effects.append(.generation(self.preparedRecord(plan.generation)))
        self.schedule.isUnsettled = true
    }

    /// A survivor has turned away from the old generation.
    mutating func prepared(_ generation: Generation, _ word: SurvivorWord, _ node: NodeID) {
        guard let attempt = self.recovering.attempts.first, attempt.plan.generation == generation,
            attempt.plan.survivors.contains(node), !attempt.words.contains(where: { $0.node == node })
        else { return }
        self.recovering.attempts[0].words.append(Surveyed(node: node, word: word))
        self.recovering.attempts[0].nextSendAt = .zero
    }

    /// It cannot go on.
    mutating func fail(_ generation: Generation, _ reason: String, into effects: inout [SupervisorEffect]) {
        guard let attempt = self.recovering.attempts.first, attempt.plan.generation == generation else { return }
        self.recovering.attempts = []
        let refusal = Refusal.unfit("\(reason). Nothing was recovered; what has prepared waits for the next order")
        effects.append(.reply(id: attempt.client, .applied(.refused(refusal), at: self.state.appliedIndex)))
    }

    mutating func settleRecovery(at now: Tick, into effects: inout [SupervisorEffect]) {
        self.recovering.follow(self.state.base)
        self.settleAbstention(at: now, into: &effects)
        if self.recovering.isUnwritten { effects.append(.generation(self.recovering.record)) }
        guard !self.recovering.surveys.isEmpty || !self.recovering.attempts.isEmpty else { return }
        for survey in self.recovering.surveysDone(at: now) {
            let words = survey.words.sorted { $0.node < $1.node }
            effects.append(.reply(id: survey.client, .surveyed(words)))
        }
        guard let attempt = self.recovering.attempts.first else { return }
        if self.state.base == attempt.plan.generation {
            self.recovering.attempts = []
            effects.append(.reply(id: attempt.client, .applied(.accepted, at: self.state.appliedIndex)))
        } else if now >= attempt.nextSendAt {
            self.recovering.attempts[0].nextSendAt = now + Recovering.pause
            self.goOn(attempt, at: now, into: &effects)
        }
    }

    private mutating func goOn(
        _ attempt: Recovering.Attempt, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        let (plan, words) = (attempt.plan, attempt.words)
        switch attempt.phase {
        case .preparing(let until):
            let missing = plan.survivors.filter { survivor in !words.contains { $0.node == survivor } }
            guard !missing.isEmpty else {
                // Rule R3: a lease that any of them has renewed ends within this time.
                let wait = words.map(\.word.wait).max() ?? .zero
                self.recovering.attempts[0].phase = .waiting(until: now + wait)
                self.recovering.attempts[0].nextSendAt = now + wait
                return
            }
            guard now < until else {
                let names = missing.map { self.state.name(of: $0) }.joined(separator: ", ")
                return self.fail(
                    plan.generation, "\(names) did not answer: start the daemon there, or give it up too",
                    into: &effects)
            }
            self.send(.prepare(plan), to: missing, at: now, into: &effects)
        case .waiting(let until):
            guard now >= until, let chosen = Self.longest(words, plan.coordinator) else { return }
            let phase = Recovering.Attempt.Phase.executing(chosen, until: now + Recovering.executionPatience)
            self.recovering.attempts[0].phase = phase
            self.send(.execute(plan, above: Self.latest(words)), to: [chosen], at: now, into: &effects)
        case .executing(let chosen, let until):
            guard now < until else {
                return self.fail(
                    plan.generation, "\(self.state.name(of: chosen)), which has the longest log, does not begin",
                    into: &effects)
            }
            self.send(.execute(plan, above: Self.latest(words)), to: [chosen], at: now, into: &effects)
        }
    }

    /// The latest term that any of them knows.
    private static func latest(_ words: [Surveyed]) -> Term { words.map(\.word.term).max() ?? .zero }

    /// Whose log holds all that any survivor's holds; the coordinator's if others are no longer. (Rule R2, Raft §5.4.1)
    private static func longest(_ words: [Surveyed], _ coordinator: NodeID) -> NodeID? {
        guard let last = words.map(\.word.last).max() else { return nil }
        let longest = words.filter { $0.word.last == last }.map(\.node)
        return longest.contains(coordinator) ? coordinator : longest.min()
    }

    /// To the others by a message, to this node at once.
    private mutating func send(
        _ message: RecoveryMessage, to nodes: [NodeID], at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        for node in nodes {
            if node == self.identity.node {
                self.take(message, from: node, at: now, into: &effects)
            } else {
                self.tell(message, to: node, into: &effects)
            }
        }
    }
}
