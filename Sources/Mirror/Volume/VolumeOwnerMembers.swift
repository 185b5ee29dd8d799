import Basis

/// Which replicas there are, and the one case in which an owner does not make a replica equal.
extension Volume.Owner {
    /// The configuration names other replicas. One that goes is let go once it has left the set, or is in no one's way.
    mutating func peersChanged(at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects) {
        for node in ledger.configuration.peers where self.index(of: node) == nil {
            var peer = Volume.Peer(node: node, inSet: false)
            peer.changed(at: now)
            self.peers.append(peer)
            effects.append(.dial(node))
        }
        self.peers.sort { $0.node < $1.node }
        self.letGo(at: now, &ledger, &effects)
    }

    /// Forgets the replicas that the configuration has no more, as far as no rule needs them. (Rule V3)
    mutating func letGo(at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects) {
        let gone = self.peers.filter { peer in
            !ledger.configuration.peers.contains(peer.node) && !peer.inSet && peer.joinAsked == nil
        }
        guard !gone.isEmpty else { return }
        self.peers.removeAll { peer in gone.contains { $0.node == peer.node } }
        for peer in gone { effects.append(.stopDialling(peer.node)) }
        self.answerComplete(at: now, &ledger, &effects)
    }

    /// Rule V19: the replica has cleared marks of a turn that this copy never noted, so this copy was put back. Nothing is
    /// overwritten. Before the export the copy is given up, if the other one counted; a copy that clients use, or that the
    /// log already prefers, goes on, and a person decides.
    mutating func foundOutdated(_ index: Int, _ effects: inout Volume.Effects) {
        let node = self.peers[index].node
        let reason = "\(node) holds writes that this copy lacks: this copy was put back to an older state"
        let counted = self.peers[index].inSet || self.reconciliation?.awaited.contains(node) ?? false
        guard self.reconciliation == nil || !counted else {
            self.outdated = reason
            return
        }
        guard self.peers[index].overwriting != .heldOff else { return }
        self.peers[index].overwriting = .heldOff
        effects.event(
            .note(
                "\(reason); the copy there is left as it is until `holdfast volume resync` is run for this volume, which "
                    + "overwrites it"))
    }

    /// A person said that the copy which was held off is to be overwritten; false if none was.
    mutating func letOverwrite(_ index: Int, _ effects: inout Volume.Effects) -> Bool {
        guard self.peers[index].overwriting == .heldOff else { return false }
        self.peers[index].overwriting = .allowed
        effects.append(.hangUp(self.peers[index].node, .outbound))
        return true
    }
}
