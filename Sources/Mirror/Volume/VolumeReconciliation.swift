import Basis

/// Before the first I/O after an unplanned promotion the replicas of the last set are made equal and taken back into the
/// set by one entry, so that a second failure finds them promotable. (Rule V7)
///
/// It adds no rule about who may be promoted: a replica is waited for before the log is asked, as for `joins` (rule V3),
/// so the export may begin whether or not the log has answered.
///
/// A copy whose server died may hold writes that were never acknowledged. Whoever read them would miss them on the replica
/// that is promoted next, and after a stop that was not theirs they would come back from the dead. So nobody is served
/// until every replica in the set is equal, however long it takes: one that is lost leaves the set through the log.
extension Volume.Owner {
    struct Reconciliation: Sendable {
        /// Replicas of the last set that the daemon believes alive.
        let awaited: [NodeID]
        let began: Tick
        /// What an earlier owner may have asked for is refused first.
        var refusal: Refusal?
        /// When the log was asked first and last, and for which version.
        var asked: (first: Tick, last: Tick, version: UInt64)?

        /// A `joins` or `opens` of an owner that this copy had under the same epoch may be under way, for a replica that
        /// nobody waits for any more. It names this version of the set or one before it, and a later one refuses it.
        /// (Rules V4, V23)
        struct Refusal: Sendable {
            let version: UInt64
            var askedAt: Tick?
        }
    }

    /// Whether nothing that an earlier owner asked for can be granted any more; asks the log for that if not. (Rule V23)
    private mutating func refuseEarlier(
        at now: Tick, _ tuning: Volume.Tuning, _ effects: inout Volume.Effects
    ) -> Bool {
        guard let refusal = self.reconciliation?.refusal, self.version <= refusal.version,
            let outside = self.peers.first(where: { !$0.inSet })
        else { return true }
        if let last = refusal.askedAt, now.since(last) < tuning.repeatInterval { return false }
        self.reconciliation?.refusal?.askedAt = now
        // Whom it names does not matter: `leaves` of a replica outside the set does nothing but raise the version.
        effects.event(.wantsLeave(epoch: self.epoch, version: self.version, replica: outside.node))
        return false
    }

    /// Whether clients still wait; asks the log once nothing more is worth waiting for.
    mutating func reconcile(
        at now: Tick, _ tuning: Volume.Tuning, _ own: ReplicaIdentity, _ effects: inout Volume.Effects
    ) {
        guard self.refuseEarlier(at: now, tuning, &effects), var reconciliation = self.reconciliation else { return }
        guard self.peers.allSatisfy({ !$0.inSet || $0.isComplete }) else { return }
        if let asked = reconciliation.asked {
            // The log answered; or it does not, and the replicas asked for stay waited for until it does.
            guard self.version == asked.version, now.since(asked.first) < tuning.reconcilePatience else {
                return self.reconciliation = nil
            }
            // A replica that is lost meanwhile is asked to leave instead.
            guard now.since(asked.last) >= tuning.repeatInterval,
                !self.peers.contains(where: { $0.joinAsked == asked.version && !$0.isComplete })
            else { return }
            reconciliation.asked?.last = now
        } else {
            let waited = now.since(reconciliation.began)
            for peer in self.peers where reconciliation.awaited.contains(peer.node) {
                if peer.isWorthWaiting(waited, tuning) { return }
            }
            guard self.peers.contains(where: { $0.isComplete && !$0.inSet }) else {
                return self.reconciliation = nil
            }
            reconciliation.asked = (now, now, self.version)
            for index in self.peers.indices where self.peers[index].isComplete && !self.peers[index].inSet {
                self.peers[index].asked(version: self.version)
                self.peers[index].lastAsked = now
            }
        }
        self.reconciliation = reconciliation
        let replicas = self.peers.filter { $0.inSet || $0.joinAsked == self.version }
            .map { ReplicaIdentity(node: $0.node, identity: $0.copy.identity) }
        let inSync = (replicas + [own]).sorted { $0.node < $1.node }
        effects.event(.wantsOpen(epoch: self.epoch, version: self.version, inSync: inSync))
    }
}

extension Volume.Peer {
    /// Whether clients should be kept waiting for it after `waited`: it is on the way, and not for a whole copy.
    fileprivate func isWorthWaiting(_ waited: Span, _ tuning: Volume.Tuning) -> Bool {
        switch self.phase {
        case .current: !self.isComplete && waited < tuning.reconcilePatience
        case .down, .greeting: waited < tuning.reconcileGreeting
        case .copying, .settling, .confirming: self.copy.isKnown && waited < tuning.reconcilePatience
        }
    }
}

extension Volume {
    /// Serves clients once reconciliation is over.
    mutating func finishReconciliation(at now: Tick, into effects: inout Effects) {
        guard self.owner?.reconciliation != nil, self.failure == nil else { return }
        if let outdated = self.owner?.outdated {
            self.ledger.distrust()
            self.ledger.persist(into: &effects)
            if let owner = self.owner {
                effects.event(.outdated(epoch: owner.epoch, version: owner.version, reason: outdated))
            }
            self.dropOwner(into: &effects)
            return effects.event(.failed(reason: outdated))
        }
        self.owner?.reconcile(at: now, self.ledger.configuration.tuning, self.ledger.identity, &effects)
        guard let owner = self.owner, owner.reconciliation == nil else { return }
        effects.append(.startExport(owner.epoch))
        effects.event(.opened(epoch: owner.epoch))
        effects.event(.status(self.status(at: now)))
    }
}
