import Basis
import Mirror
import Resources

/// After an upgrade the guard and the volume servers of the release before are renewed, one at a time and while all is well: what
/// stands on them notices a pause at most. (Rules L12.4, V23)
extension Supervisor {
    mutating func settleRenewal(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard let role = self.helpers.due(at: now), self.isCalm(at: now) else { return }
        switch role {
        case .guardian: guard self.isGuarded(at: now) else { return }
        case .server(let volume): guard self.mayRenewServer(of: volume) else { return }
        }
        self.helpers.renews(role, at: now)
        effects.append(.note(.renews(role)))
        effects.append(.renew(role))
    }

    /// Nothing of this node is on its way up or down.
    private func isCalm(at now: Tick) -> Bool {
        guard self.birth.isDone, self.hasLease(at: now), !self.lease.isInDoubt, self.departure.since == nil,
            self.applied.unreadable == nil, let me = self.me, !me.isDeparting, !me.isRetiring
        else { return false }
        return self.groups.remains.all.isEmpty
            && self.groups.runners.allSatisfy { runner in
                runner.phase == .running && runner.resources.allSatisfy { $0.reopening == nil }
            }
    }

    /// Every copy whose node is up holds every write and is linked: what is missing for a moment makes nobody wait who has no
    /// other, and no two servers of a volume are renewed at once.
    private func mayRenewServer(of volume: VolumeName) -> Bool {
        guard let record = self.state.volume(volume), record.former.isEmpty,
            let view = self.volumes.views.first(where: { $0.name == volume }), view.isConnected,
            let status = view.status
        else { return false }
        let holders = record.definition.replicas.compactMap { self.state.node(named: $0.node) }
            .filter { $0.standing == .trusted }.map(\.id)
        guard holders.allSatisfy({ record.inSync.contains($0) }) else { return false }
        switch status.role {
        case .replica, .incomplete: return record.owner != self.identity.node
        case .owner:
            return holders.allSatisfy { node in
                node == self.identity.node || status.peers.contains { $0.node == node && $0.connected && $0.inSync }
            }
        case .frozen, .failed: return false
        }
    }
}
