import Basis

extension Volume: InvariantChecking {
    /// Owner or on the way to it, under the epoch that is written down, and nobody's flush is waited for who is not waited for.
    public func checkInvariants() throws(BrokenInvariant) {
        try self.ledger.checkInvariants()
        guard let owner = self.owner else { return }
        try invariant(self.opening == nil, "Volume: serves and is being opened at once (V1)")
        try invariant(
            owner.epoch == self.ledger.metadata.epoch,
            "Volume: owner under \(owner.epoch), and has accepted \(self.ledger.metadata.epoch) (V1)")
        try owner.checkInvariants()
    }
}

extension Volume.Owner: InvariantChecking {
    /// Sequences in their order, and each peer as its phase and its standing go together.
    func checkInvariants() throws(BrokenInvariant) {
        try invariant(self.stable <= self.lastSequence, "Owner: stable up to \(self.stable) of \(self.lastSequence)")
        try invariant(self.issued <= self.lastSequence, "Owner: issued up to \(self.issued) of \(self.lastSequence)")
        for place in self.peers.indices { try self.peers[place].checkInvariants() }
    }
}

extension Volume.Peer: InvariantChecking {
    /// Rule V3: waited for before anybody may rest on it.
    func checkInvariants() throws(BrokenInvariant) {
        try invariant(
            !self.getsFlushes || self.isWaitedFor,
            "Peer: \(self.node) is \(self.phase.name.rawValue), and nobody waits (V3)")
    }
}

extension Ledger: InvariantChecking {
    /// Rule V7: a region that may be written at once is marked.
    func checkInvariants() throws(BrokenInvariant) {
        try invariant(self.areSafeMarked, "Ledger: a region may be written that is not marked (V7)")
        try invariant(self.touched.count == self.metadata.marks.regions, "Ledger: regions without a sequence")
    }
}
