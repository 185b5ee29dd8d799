import Basis
import Mirror
import Resources

/// The volume servers of this node: which should run, what they are told, what they say.
extension Supervisor {
    mutating func settleServers(into effects: inout [SupervisorEffect]) {
        let key = LocalVolumes.ServersKey(applied: self.state.appliedIndex, groupsVersion: self.groups.version)
        guard self.volumes.serversDerivedAt != key, self.birth.isCaughtUp, !self.isCopy, let me = self.me
        else { return }
        self.volumes.serversDerivedAt = key
        let servers = self.volumes.settle(self.state, on: me.about.name, under: self.groups.runners)
        if let servers { effects.append(.volumeServers(servers)) }
    }

    /// The log's in-sync set changed: the owner here is told, if it is here. (Rules V3, V4)
    mutating func inSyncChanged(_ volume: VolumeName, into effects: inout [SupervisorEffect]) {
        guard let record = self.state.volume(volume), record.owner == self.identity.node else { return }
        effects.append(
            .volume(
                volume, .inSyncChanged(epoch: record.epoch, inSync: record.inSync, version: record.version)))
    }

    /// The command that makes the local replica the owner under the group's epoch. (Rules V1, V7)
    func openCommand(_ volume: VolumeName, for runner: GroupRunner) -> VolumeCommand? {
        guard let record = self.state.volume(volume), record.epoch == runner.epoch,
            record.owner == self.identity.node
        else { return nil }
        // Rule V18: this copy, and no other that may lie there. One that is about to be made is waited for; one that does
        // not count is refused by the server, and the group gives up here.
        let copy = record.copy(of: self.identity.node)
        if copy == nil, record.inSync.contains(self.identity.node) { return nil }
        return .open(
            epoch: record.epoch, incarnation: runner.incarnation, inSync: record.inSync, version: record.version,
            reconciling: self.reconciling(record),
            copy: KnownCopy(
                identity: copy?.identity ?? 0, mark: copy?.mark ?? 0, epoch: copy?.epoch ?? .none))
    }

    /// Replicas of the last set that are up: a second failure should find them promotable, and they know whether the copy
    /// here was put back. (Rules V7, V19)
    private func reconciling(_ record: ClusterState.VolumeRecord) -> [NodeID] {
        record.former.filter { !record.inSync.contains($0) && self.state.node($0)?.standing == .trusted }
    }

    mutating func volumeConnection(
        _ name: VolumeName, isUp: Bool, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard let place = self.volumes.views.firstIndex(where: { $0.name == name }) else { return }
        self.volumes.version += 1
        if !isUp { self.helpers.runs(.server(name), nil, isRenewable: false, at: now) }
        self.volumes.views[place].isConnected = isUp
        self.volumes.views[place].status = nil
        self.volumes.views[place].report = nil
        self.volumes.views[place].askedAgainst = nil
        self.volumes.views[place].isAnswered = false
        self.volumes.views[place].isOver = .none
        self.volumes.views[place].tellsOverAt = .never
        if isUp {
            effects.append(.volume(name, .report()))
            self.inSyncChanged(name, into: &effects)
        }
    }

    /// The group that uses the volume waits for the next server.
    mutating func volumeEnded(
        _ name: VolumeName, _ reason: String, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard let record = self.state.volume(name) else { return }
        self.stepRunners(of: name, record.epoch, .volumeLost(name, reason: reason), at: now, into: &effects)
    }

    mutating func volumeEvent(
        _ name: VolumeName, _ event: VolumeEvent, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard let place = self.volumes.views.firstIndex(where: { $0.name == name }) else { return }
        switch event {
        case .opened(let epoch):
            self.volumes.views[place].openedEpoch = max(self.volumes.views[place].openedEpoch, epoch)
            self.volumeOpened(name, epoch, at: now, into: &effects)
        case .closed(let epoch):
            self.stepRunners(of: name, epoch, .volumeClosed(name), at: now, into: &effects)
        case .wantsLeave(let epoch, let version, let replica):
            // Rule V3: the owner goes on without a replica only after the log has accepted it.
            guard self.hasLease(at: now) else { return }
            self.request(.leaves(name, epoch, version: version, replica), at: now, into: &effects)
        case .wantsJoin(let epoch, let version, let replica, let copy):
            guard self.hasLease(at: now) else { return }
            self.request(.joins(name, epoch, version: version, replica, copy: copy), at: now, into: &effects)
        case .wantsOpen(let epoch, let version, let inSync):
            guard self.hasLease(at: now) else { return }
            self.request(
                .opens(
                    name, epoch, version: version, inSync: inSync.map(\.node), copies: inSync.map(\.identity)),
                at: now, into: &effects)
        case .copy(let report):
            if self.volumes.views[place].report != report { self.volumes.version += 1 }
            self.volumes.views[place].report = report
            if case .ready(let mark) = report.finding, !self.volumes.takenBack.isEmpty {
                self.repeatTakenBack(name, mark, into: &effects)
            }
            if report.answers == self.volumes.views[place].question { self.volumes.views[place].isAnswered = true }
        case .outdated(let epoch, let version, let reason):
            guard self.hasLease(at: now) else { return }
            effects.append(.note(.copyOutdated(name, reason: reason)))
            self.keepOthers(of: name)
            self.request(.yields(name, epoch, version: version), at: now, into: &effects)
        case .takenBack(let reason):
            effects.append(.note(.copyTakenBack(name, reason: reason)))
            self.keepOthers(of: name)
            effects.append(.volume(name, .report()))
        case .note(let text):
            effects.append(.note(.serverSays(name, text)))
        case .failed(let reason):
            self.volumes.views[place].failure = reason
            effects.append(.note(.serverFailed(name, reason: reason)))
            self.keepOthers(of: name)
            if let record = self.state.volume(name) {
                self.stepRunners(of: name, record.epoch, .volumeFailed(name, reason: reason), at: now, into: &effects)
            }
        case .status(let status):
            let before = self.volumes.views[place].status
            if before?.role != status.role || before?.epoch != status.epoch { self.volumes.version += 1 }
            self.volumes.views[place].status = status
            if status.role == .owner || status.role == .frozen {
                self.volumes.views[place].openedEpoch = max(self.volumes.views[place].openedEpoch, status.epoch)
            }
            if status.role != .failed { self.volumes.views[place].failure = "" }
            self.noticeLostExport(name, status, at: now, into: &effects)
        }
    }

    /// Rule V3.2: what is asked of the log no more is that others leave, once the copy here holds less than they do.
    private mutating func keepOthers(of name: VolumeName) {
        self.requests.withdraw { command in
            if case .leaves(name, _, _, let replica) = command { replica != self.identity.node } else { false }
        }
    }

    /// Rule V7.1: the export is ready, and the group gets it once the log knows that this copy may be alone in what comes.
    /// Until then those of the set before are as good, whatever becomes of this one. The server is asked to open, and says
    /// that it has, until the group goes on.
    private mutating func volumeOpened(
        _ name: VolumeName, _ epoch: Epoch, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard let record = self.state.volume(name), record.epoch == epoch, record.owner == self.identity.node,
            !record.former.isEmpty,
            self.groups.runners.contains(where: { $0.epoch == epoch && $0.goal == .up && !$0.isKilling })
        else { return self.stepRunners(of: name, epoch, .volumeOpened(name), at: now, into: &effects) }
        guard self.hasLease(at: now) else { return }
        self.request(
            .opens(
                name, epoch, version: record.version, inSync: record.inSync,
                copies: record.inSync.map { record.copy(of: $0)?.identity ?? 0 }), at: now, into: &effects)
    }

    /// A server that restarted under a running group has no export any more: it is to open again.
    private mutating func noticeLostExport(
        _ name: VolumeName, _ status: VolumeStatus, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard status.role == .replica || status.role == .incomplete, let record = self.state.volume(name),
            let runner = self.groups.runners.first(where: { $0.epoch == record.epoch && $0.place(of: name) != nil }),
            let place = runner.place(of: name),
            runner.resources[place].state == .running || runner.resources[place].state == .starting
        else { return }
        self.stepRunner(
            runner.name, runner.epoch, .volumeLost(name, reason: "its volume server was restarted"), at: now,
            into: &effects)
    }

    private mutating func stepRunners(
        of volume: VolumeName, _ epoch: Epoch, _ input: GroupRunner.Input, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        for runner in self.groups.runners where runner.epoch == epoch && runner.place(of: volume) != nil {
            self.stepRunner(runner.name, epoch, input, at: now, into: &effects)
        }
    }
}
