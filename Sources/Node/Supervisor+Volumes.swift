import Basis
import Mirror
import Raft
import Resources

/// The volume servers of this node: which should run, what they are told, what they say.
extension Supervisor {
    /// The servers that this node's replicas need. A volume whose peers have not joined yet waits for no one.
    mutating func settleServers(into effects: inout [SupervisorEffect]) {
        guard self.serversDerivedAt != self.state.appliedIndex, self.isCaughtUp, let me = self.me else { return }
        self.serversDerivedAt = self.state.appliedIndex
        var specs: [VolumeServerSpec] = []
        for policy in self.state.policy.volumes {
            guard let replica = policy.replicas.first(where: { $0.node == me.about.name }) else { continue }
            let peers = policy.replicas.compactMap { other -> VolumeServerSpec.Peer? in
                guard other.node != me.about.name, let record = self.state.node(named: other.node) else { return nil }
                return .init(node: record.id, address: other.address)
            }
            specs.append(VolumeServerSpec(policy: policy, replica: replica, peers: peers))
        }
        guard specs != self.lastServers else { return }
        self.lastServers = specs
        self.volumes.removeAll { view in !specs.contains { $0.policy.name == view.name } }
        for spec in specs where !self.volumes.contains(where: { $0.name == spec.policy.name }) {
            self.volumes.append(VolumeView(name: spec.policy.name))
        }
        self.volumes.sort { $0.name < $1.name }
        effects.append(.volumeServers(specs))
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
        return .open(
            epoch: record.epoch, incarnation: runner.incarnation, inSync: record.inSync, version: record.version,
            reconciling: self.reconciling(record))
    }

    /// Replicas that a second failure should find promotable. A volume with two has none to spare: its only other copy is
    /// the one just lost. (Rule V7)
    private func reconciling(_ record: ClusterState.VolumeRecord) -> [NodeID] {
        guard let policy = self.state.policy.volume(record.name), policy.replicas.count > 2 else { return [] }
        return record.former.filter { !record.inSync.contains($0) && self.state.node($0)?.standing == .trusted }
    }

    mutating func volumeConnection(
        _ name: VolumeName, isUp: Bool, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard let place = self.volumes.firstIndex(where: { $0.name == name }) else { return }
        self.volumesVersion += 1
        self.volumes[place].isConnected = isUp
        self.volumes[place].status = nil
        if isUp {
            effects.append(.volume(name, .report))
            self.inSyncChanged(name, into: &effects)
        }
    }

    mutating func volumeEvent(
        _ name: VolumeName, _ event: VolumeEvent, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard let place = self.volumes.firstIndex(where: { $0.name == name }) else { return }
        switch event {
        case .opened(let epoch):
            self.stepRunners(of: name, epoch, .volumeOpened(name), at: now, into: &effects)
        case .closed(let epoch):
            self.stepRunners(of: name, epoch, .volumeClosed(name), at: now, into: &effects)
        case .wantsLeave(let epoch, let version, let replica):
            // Rule V3: the owner goes on without a replica only after the log has accepted it.
            guard self.hasLease(at: now) else { return }
            self.request(.leaves(name, epoch, version: version, replica), at: now, into: &effects)
        case .wantsJoin(let epoch, let version, let replica):
            guard self.hasLease(at: now) else { return }
            self.request(.joins(name, epoch, version: version, replica), at: now, into: &effects)
        case .wantsOpen(let epoch, let version, let inSync):
            guard self.hasLease(at: now) else { return }
            self.request(.opens(name, epoch, version: version, inSync: inSync), at: now, into: &effects)
        case .failed(let reason):
            self.volumes[place].failure = reason
            effects.append(.note("volume \(name): \(reason)"))
            if let record = self.state.volume(name) {
                self.stepRunners(of: name, record.epoch, .volumeFailed(name, reason: reason), at: now, into: &effects)
            }
        case .status(let status):
            let before = self.volumes[place].status
            if before?.role != status.role || before?.epoch != status.epoch { self.volumesVersion += 1 }
            self.volumes[place].status = status
            if status.role != .failed { self.volumes[place].failure = "" }
            self.noticeLostExport(name, status, at: now, into: &effects)
        }
    }

    /// A server that was started anew under a running group exports nothing until it is told again.
    private mutating func noticeLostExport(
        _ name: VolumeName, _ status: VolumeStatus, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard status.role == .replica, let record = self.state.volume(name),
            let runner = self.runners.first(where: { $0.epoch == record.epoch && $0.place(of: name) != nil }),
            let place = runner.place(of: name), runner.resources[place].state == .running
        else { return }
        self.stepRunner(runner.name, runner.epoch, .volumeLost(name), at: now, into: &effects)
    }

    private mutating func stepRunners(
        of volume: VolumeName, _ epoch: Epoch, _ input: GroupRunner.Input, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        for runner in self.runners where runner.epoch == epoch && runner.place(of: volume) != nil {
            self.stepRunner(runner.name, epoch, input, at: now, into: &effects)
        }
    }
}
