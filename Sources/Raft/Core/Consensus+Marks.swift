import Basis

/// Which start of each other node's log this node wrote down, beside term and vote. (Rule E2.1)
extension Consensus {
    /// The marks noted, sorted by node. Those noted by the latest steps may not be durable yet: see `areMarksDurable`.
    public var notedMarks: [NotedMark] { self.noted }

    /// Every mark noted is durable: what was promised under them may be counted.
    public var areMarksDurable: Bool {
        self.durability.notedVersion == self.notedVersion && !self.durability.isPromisePending
    }

    /// The mark noted of a node.
    public func notedMark(of node: NodeID) -> NotedMark? { self.noted.first { $0.node == node } }

    /// Writes a mark down, in the next request and with its term and vote; an older one changes nothing.
    mutating func note(_ mark: NotedMark) {
        guard let index = self.noted.firstIndex(where: { $0.node >= mark.node }), self.noted[index].node == mark.node
        else {
            guard mark.raises(nil) else { return }
            let index = self.noted.firstIndex { $0.node > mark.node } ?? self.noted.count
            self.noted.insert(mark, at: index)
            self.notedVersion += 1
            return
        }
        guard mark.raises(self.noted[index]) else { return }
        let mark = mark.joined(with: self.noted[index])
        let isAnotherStart = self.noted[index].mark != mark.mark
        self.noted[index] = mark
        self.notedVersion += 1
        if isAnotherStart { self.startedAnew(mark.node) }
    }

    /// Takes a further mark of this node's own log: it is noted as those of others are, so it counts once that is durable.
    mutating func draw(_ mark: StartMark) {
        let admittedAt = self.notedMark(of: self.id)?.admittedAt ?? .zero
        self.drawn = mark
        self.note(NotedMark(node: self.id, mark: mark, admittedAt: admittedAt))
    }

    /// Leader: a peer's log was opened anew, so what it acknowledged before is asked for again: it may hold less.
    mutating func startedAnew(_ node: NodeID) {
        guard case .leader = self.state, let position = self.leading.position(of: node) else { return }
        self.leading.peers[position].match = .zero
        self.leading.peers[position].round = 0
        self.leading.peers[position].sentCommit = .zero
        self.leading.peers[position].probe(from: self.log.last.index.next)
    }
}
