import Basis

extension LeaseHolder: InvariantChecking {
    /// A lease belongs to a life that is not over, and never outlasts what its renewal allows.
    public func checkInvariants() throws(BrokenInvariant) {
        try invariant(
            self.incarnation == .none || self.incarnation > self.over,
            "LeaseHolder: a lease of life \(self.incarnation), and \(self.over) is over (L18)")
        try invariant(self.end == .zero || self.incarnation != .none, "LeaseHolder: a lease of no life (L1)")
        try invariant(
            self.end <= self.ageless, "LeaseHolder: the lease ends at \(self.end), after \(self.ageless) (L1, L19)")
        for place in self.sent.indices.dropFirst() {
            try invariant(
                self.sent[place - 1].at <= self.sent[place].at,
                "LeaseHolder: the renewals of \(self.sent[place - 1].at) and \(self.sent[place].at) are out of order")
        }
    }
}

extension LeaseVoter: InvariantChecking {
    /// One promise to a node, no time before the start, and no more answers than are kept.
    public func checkInvariants() throws(BrokenInvariant) {
        try invariant(self.membershipChangedAt >= self.startedAt, "LeaseVoter: a membership from before its start (L5)")
        for (place, promise) in self.promises.enumerated() {
            try invariant(
                promise.at >= self.startedAt, "LeaseVoter: a promise to \(promise.node) from before its start (L5)")
            try invariant(
                !self.promises[..<place].contains { $0.node == promise.node },
                "LeaseVoter: two promises to \(promise.node) (L9)")
        }
        for (place, heard) in self.heard.enumerated() {
            try invariant(
                !self.heard[..<place].contains { $0.node == heard.node }, "LeaseVoter: \(heard.node) was heard twice")
        }
        for answered in self.answered {
            try invariant(
                (1...Self.answersKept).contains(answered.recent.count),
                "LeaseVoter: \(answered.recent.count) answers to \(answered.node) (L19)")
        }
    }
}
