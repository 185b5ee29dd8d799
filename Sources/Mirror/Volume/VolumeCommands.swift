import Basis

extension Volume {
    mutating func perform(_ command: VolumeCommand, at now: Tick, into effects: inout Effects) {
        switch command {
        case .open(let epoch, let incarnation, let inSync, let version, let reconciling, let copy):
            if let objection = self.objection(to: copy) { return effects.event(.failed(reason: objection)) }
            guard inSync.contains(self.ledger.configuration.node) else {
                return effects.event(.failed(reason: "this copy is not among those that hold every write"))
            }
            let metadata = self.ledger.metadata
            let isRepeated = metadata.epoch == epoch && metadata.incarnation != .none
            let opening = Opening(
                epoch: epoch, incarnation: incarnation, inSync: inSync, version: version, reconciling: reconciling,
                isRepeated: isRepeated, stage: .persisting)
            self.open(opening, at: now, into: &effects)
        case .inSyncChanged(let epoch, let inSync, let version):
            if self.opening?.epoch == epoch {
                self.opening?.inSyncChanged(inSync, version: version)
            } else if self.owner?.epoch == epoch, self.failure == nil {
                self.owner?.inSyncChanged(inSync, version: version, at: now, &self.ledger, &effects)
            }
        case .close(let epoch): self.close(epoch, at: now, into: &effects)
        case .freeze: self.owner?.isFrozen = true
        case .thaw(let incarnation, let epoch):
            // Rule L15.
            if self.owner?.epoch == epoch, self.owner?.incarnation == incarnation {
                self.owner?.isFrozen = false
                self.owner?.greet(at: now, &self.ledger, &effects)
                self.owner?.answerComplete(at: now, &self.ledger, &effects)
            }
            effects.event(.status(self.status(at: now)))
        case .detach:
            self.dropOwner(into: &effects)
            effects.event(.status(self.status(at: now)))
        case .over(let epoch): self.end(below: epoch, into: &effects)
        case .takenBack:
            self.takenBack("this machine was taken back to an earlier moment: its copy lacks writes", into: &effects)
            effects.event(.status(self.status(at: now)))
        case .resyncAll:
            if self.failure != nil { return }
            if self.owner != nil {
                self.owner?.resyncAll(at: now, &self.ledger, &effects)
            } else {
                self.replica.requestResync(self.ledger, &effects)
            }
        case .report:
            if let failure = self.failure { effects.event(.failed(reason: failure)) }
            if self.failure == nil, let owner = self.owner, !owner.isClosing, owner.reconciliation == nil {
                effects.event(.opened(epoch: owner.epoch))
            }
            effects.event(.status(self.status(at: now)))
        case .noted(let mark):
            if self.ledger.noted(mark: mark) { self.ledger.persist(into: &effects) }
        case .peers(let places):
            let own = self.ledger.configuration.node
            self.ledger.configuration.peers = places.map(\.node).filter { $0 != own }.sorted()
            self.owner?.peersChanged(at: now, &self.ledger, &effects)
        case .makeCopy: break
        }
    }

    /// Rule V1.1: the copy accepts an epoch that nobody has or will have, as if an owner had come with it.
    private mutating func end(below epoch: Epoch, into effects: inout Effects) {
        guard self.failure == nil, epoch > self.ledger.metadata.epoch else { return }
        let wasInUse = self.isInUse
        self.dropOwner(into: &effects)
        self.replica.end(&effects)
        self.ledger.raise(epoch: epoch, incarnation: .none, into: &effects)
        if wasInUse {
            effects.event(.failed(reason: "what it was opened under is over: stop its users here"))
        }
    }

    /// Rule V18: a copy that the log does not know is not opened, whatever it holds.
    private func objection(to copy: KnownCopy?) -> String? {
        guard let copy else { return nil }
        let metadata = self.ledger.metadata
        guard metadata.identity == copy.identity else {
            return "this is not the copy that the cluster knows here: bring that one back, or let this one be rebuilt"
        }
        guard metadata.starts.contains(copy.mark) else {
            return "this copy is older than the cluster knows it: it was put back, or its metadata was"
        }
        guard metadata.epoch >= copy.epoch else {
            return "this copy is older than the cluster knows it: it knows epoch \(metadata.epoch), and had accepted "
                + "\(copy.epoch)"
        }
        return nil
    }

    private mutating func open(_ wanted: Opening, at now: Tick, into effects: inout Effects) {
        let epoch = wanted.epoch
        if let failure = self.failure { return self.giveUp(wanted, failure, into: &effects) }
        guard epoch >= self.ledger.metadata.epoch else {
            return effects.event(
                .failed(
                    reason:
                        "open under epoch \(epoch) is refused: this replica has accepted \(self.ledger.metadata.epoch)"
                ))
        }
        guard self.ledger.metadata.trusted else {
            return self.giveUp(
                wanted,
                "this copy lacks writes, because its disk failed or it was put back: let another node own the volume, "
                    + "and this copy is rebuilt", into: &effects)
        }
        if let owner = self.owner, owner.epoch == epoch, owner.incarnation == wanted.incarnation, !owner.isClosing {
            self.owner?.inSyncChanged(wanted.inSync, version: wanted.version, at: now, &self.ledger, &effects)
            // While clients wait, the answer comes with the export.
            if owner.reconciliation == nil { effects.event(.opened(epoch: epoch)) }
            return
        }
        if let opening = self.opening, opening.epoch == epoch, opening.incarnation == wanted.incarnation {
            self.opening?.inSyncChanged(wanted.inSync, version: wanted.version)
            return
        }
        self.dropOwner(into: &effects)
        // Frames of the old session that were not acknowledged are dropped; the acknowledged ones are written. (Rule
        // V2)
        self.replica.end(&effects)
        self.ledger.note(inSync: wanted.inSync, version: wanted.version)
        self.ledger.raise(epoch: epoch, incarnation: wanted.incarnation, into: &effects)
        self.opening = wanted
    }

    /// Rule V19: a copy that lacks writes serves nobody under an epoch that is new to it; the others of the set count instead.
    private func giveUp(_ wanted: Opening, _ reason: String, into effects: inout Effects) {
        if wanted.epoch > self.ledger.metadata.epoch {
            effects.event(.outdated(epoch: wanted.epoch, version: wanted.version, reason: reason))
        }
        effects.event(.failed(reason: reason))
    }

    private mutating func close(_ epoch: Epoch, at now: Tick, into effects: inout Effects) {
        guard epoch >= self.ledger.metadata.epoch else { return effects.event(.closed(epoch: epoch)) }
        guard self.failure == nil, let owner = self.owner, owner.epoch == epoch, owner.supersededBy == nil else {
            // What an earlier epoch opened is over too: what used it ended before this epoch began. (Rule L11)
            self.dropOwner(into: &effects)
            return effects.event(.closed(epoch: epoch))
        }
        guard !owner.isClosing else { return }
        effects.append(.stopExport)
        self.owner?.beginClose(at: now, &self.ledger, &effects)
    }

    /// Leaves the owner's role once its last flush is everywhere.
    mutating func finishClose(at now: Tick, into effects: inout Effects) {
        guard self.owner?.isClosed ?? false else { return }
        guard self.owner?.clearAtClose(at: now, &self.ledger, &effects) ?? true else { return }
        guard var owner = self.owner.take() else { return }
        let epoch = owner.epoch
        owner.failAll(&effects)
        self.replica.inherit(issued: owner.issued, written: owner.written)
        for peer in owner.peers { effects.append(.stopDialling(peer.node)) }
        self.ledger.forgetTouched()
        effects.event(.closed(epoch: epoch))
    }

    /// A failed replica fails its clients, answers its daemon and is silent on its links.
    mutating func stepFailed(_ input: Input, at now: Tick, into effects: inout Effects) {
        switch input {
        case .write(let id, _, _, _), .flush(let id): effects.append(.reply(id: id, .failed))
        case .command(let command): self.perform(command, at: now, into: &effects)
        case .metadataSynced(let token): self.ledger.persisted(token, into: &effects)
        case .lease, .localWritten, .localSynced, .localFailed, .linkUp, .linkDown, .frame, .digested, .chunkRead,
            .tick:
            break
        }
    }

    /// What the disk holds is unknown from here on: nothing is answered, and the copy is rebuilt as a whole.
    mutating func fail(_ reason: String, into effects: inout Effects) {
        guard self.failure == nil else { return }
        self.failure = reason
        self.ledger.distrustAfterFailure(into: &effects)
        self.opening = nil
        self.replica.end(&effects)
        if var owner = self.owner.take() {
            owner.failAll(&effects)
            for peer in owner.peers { effects.append(.stopDialling(peer.node)) }
            self.owner = consume owner
        }
        effects.event(.failed(reason: reason))
    }
}
