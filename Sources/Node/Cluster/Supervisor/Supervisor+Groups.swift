import Basis
import Mirror
import Resources

/// What runs on this node.
extension Supervisor {
    /// Starts, stops, suspends and resumes runners so that they agree with the applied state and the lease. Looks at the
    /// groups that changed; at all of them when the lease, the guard, or a life did.
    mutating func settleGroups(at now: Tick, into effects: inout [SupervisorEffect]) {
        self.settleAdoption(at: now, into: &effects)
        let hasLease = self.lease.holds(
            for: self.birth.incarnation, grace: self.state.policy.timing.leaseGrace, at: now)
        let key = LocalGroups.Key(
            hasLease: hasLease, isCaughtUp: self.birth.isCaughtUp,
            isGuarded: self.lease.isGuarded(at: now) && !self.lease.isInDoubt,
            incarnation: self.birth.incarnation)
        switch self.groups.look(key, at: now) {
        case .nothing: break
        case .everything:
            self.settleEverything(key, at: now, into: &effects)
            self.groups.looked(isCalm: self.lookCalm(), at: now)
        case .some(let names):
            for name in names {
                if let runner = self.groups.runner(named: name) {
                    self.settle(runner, hasLease, at: now, into: &effects)
                }
            }
            if key.mayStart {
                for name in names { self.startIfOwned(name, at: now, into: &effects) }
                self.searchForUnborn(among: names, at: now, into: &effects)
            }
            if key.isCaughtUp, self.groups.adoptable == nil { self.reportHoldings(at: now, into: &effects) }
            if self.groups.areCalm { self.groups.looked(isCalm: false, at: now) }
        }
        if self.groups.runnersDeadline <= now {
            for place in self.groups.runners.indices.reversed() where self.groups.runners[place].deadline <= now {
                let (name, epoch) = (self.groups.runners[place].name, self.groups.runners[place].epoch)
                self.stepRunner(name, epoch, .tick, at: now, into: &effects)
            }
            self.groups.runnersDeadline = .never
            for place in self.groups.runners.indices {
                self.groups.runnersDeadline = min(self.groups.runnersDeadline, self.groups.runners[place].deadline)
            }
        }
        self.writeFacts(into: &effects)
    }

    private mutating func settleEverything(_ key: LocalGroups.Key, at now: Tick, into effects: inout [SupervisorEffect])
    {
        for runner in self.groups.runners { self.settle(runner, key.hasLease, at: now, into: &effects) }
        if key.mayStart {
            for place in self.state.groups.indices
            where self.state.groups[place].assignment?.node == self.identity.node {
                self.startIfOwned(self.state.groups[place].name, at: now, into: &effects)
            }
            self.searchForUnborn(at: now, into: &effects)
        }
        if key.isCaughtUp, self.groups.adoptable == nil { self.reportHoldings(at: now, into: &effects) }
    }

    /// All that runs here is up, as the log knows, and no group waits to be searched for.
    private func lookCalm() -> Bool {
        let areStarted = self.groups.runners.allSatisfy { runner in
            guard runner.isUp, let record = self.state.group(runner.name), let assignment = record.assignment else {
                return false
            }
            return record.epoch == runner.epoch && assignment.isStarted && assignment.releasing == nil
        }
        return areStarted && !self.state.groups.contains { $0.epoch == .none }
            && !self.state.holdings.contains { self.isToReport($0) }
    }

    /// Rules L1, L10, L12: the committed assignment, a lease of the life it names, a state that is surely recent, and a
    /// guard that can end it.
    private mutating func startIfOwned(_ name: GroupName, at now: Tick, into effects: inout [SupervisorEffect]) {
        guard let record = self.state.group(name) else { return }
        self.groups.settledCount += 1
        guard let assignment = self.unattended(record) else { return }
        if assignment.releasing != nil || self.mayHaveRun(record.epoch) {
            self.stopUnknown(record, at: now, into: &effects)
        } else {
            self.begin(record, at: now, into: &effects)
        }
    }

    /// Whether the applied state, of which this is the group's record, says that this runner's epoch is still this node's.
    private func isMine(_ runner: GroupRunner, _ record: ClusterState.GroupRecord?) -> Bool {
        guard let record, record.epoch == runner.epoch, let assignment = record.assignment else { return false }
        return assignment.node == self.identity.node && assignment.incarnation == runner.incarnation
    }

    private mutating func settle(
        _ runner: GroupRunner, _ hasLease: Bool, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        self.groups.settledCount += 1
        let record = self.state.group(runner.name)
        if !hasLease || self.birth.incarnation != runner.incarnation {
            if runner.goal != .suspended, !runner.isFinished {
                self.stepRunner(runner.name, runner.epoch, .suspend, at: now, into: &effects)
            }
        }
        guard self.birth.isCaughtUp else { return }
        guard self.isMine(runner, record) else {
            // Its epoch is over: kill what is left, fail what the volume still holds, forget it.
            if runner.goal != .suspended, !runner.isFinished {
                self.stepRunner(runner.name, runner.epoch, .suspend, at: now, into: &effects)
            }
            if self.groups.runner(named: runner.name)?.isEmpty == true {
                for resource in runner.resources {
                    if let volume = resource.volume { effects.append(.volume(volume, .detach)) }
                }
                self.groups.runners.removeAll { $0.name == runner.name && $0.epoch == runner.epoch }
                self.groups.changed(runner.name)
            }
            return
        }
        guard let assignment = record?.assignment else { return }
        guard hasLease, self.groups.stoppedEpochs[runner.name] != runner.epoch else {
            // Rule L11.1: nothing of an epoch whose end was asked for thaws, resumes or starts, whatever the lease does.
            return self.repeatReports(runner.name, assignment, at: now, into: &effects)
        }
        if runner.goal == .suspended, runner.isEmpty, !self.isInDoubt {
            // Rule L15: the same life and the same epoch may go on; rule B5: but as they are to be now, since what this
            // group no longer has may be another's by this time.
            self.bringUpToDate(runner, record, at: now, into: &effects)
            for resource in runner.resources {
                if let volume = resource.volume {
                    effects.append(.volume(volume, .thaw(incarnation: runner.incarnation, epoch: runner.epoch)))
                }
            }
            self.stepRunner(runner.name, runner.epoch, .resume, at: now, into: &effects)
            if assignment.isStarted, self.groups.runner(named: runner.name)?.goal == .up {
                let reason = "the lease of \(self.state.name(of: self.identity.node)) had ended"
                self.request(.restarted(runner.name, runner.epoch, nil, reason: reason), at: now, into: &effects)
            }
        }
        if assignment.releasing != nil, runner.goal == .up {
            self.stepRunner(runner.name, runner.epoch, .stop(nil), at: now, into: &effects)
        } else if runner.goal == .up {
            self.bringUpToDate(runner, record, at: now, into: &effects)
        }
        self.repeatReports(runner.name, assignment, at: now, into: &effects)
    }

    /// Rule B5: what is new in a group runs once nobody else may hold it.
    private mutating func bringUpToDate(
        _ runner: GroupRunner, _ record: ClusterState.GroupRecord?, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        guard let record, let wanted = self.state.policy.group(runner.name) else { return }
        let policy = self.state.granted(wanted, record)
        guard !runner.agrees(with: policy) else { return }
        self.stepRunner(runner.name, runner.epoch, .change(policy), at: now, into: &effects)
    }

    /// `started` and `stopped` are asked for until they are applied. (Rule L11)
    private mutating func repeatReports(
        _ name: GroupName, _ assignment: ClusterState.GroupRecord.Assignment, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        guard let runner = self.groups.runner(named: name) else { return }
        if runner.isUp, !assignment.isStarted {
            self.request(.started(name, runner.epoch), at: now, into: &effects)
        }
        if runner.isFinished, case .down(let failure) = runner.goal {
            self.groups.stoppedEpochs[name] = runner.epoch
            self.request(.stopped(name, runner.epoch, failure: failure), at: now, into: &effects)
        }
    }

    /// The assignment of a group that is this life's to run or to stop, while no runner of this daemon knows of it.
    private func unattended(_ record: ClusterState.GroupRecord) -> ClusterState.GroupRecord.Assignment? {
        guard let assignment = record.assignment, assignment.node == self.identity.node,
            assignment.incarnation == self.birth.incarnation, self.groups.stoppedEpochs[record.name] != record.epoch,
            self.groups.runners.place(of: record.name) == nil, !self.isRemaining(record.name)
        else { return nil }
        return assignment
    }

    /// Rule L11.2: whether an earlier daemon of this life may have run this epoch, and may have asked for its end. The
    /// index that the leader confirmed after this daemon's start was the last that the earlier one can have applied.
    func mayHaveRun(_ epoch: Epoch) -> Bool {
        self.birth.readIndex.map { epoch.index <= $0.rawValue } ?? true
    }

    private mutating func begin(
        _ record: ClusterState.GroupRecord, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard let runner = self.runner(for: record) else { return }
        self.add(runner)
        self.writeFacts(into: &effects)
        effects.append(.note(.starts(record.name, record.epoch)))
        self.stepRunner(record.name, record.epoch, .resume, at: now, into: &effects)
    }

    /// The group is to stop, or an earlier daemon of this life may have asked for its end already. Only this node can say
    /// that all is stopped, and it does not know what still runs: everything is stopped once more, in order. (Rules L11,
    /// L11.2)
    private mutating func stopUnknown(
        _ record: ClusterState.GroupRecord, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard var runner = self.runner(for: record) else { return }
        runner.adopt(at: now)
        self.add(runner)
        effects.append(.note(.stopsLeftovers(record.name)))
        self.stepRunner(record.name, record.epoch, .stop(nil), at: now, into: &effects)
    }

    /// A new runner of the assignment, with everything stopped.
    private mutating func runner(for record: ClusterState.GroupRecord) -> GroupRunner? {
        guard let whole = self.state.policy(of: record), let assignment = record.assignment else { return nil }
        let policy = self.state.granted(whole, record)
        defer { self.groups.nextCall += 1 << 32 }
        return GroupRunner(
            policy: policy, epoch: record.epoch, incarnation: assignment.incarnation, firstCall: self.groups.nextCall)
    }

    private mutating func add(_ runner: GroupRunner) {
        self.groups.runners.insert(runner, at: self.groups.runners.insertion(of: runner.name, by: \.name))
        self.groups.runnersDeadline = min(self.groups.runnersDeadline, runner.deadline)
        self.groups.changed(runner.name)
    }

    mutating func leaseEnded(at now: Tick, into effects: inout [SupervisorEffect]) {
        for runner in self.groups.runners {
            for resource in runner.resources {
                if let volume = resource.volume { effects.append(.volume(volume, .freeze)) }
            }
        }
    }

    // MARK: Runner plumbing

    mutating func stepRunner(
        _ name: GroupName, _ epoch: Epoch?, _ input: GroupRunner.Input, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        guard let place = self.groups.runners.place(of: name), epoch == nil || self.groups.runners[place].epoch == epoch
        else { return }
        let before = self.groups.runners[place].outline
        let restartsBefore = self.groups.runners[place].restarts.latest.count
        var requests: [GroupRunner.Request] = []
        self.groups.runners[place].step(input, at: now, into: &requests)
        self.groups.runnersDeadline = min(self.groups.runnersDeadline, self.groups.runners[place].deadline)
        // A check that began or passed changes nothing that anything else depends on.
        if self.groups.runners[place].outline != before {
            self.groups.changed(name)
        }
        guard !requests.isEmpty else { return }
        let runner = self.groups.runners[place]
        for request in requests { self.perform(request, of: runner, at: now, into: &effects) }
        let restart = runner.restarts.latest
        if restart.count > restartsBefore {
            self.request(
                .restarted(runner.name, runner.epoch, restart.resource, reason: restart.reason), at: now, into: &effects
            )
        }
    }

    private mutating func perform(
        _ request: GroupRunner.Request, of runner: GroupRunner, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        switch request {
        case .call(let call): effects.append(.call(self.permitted(call)))
        case .cancel(let id): effects.append(.cancel(id))
        case .openVolume(let volume):
            if let command = self.openCommand(volume, for: runner) { effects.append(.volume(volume, command)) }
        case .closeVolume(let volume):
            effects.append(.volume(volume, .close(epoch: runner.epoch)))
        case .cutVolume(let volume): effects.append(.cutVolume(volume))
        case .kill: effects.append(.killGroup(runner.name))
        case .reportStarted: self.request(.started(runner.name, runner.epoch), at: now, into: &effects)
        case .reportStopped(let failure):
            self.groups.stoppedEpochs[runner.name] = runner.epoch
            // Rule L11.2: what is written down no longer says that the group is up, before anybody is told.
            self.writeFacts(into: &effects)
            self.request(.stopped(runner.name, runner.epoch, failure: failure), at: now, into: &effects)
        case .note(let note): effects.append(.note(.group(runner.name, note)))
        }
    }

    /// Rule V22: a volume that was in use is neither formatted nor repaired, whatever its device looks like.
    private func permitted(_ call: AgentCall) -> AgentCall {
        var call = call
        guard let name = call.resource.kind.volume else {
            (call.mayFormat, call.mayRepair) = (true, true)
            return call
        }
        guard let record = self.state.volume(name) else { return call }
        call.mayFormat = !record.isWritten
        call.mayRepair = !record.isWritten || record.mayRepair
        return call
    }

    mutating func agentFinished(
        _ id: UInt64, _ outcome: AgentOutcome, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        if self.searched(id, outcome, at: now, into: &effects) { return }
        guard let place = self.groups.runners.indices.first(where: { self.groups.runners[$0].awaits(id) }) else {
            return
        }
        let (name, epoch) = (self.groups.runners[place].name, self.groups.runners[place].epoch)
        self.stepRunner(name, epoch, .agentFinished(id: id, outcome), at: now, into: &effects)
    }

    // MARK: Adoption (rule L10)

    mutating func adopt(_ facts: Facts, leaseEnd: Tick, at now: Tick) {
        guard facts.incarnation != .none, leaseEnd > now || !facts.groups.isEmpty else { return }
        // Without a lease it is ended, if the guard has not done so yet: before that there is no new life. (Rule E4)
        self.groups.adoptable = facts
        guard leaseEnd > now else { return }
        self.lease.holder.adopt(end: leaseEnd, incarnation: facts.incarnation)
    }

    /// Once the restored log shows the groups, takes over those that were up. They run on under the old lease while
    /// this daemon catches up; if their epoch is over, `settle` ends them then.
    private mutating func settleAdoption(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard let facts = self.groups.adoptable, self.state.appliedIndex != .zero else { return }
        self.groups.adoptable = nil
        var outdated: [GroupName] = []
        for group in facts.groups {
            guard group.isUp, let whole = self.state.group(group.name).flatMap({ self.state.policy(of: $0) }),
                self.lease.holder.end > now
            else {
                self.end(group.name, into: &effects)
                continue
            }
            let policy = self.state.group(group.name).map { self.state.granted(whole, $0) } ?? whole
            var runner = GroupRunner(
                policy: policy, epoch: group.epoch, incarnation: facts.incarnation, firstCall: self.groups.nextCall)
            self.groups.nextCall += 1 << 32
            runner.adopt(at: now)
            self.groups.runners.append(runner)
            guard group.resources == policy.resources.digest else {
                // It runs under an earlier configuration, which nobody here knows: all of it goes, and it starts anew.
                outdated.append(group.name)
                continue
            }
            effects.append(.note(.adopts(group.name, group.epoch)))
        }
        self.groups.runners.sort { $0.name < $1.name }
        self.groups.runnersDeadline = now
        self.groups.version += 1
        self.lease.wasValid = self.hasLease(at: now)
        for name in outdated { self.stepRunner(name, nil, .suspend, at: now, into: &effects) }
    }

    private mutating func writeFacts(into effects: inout [SupervisorEffect]) {
        let facts = self.groups.settleFacts(
            bootID: self.identity.bootID, self.birth.incarnation, takenBack: self.volumes.takenBack)
        if let facts { effects.append(.facts(facts)) }
    }
}
