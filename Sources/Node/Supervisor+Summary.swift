import Basis
import Mirror
import Resources

/// How this node stands, told to the others for `status`.
extension Supervisor {
    mutating func settleSummary(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard now + Self.timerSlack >= self.nextSummaryAt else { return }
        self.nextSummaryAt = now + .milliseconds(600)
        guard let me = self.me else { return }
        let summary = self.summary(at: now)
        for record in self.state.nodes where record.id != me.id {
            self.send(.summary(summary), to: record.id, at: now, into: &effects)
        }
    }

    /// This node in its own words.
    public func summary(at now: Tick) -> NodeSummary {
        NodeSummary(
            leaseRemaining: self.hasLease(at: now) ? self.holder.end.since(now) : .zero,
            appliedIndex: self.state.appliedIndex, isGuarded: self.isGuarded(at: now),
            groups: self.runners.map { runner in
                NodeSummary.Group(
                    name: runner.name, epoch: runner.epoch, phase: runner.phase,
                    resources: runner.resources.map { resource in
                        NodeSummary.Resource(
                            name: resource.policy.name, state: resource.state.rawValue, reason: resource.reason,
                            checkedAge: now.since(resource.checkedAt))
                    })
            },
            volumes: self.volumes.map { view in
                NodeSummary.Volume(
                    name: view.name,
                    role: view.isConnected ? (view.status?.role.rawValue ?? "starting") : "absent",
                    epoch: view.status?.epoch ?? .none, dirtyBytes: view.status?.dirtyBytes ?? 0,
                    writtenBytes: view.status?.writtenBytes ?? 0, sentBytes: view.status?.sentBytes ?? 0,
                    sentCompressedBytes: view.status?.sentCompressedBytes ?? 0,
                    peers: (view.status?.peers ?? []).map { peer in
                        NodeSummary.Peer(
                            node: peer.node, isConnected: peer.connected,
                            resyncRemainingBytes: peer.resyncRemainingBytes,
                            resyncTotalBytes: peer.resyncTotalBytes)
                    })
            })
    }
}
