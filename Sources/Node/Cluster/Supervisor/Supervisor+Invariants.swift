import Basis
import Raft

extension Supervisor: InvariantChecking {
    /// What the values of a node must say alike, and what each must be by itself. The applied state, which changes only with an
    /// entry, is checked where it is applied.
    public func checkInvariants() throws(BrokenInvariant) {
        if self.marks.hasForgotten { return }
        try invariant(
            (self.leadership != nil) == self.consensus.outline.isLeader,
            "Supervisor: \(self.identity.node) leads in its log or in its decisions alone")
        try invariant(
            self.state.appliedIndex <= self.consensus.commitIndex,
            "Supervisor: \(self.identity.node) has applied what is not committed")
        try self.lease.holder.checkInvariants()
        try self.voting.voter.checkInvariants()
        try self.birth.checkInvariants()
        try self.marks.checkInvariants()
        try self.peers.checkInvariants()
        try self.groups.checkInvariants()
        try self.requests.checkInvariants()
        try self.leadership?.checkInvariants()
        try invariant(self.volumes.views.isAscending(by: \.name), "Supervisor: volumes are out of order")
    }
}

extension Birth: InvariantChecking {
    /// A life is admitted as a whole: with an incarnation, and with the mark of this start.
    func checkInvariants() throws(BrokenInvariant) {
        try invariant(!self.isAdmitted || self.incarnation != .none, "Birth: admitted without a life (L8)")
        try invariant(!self.isAdmitted || self.isMarkAdmitted, "Birth: admitted, and its log is not (E2.5)")
        try invariant(
            !self.isCaughtUp || self.readIndex != nil, "Birth: caught up with an index that nobody confirmed (L10)")
    }
}

extension OwnMarks: InvariantChecking {
    /// At most one mark is on its way to the disk.
    func checkInvariants() throws(BrokenInvariant) {
        try invariant(
            !self.isDrawnInDoubt || self.drawn != nil, "OwnMarks: the mark of a doubt was drawn and is not there (E4.3)"
        )
    }
}

extension Peers: InvariantChecking {
    /// Nobody counts who was seen not to remember.
    func checkInvariants() throws(BrokenInvariant) {
        for place in self.acquaintances.indices where self.acquaintances[place].evidence != nil {
            try invariant(
                self.acquaintances[place].counted == .none,
                "Peers: \(self.acquaintances[place].node) counts, and does not remember what is noted of it (E2.6)")
        }
        try invariant(self.distrusted.isAscending(by: \.node), "Peers: the distrusted are out of order")
    }
}

extension LocalGroups: InvariantChecking {
    /// One runner of a group, each sound.
    public func checkInvariants() throws(BrokenInvariant) {
        try invariant(self.runners.isAscending(by: \.name), "LocalGroups: two runners of one group, or out of order")
        try invariant(self.remains.all.isAscending(by: \.group), "LocalGroups: remains are out of order (L11.5)")
        try invariant(self.namedVersion <= self.version, "LocalGroups: more is told than has changed")
        for place in self.runners.indices { try self.runners[place].checkInvariants() }
    }
}

extension Requests: InvariantChecking {
    /// Numbers that are given once, in their order.
    func checkInvariants() throws(BrokenInvariant) {
        try invariant(self.pending.isAscending(by: \.sequence), "Requests: out of order")
        try invariant(
            self.pending.last.map { $0.sequence < self.nextSequence } ?? true, "Requests: a number would be given twice"
        )
    }
}

extension Leadership: InvariantChecking {
    /// One report of a voter.
    func checkInvariants() throws(BrokenInvariant) {
        for (place, report) in self.reports.enumerated() {
            try invariant(
                !self.reports[..<place].contains { $0.voter == report.voter },
                "Leadership: two reports of \(report.voter) (L7)")
        }
    }
}
