import Basis

extension Consensus {
    /// Finds the index a read must wait for, by a heartbeat round that a majority of voters answers. (Rule C6; thesis §6.4)
    mutating func readIndex(_ id: UInt64, into effects: inout Effects) {
        if case .leader = self.state {
            self.readAsked(id, by: self.id, into: &effects)
        } else if let leader = self.leader {
            self.send(.readRequest(id: id), to: leader, into: &effects)
        } else {
            effects.rejectedReads.append(id)
        }
    }

    mutating func readRequested(_ id: UInt64, by sender: NodeID, into effects: inout Effects) {
        guard case .leader = self.state else {
            self.send(.readResponse(id: id, index: nil), to: sender, into: &effects)
            return
        }
        self.readAsked(id, by: sender, into: &effects)
    }

    mutating func readAnswered(_ id: UInt64, index: LogIndex?, into effects: inout Effects) {
        if let index {
            effects.reads.append(.init(id: id, index: index))
        } else {
            effects.rejectedReads.append(id)
        }
    }

    private mutating func readAsked(_ id: UInt64, by asker: NodeID, into effects: inout Effects) {
        // Before its first commit a leader does not know how far its predecessors committed. (Pitfall R1)
        guard self.commitIndex >= self.leading.opening else {
            self.leading.earlyReads.append((id, asker))
            return
        }
        if self.isSoleVoter {
            self.answerRead(id, from: asker, index: self.commitIndex, into: &effects)
            return
        }
        let waiting = self.leading.reads.last
        let round = self.leading.round + 1
        self.leading.reads.append(Leader.Read(id: id, from: asker, index: self.commitIndex, round: round))
        // Reads that come while a round is out share the next one.
        guard waiting == nil else { return }
        self.leading.round = round
        self.sendHeartbeats(into: &effects)
    }

    /// Leader: reads that came while a round was out get theirs.
    mutating func startWaitingReadRound() {
        if let last = self.leading.reads.last, last.round > self.leading.round { self.leading.round = last.round }
    }

    mutating func startEarlyReads(into effects: inout Effects) {
        guard case .leader = self.state, !self.leading.earlyReads.isEmpty,
            self.commitIndex >= self.leading.opening
        else { return }
        let waiting = self.leading.earlyReads
        self.leading.earlyReads = []
        for read in waiting { self.readAsked(read.id, by: read.from, into: &effects) }
    }

    /// Leader: answers the reads whose round a majority of voters has answered. Learners do not count. (Pitfall R2)
    mutating func confirmReads(into effects: inout Effects) {
        guard case .leader = self.state, let first = self.leading.reads.first else { return }
        let confirmed = Quorum.holds(self.log.membership) { node in
            node == self.id
                || self.leading.position(of: node).map { self.leading.peers[$0].round >= first.round } ?? false
        }
        guard confirmed else { return }
        let answered = self.leading.reads.prefix { $0.round == first.round }
        self.leading.reads.removeFirst(answered.count)
        for read in answered { self.answerRead(read.id, from: read.from, index: read.index, into: &effects) }
        guard let next = self.leading.reads.first else { return }
        if next.round > self.leading.round {
            self.startWaitingReadRound()
            self.sendHeartbeats(into: &effects)
        } else {
            self.confirmReads(into: &effects)
        }
    }

    private func answerRead(_ id: UInt64, from asker: NodeID, index: LogIndex, into effects: inout Effects) {
        if asker == self.id {
            effects.reads.append(.init(id: id, index: index))
        } else {
            self.send(.readResponse(id: id, index: index), to: asker, into: &effects)
        }
    }

    func refuseRead(_ id: UInt64, from asker: NodeID, into effects: inout Effects) {
        if asker == self.id {
            effects.rejectedReads.append(id)
        } else {
            self.send(.readResponse(id: id, index: nil), to: asker, into: &effects)
        }
    }
}
