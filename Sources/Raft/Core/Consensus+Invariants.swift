import Basis

extension Consensus: InvariantChecking {
    /// What holds between two steps, whatever was received and in whatever order.
    public func checkInvariants() throws(BrokenInvariant) {
        let last = self.log.last
        try invariant(self.commitIndex <= last.index, "Consensus: committed beyond the log: \(self.summary)")
        try invariant(
            self.deliveredIndex <= self.commitIndex, "Consensus: delivered what is not committed: \(self.summary)")
        try invariant(self.durability.last <= last.index, "Consensus: durable beyond the log: \(self.summary)")
        try invariant(last.term <= self.term, "Consensus: an entry of a later term: \(self.summary)")
        switch self.state {
        case .leader:
            try invariant(self.outline.isLeader, "Consensus: leads unseen: \(self.summary)")
            try invariant(self.votedFor == self.id, "Consensus: leads without its own vote (C1): \(self.summary)")
            try invariant(
                self.leading.opening <= last.index, "Consensus: leads without an entry of its term: \(self.summary)")
            for peer in self.leading.peers {
                try invariant(
                    peer.match <= last.index, "Consensus: \(peer.node) has more than the leader: \(self.summary)")
                // While a snapshot is on its way, the next entry is no matter.
                if case .snapshot = peer.state { continue }
                try invariant(
                    peer.match < peer.next, "Consensus: would send again to \(peer.node) what it has: \(self.summary)")
            }
        case .candidate(let campaign):
            try invariant(self.votedFor == self.id, "Consensus: campaigns without its own vote (C1): \(self.summary)")
            try invariant(campaign.term == self.term, "Consensus: campaigns for another term: \(self.summary)")
        case .follower, .preCandidate:
            try invariant(!self.outline.isLeader, "Consensus: does not lead, and says so: \(self.summary)")
        }
        if case .leader = self.state { return }
        try invariant(self.leading.peers.isEmpty, "Consensus: has a leader's data and does not lead: \(self.summary)")
    }
}
