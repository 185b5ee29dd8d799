import Basis
import Raft
import Resources

/// What only the leader decides: who is silent, who is lost, and what runs where.
extension Supervisor {
    mutating func settleLeader(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard self.applied.unreadable == nil, self.leadership?.isDue(self.state.appliedIndex, at: now) == true else {
            return
        }
        let own = Leadership.Report(voter: self.identity.node, receivedAt: now, lines: self.reportLines(at: now))
        self.leadership?.begin(
            own, detection: self.state.policy.timing.detection, nextReportAt: self.voting.nextReportAt, at: now)
        // Votes and the plan follow from the applied state alone; now and then they are looked at anew, because what
        // was asked for may have been lost.
        let isNew = self.leadership?.plannedAt != self.state.appliedIndex
        if self.leadership?.areVotesDue(isNew: isNew, at: now) == true {
            self.decideMembership(at: now, into: &effects)
            self.decideExpulsions(at: now, into: &effects)
        }
        self.decideLives(at: now, into: &effects)
        self.planIfDue(isNew: isNew, at: now, into: &effects)
    }

    private mutating func planIfDue(isNew: Bool, at now: Tick, into effects: inout [SupervisorEffect]) {
        guard let due = self.leadership?.planDue(isNew: isNew, self.state, at: now) else { return }
        self.endBans(at: now, into: &effects)
        if due { self.decidePlan(at: now, into: &effects) }
        self.leaveDrainedLeadership(at: now, into: &effects)
        self.preferLeader(at: now, into: &effects)
    }

    // MARK: Silence

    private mutating func decideLives(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard
            self.leadership?.isSomebodySilent == true || self.state.nodes.isAnySuspected
                || self.peers.acquaintances.isAnyForgetful
                || self.state.nodes.contains(where: { $0.isRetiring || $0.twins.isOpen })
        else { return }
        let timing = self.state.policy.timing
        let membership = self.consensus.outline.membership
        // Rule L5: a voter reports before it has applied the last membership entry, and a new one was never asked. So
        // nothing is decided while that entry is open, and no time from before it counts.
        guard self.applied.membershipIndex >= self.consensus.outline.membershipIndex else { return }
        let settled = now.since(self.voting.voter.membershipChangedAt)
        for (record, isOut) in self.talkedAbout(at: now) {
            let command = self.leadership?.verdict(
                on: record, isOut: isOut,
                isPauseExpected: self.state.isPauseExpected(of: record, at: self.clusterTime(at: now)), membership,
                timing, settled: settled, at: now)
            if let command { self.request(command, at: now, into: &effects) }
        }
    }

    /// The nodes about which there is something to decide, and whether the life of each is to end although it is heard.
    private func talkedAbout(at now: Tick) -> [(record: ClusterState.NodeRecord, isOut: Bool)] {
        var found: [(record: ClusterState.NodeRecord, isOut: Bool)] = []
        for place in self.state.nodes.indices where self.isTalkedAbout(self.state.nodes[place]) {
            found.append((self.state.nodes[place], self.isOut(self.state.nodes[place], at: now)))
        }
        return found
    }

    /// Whether there is anything to decide about a node: a voter reports it, or a suspicion of it is open.
    private func isTalkedAbout(_ record: ClusterState.NodeRecord) -> Bool {
        if case .suspected = record.standing { return true }
        if record.isRetiring || record.twins.isOpen { return true }
        return self.hasEvidence(against: record.id) || self.leadership?.isReported(record.id) == true
    }

    // MARK: Plan

    private mutating func decidePlan(at now: Tick, into effects: inout [SupervisorEffect]) {
        // Cluster time stands still between commands, and a report that was not repeated must be seen to grow old.
        let observation = self.state.observation(at: self.clusterTime(at: now))
        let plan = Planner.plan(policy: self.state.policy, observation: observation)
        self.leadership?.planned(plan)
        for action in plan.actions {
            guard let record = self.state.group(action.group) else { continue }
            switch action.step {
            case .assign(let group, let node, let isTakeover):
                guard let owner = self.state.node(named: node) else { continue }
                self.request(
                    .assign(
                        group, owner.id, owner.incarnation, replacing: record.epoch, isTakeover: isTakeover,
                        reason: action.reason),
                    at: now, into: &effects)
            case .release(let group, _, let target):
                self.request(
                    .release(
                        group, record.epoch, target: target.flatMap { self.state.node(named: $0)?.id },
                        reason: action.reason),
                    at: now, into: &effects)
            case .park(let group):
                self.request(
                    .park(group, record.epoch, seenAt: self.state.appliedIndex, reason: action.reason), at: now,
                    into: &effects)
            case .wait, .keep:
                continue
            }
        }
    }

    /// A failure bans its node for the group's window for restarts, by cluster time.
    private mutating func endBans(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard self.state.groups.contains(where: { !$0.bans.isEmpty }) else { return }
        let cluster = self.clusterTime(at: now)
        for record in self.state.groups where !record.bans.isEmpty {
            guard let policy = self.state.policy.group(record.name) else { continue }
            for ban in record.bans where ban.since + policy.restartWindow.milliseconds <= cluster {
                self.request(.forgive(record.name, ban.node, since: ban.since), at: now, into: &effects)
            }
        }
    }

    /// Milliseconds of cluster time while this node leads: it advances with its boot clock and never goes back.
    func clusterTime(at now: Tick) -> UInt64 {
        max(self.state.clusterMilliseconds, self.leadership?.clusterTime(at: now) ?? 0)
    }

    /// Whether a pause of this node was announced. (Rule L22)
    package func isPauseExpected(of record: ClusterState.NodeRecord, at now: Tick) -> Bool {
        self.state.isPauseExpected(of: record, at: self.clusterTime(at: now))
    }

    private mutating func leaveDrainedLeadership(at now: Tick, into effects: inout [SupervisorEffect]) {
        let time = self.clusterTime(at: now)
        guard let me = self.me, me.leavesLeadership || self.state.isPauseExpected(of: me, at: time) else { return }
        self.handLeadershipOver(at: now, into: &effects) { [state = self.state] candidate in
            !candidate.leavesLeadership && !state.isPauseExpected(of: candidate, at: time)
        }
    }

    // MARK: Forwarded commands

    mutating func proposeForwarded(
        _ command: LogCommand, from node: NodeID, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard self.applied.unreadable == nil, self.leadership?.hasApplied(upTo: self.state.appliedIndex) == true else {
            return
        }
        if let objection = self.objection(to: command, from: node) ?? self.raiseObjection(command.command, at: now) {
            effects.append(.note(.refusedCommand(from: node, objection)))
            return
        }
        // Rule E5: it asks again and again, and a person is asked for by then.
        if case .admit(let subject, let bootID, _) = command.command,
            self.state.node(subject)?.twinObjection(toBoot: bootID) != nil
        {
            return
        }
        if case .admit(let subject, let bootID, let mark) = command.command,
            self.mayStillLive(subject, otherThan: bootID, mark, at: now, into: &effects)
        {
            return
        }
        // Asked again because its answer is late: it is on its way.
        let key = Leadership.RequestKey(command)
        guard self.leadership?.proposed.contains(key) == false else { return }
        var stamped = command
        stamped.clusterMilliseconds = self.clusterTime(at: now)
        stamped.wallMilliseconds = self.wallMilliseconds
        if self.propose(stamped, at: now, into: &effects) { self.leadership?.proposed.insert(key) }
    }

    /// Why the leader does not propose a command that this node handed over. The link says who that is.
    private func objection(to command: LogCommand, from node: NodeID) -> Refusal? {
        guard command.origin == node else {
            return .unauthorised("it speaks for \(self.state.name(of: command.origin))")
        }
        if command.command.authority == .leader, node != self.identity.node {
            return .unauthorised("only the leader decides that")
        }
        return self.state.objection(to: command.command, from: node)
    }

    /// Rule E3: whether another life of the node is not over yet. Whoever asks for a new one then asks again.
    private func mayStillLive(
        _ node: NodeID, otherThan bootID: String, _ mark: StartMark, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) -> Bool {
        guard let record = self.state.node(node), record.bootID != bootID, record.standing != .never,
            record.standing != .lost
        else { return false }
        let isHeard =
            self.voting.voter.lastHeard(node) != nil
            && self.voting.voter.silence(of: node, at: now) < self.state.policy.timing.renewalInterval * 2
        // The later start of the same log is let in without a new life. (Rule E2.5)
        if !isHeard, record.mark.isBefore(mark) { return false }
        effects.append(.note(isHeard ? .twoLives(node) : .awaitsEndOfLife(node)))
        return true
    }
}
