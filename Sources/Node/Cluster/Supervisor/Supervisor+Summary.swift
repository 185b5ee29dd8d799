import Basis
import Mirror
import Resources

/// How this node stands, told to the others for `status`.
extension Supervisor {
    mutating func settleSummary(at now: Tick, into effects: inout [SupervisorEffect]) {
        if !self.telling.gathering.isEmpty { self.settleGathering(at: now, into: &effects) }
        let key = Telling.Key(
            applied: self.state.appliedIndex, groupsVersion: self.groups.version, volumesVersion: self.volumes.version,
            programsVersion: self.helpers.programsVersion)
        guard self.telling.settle(key, slack: Self.timerSlack, at: now) else { return }
        // Also while the log here names nobody yet: where several machines say that they are this node, nothing is taken of one
        // that has not said which boot it is in. (Rule E5)
        let message = NodeMessage.summary(self.summary(at: now))
        for node in self.circle(at: now) { self.send(message, to: node, at: now, into: &effects) }
    }

    /// This node in its own words.
    public func summary(at now: Tick) -> NodeSummary {
        NodeSummary(
            leaseRemaining: self.hasLease(at: now) ? self.lease.holder.end.since(now) : .zero,
            appliedIndex: self.state.appliedIndex, isGuarded: self.isGuarded(at: now),
            wallMilliseconds: self.wallMilliseconds,
            groups: self.groups.runners.map { runner in
                NodeSummary.Group(
                    name: runner.name, epoch: runner.epoch, phase: .known(runner.phase),
                    resources: runner.resources.map { resource in
                        NodeSummary.Resource(
                            name: resource.policy.name, state: .known(resource.state), reason: resource.reason,
                            checkedAge: now.since(resource.checkedAt))
                    })
            },
            volumes: self.volumes.views.map { view in
                NodeSummary.Volume(
                    name: view.name,
                    role: .known(view.isConnected ? (view.status.map { CopyRole($0.role) } ?? .starting) : .absent),
                    epoch: view.status?.epoch ?? .none, dirtyBytes: view.status?.dirtyBytes ?? 0,
                    writtenBytes: view.status?.writtenBytes ?? 0, sentBytes: view.status?.sentBytes ?? 0,
                    sentCompressedBytes: view.status?.sentCompressedBytes ?? 0,
                    problem: view.problem,
                    peers: (view.status?.peers ?? []).map { peer in
                        NodeSummary.Peer(
                            node: peer.node, isConnected: peer.connected,
                            resyncRemainingBytes: peer.resyncRemainingBytes,
                            resyncTotalBytes: peer.resyncTotalBytes)
                    })
            }, remains: self.groups.remains.all.map { .init(group: $0.group, remains: $0.remains) },
            guardKillsFor: self.groups.remains.guardKillsSince == .zero
                ? .zero : now.since(self.groups.remains.guardKillsSince),
            programs: self.helpers.programs, bootID: self.identity.bootID)
    }
}
