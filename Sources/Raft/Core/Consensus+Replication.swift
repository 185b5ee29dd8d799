import Basis

extension Leader {
    enum Shipment {
        case nothing
        case append(previous: LogMark, entries: [Entry])
        case needsSnapshot
    }

    /// The next append for a peer, noted as sent. `insist` sends even an empty one, to learn where the peer is.
    mutating func nextAppend(
        to position: Int, log: Log, commit: LogIndex, settings: Consensus.Settings, insist: Bool
    ) -> Shipment {
        var full = false
        var probing = false
        switch self.peers[position].state {
        case .snapshot, .probe(waiting: true): return .nothing
        case .probe(waiting: false): probing = true
        case .replicate:
            full =
                self.peers[position].inflight.count >= settings.maximumInflightAppends
                || self.peers[position].inflight.bytes >= settings.maximumInflightBytes
            if full, !insist { return .nothing }
        }
        let after = self.peers[position].next.previous
        guard let term = log.term(at: after) else { return .needsSnapshot }
        let entries =
            full ? [] : log.copy(after: after, through: log.last.index, maximumBytes: settings.maximumAppendBytes)
        if entries.isEmpty, !insist, !probing, self.peers[position].sentCommit >= commit { return .nothing }
        self.peers[position].sentCommit = commit
        if probing {
            self.peers[position].state = .probe(waiting: true)
        } else if let last = entries.last {
            self.peers[position].next = last.mark.index.next
            self.peers[position].inflight.add(
                last: last.mark.index, bytes: entries.reduce(0) { $0 + $1.payloadBytes })
        }
        return .append(previous: LogMark(term: term, index: after), entries: entries)
    }
}

extension Consensus {
    @discardableResult
    mutating func append(_ payload: [UInt8], into effects: inout Effects) -> LogMark? {
        if let refusal = self.refusalToPropose(payload.count) {
            effects.dropped.append(.init(request: .proposal(payload), reason: refusal))
            return nil
        }
        self.appendEntry(.command(payload))
        self.broadcast(into: &effects)
        return self.log.last
    }

    private func refusalToPropose(_ bytes: Int) -> Refusal? {
        guard case .leader = self.state else { return .notLeader(leader: self.leader) }
        if let transfer = self.leading.transfer { return .transferring(to: transfer.target) }
        // One proposal is always let in, however large.
        if self.leading.uncommittedBytes > 0,
            self.leading.uncommittedBytes + bytes > self.settings.maximumUncommittedBytes
        {
            return .tooMuchUncommitted(bytes: self.leading.uncommittedBytes)
        }
        return nil
    }

    mutating func appendEntry(_ payload: Entry.Payload) {
        let entry = Entry(mark: LogMark(term: self.term, index: self.log.last.index.next), payload: payload)
        self.log.append(entry)
        self.leading.uncommittedBytes += entry.payloadBytes
        if case .membership = payload { self.refreshPeers() }
    }

    /// Sends what is new to every peer whose window is open.
    mutating func broadcast(into effects: inout Effects) {
        for position in 0..<self.leading.peers.count { self.ship(to: position, into: &effects) }
    }

    mutating func ship(to position: Int, insist: Bool = false, into effects: inout Effects) {
        var insist = insist
        while true {
            let shipment = self.leading.nextAppend(
                to: position, log: self.log, commit: self.commitIndex, settings: self.settings, insist: insist)
            switch shipment {
            case .nothing: return
            case .needsSnapshot:
                self.startSnapshot(to: position, into: &effects)
                return
            case .append(let previous, let entries):
                self.send(
                    .append(previous: previous, entries: entries, commit: self.commitIndex),
                    to: self.leading.peers[position].node, into: &effects)
                if entries.isEmpty { return }
                insist = false
            }
        }
    }

    /// Leader: a peer's durable log agrees up to `match`.
    mutating func accepted(match: LogIndex, by sender: NodeID, into effects: inout Effects) {
        guard let position = self.heardPeer(sender) else { return }
        let advanced = match > self.leading.peers[position].match
        if advanced { self.leading.peers[position].match = match }
        let known = self.leading.peers[position].match
        switch self.leading.peers[position].state {
        case .probe: self.leading.peers[position].replicate()
        case .replicate:
            self.leading.peers[position].inflight.acknowledge(through: match)
            if self.leading.peers[position].next <= known { self.leading.peers[position].next = known.next }
        case .snapshot(let sending):
            // If the log has moved on past this snapshot, the next append starts the newer one.
            if known >= min(self.log.base.index, sending.snapshot.mark.index) {
                self.leading.peers[position].replicate()
            }
        }
        if advanced, self.advanceCommit(into: &effects) {
            self.afterCommit(into: &effects)
        } else {
            self.ship(to: position, into: &effects)
        }
        self.continueTransfer(into: &effects)
    }

    /// Leader: a peer's log does not hold `previous`. Skips whole terms that cannot agree. (Raft §5.3, end)
    mutating func rejected(previous: LogIndex, hint: LogMark, by sender: NodeID, into effects: inout Effects) {
        guard let position = self.heardPeer(sender) else { return }
        if !self.leading.peers[position].isVoter, hint.index < self.leading.peers[position].match {
            // A learner's disk was rolled back, or the message is old; its log counts for nothing, so it is asked anew.
            self.leading.peers[position].match = .zero
            self.leading.peers[position].probe(from: hint.index.next)
            self.ship(to: position, insist: true, into: &effects)
            return
        }
        let match = self.leading.peers[position].match
        if hint.index > previous, case .replicate = self.leading.peers[position].state, previous <= match {
            // The peer's log begins after `previous`: it agrees with what is committed, and goes on from there.
            self.leading.peers[position].probe(from: hint.index.next)
            self.ship(to: position, insist: true, into: &effects)
            return
        }
        switch self.leading.peers[position].state {
        case .snapshot: return
        case .replicate: guard previous > match else { return }  // Pitfall L3
        case .probe: guard previous == self.leading.peers[position].next.previous, previous > match else { return }
        }
        if hint.index > previous {
            self.leading.peers[position].probe(from: hint.index.next)
            self.ship(to: position, insist: true, into: &effects)
            return
        }
        let reach = min(hint.index, previous.previous)
        let guess = self.log.lastMark(atOrBefore: reach, term: hint.term)?.index ?? self.log.base.index.previous
        self.leading.peers[position].probe(from: min(guess.next, previous))
        self.ship(to: position, insist: true, into: &effects)
    }

    /// Leader: notes that a peer lives; nil when this node does not lead or does not know the peer.
    mutating func heardPeer(_ sender: NodeID) -> Int? {
        guard case .leader = self.state, let position = self.leading.position(of: sender) else { return nil }
        if self.leading.peers[position].heard, self.leading.peers[position].isVoter {
            self.noteSilence(since: self.leading.peers[position].contact)
        }
        self.leading.peers[position].contact = self.latest
        self.leading.peers[position].heard = true
        return position
    }

    /// Leader: commits what a majority holds, if it is of this term. (Rule C2; Raft §5.4.2; pitfalls E1, L11)
    mutating func advanceCommit(into effects: inout Effects) -> Bool {
        guard case .leader = self.state else { return false }
        let durable = self.durability.last
        let held = Quorum.committed(self.log.membership) { node in
            if node == self.id { return durable }
            return self.leading.position(of: node).map { self.leading.peers[$0].match } ?? .zero
        }
        guard held > self.commitIndex, self.log.term(at: held) == self.term else { return false }
        self.commit(through: held)
        return true
    }

    private mutating func commit(through index: LogIndex) {
        var bytes = 0
        var next = self.commitIndex.next
        while next <= index {
            bytes += self.log.entry(at: next)?.payloadBytes ?? 0
            next = next.next
        }
        self.commitIndex = index
        self.leading.uncommittedBytes = max(0, self.leading.uncommittedBytes - bytes)
    }

    /// Leader: what a newer commit index sets off.
    mutating func afterCommit(into effects: inout Effects) {
        self.finishJointMembership()
        self.startEarlyReads(into: &effects)
        self.broadcast(into: &effects)
        self.continueTransfer(into: &effects)
        self.leaveIfRemoved(into: &effects)
    }

    mutating func tickLeader(into effects: inout Effects) {
        let now = self.latest
        let timeout = self.patience
        let heard = Quorum.holds(self.log.membership) { node in
            node == self.id
                || self.leading.position(of: node).map { now < self.leading.peers[$0].contact + timeout } ?? false
        }
        guard heard else {
            effects.notes.append(.heardNoMajority(timeout))
            self.follow(nil, in: self.term, into: &effects)
            return
        }
        self.expireTransfer(into: &effects)
        if now >= self.leading.heartbeatDue {
            self.leading.heartbeatDue = now + self.settings.heartbeatInterval
            self.startWaitingReadRound()
            self.sendHeartbeats(into: &effects)
        }
        self.continueTransfer(into: &effects)
    }

    mutating func sendHeartbeats(into effects: inout Effects) {
        for peer in self.leading.peers {
            self.send(
                .heartbeat(commit: min(peer.match, self.commitIndex), round: self.leading.round), to: peer.node,
                into: &effects)
        }
    }

    mutating func heartbeatAnswered(round: UInt64, by sender: NodeID, into effects: inout Effects) {
        guard let position = self.heardPeer(sender) else { return }
        self.leading.peers[position].round = max(self.leading.peers[position].round, round)
        let behind = self.leading.peers[position].match < self.log.last.index
        switch self.leading.peers[position].state {
        case .probe:
            self.leading.peers[position].state = .probe(waiting: false)
            self.ship(to: position, insist: true, into: &effects)
        case .replicate:
            // An append that was lost with nothing behind it shows only when asked about.
            self.ship(to: position, insist: behind, into: &effects)
        case .snapshot(let sending):
            if self.latest >= sending.sentAt + self.settings.heartbeatInterval {
                self.sendChunk(to: position, into: &effects)
            }
        }
        self.confirmReads(into: &effects)
        self.continueTransfer(into: &effects)
    }
}

extension Consensus {
    private var agreed: LogIndex {
        guard case .follower(let follower) = self.state else { return .zero }
        return follower.agreed
    }

    private mutating func noteAgreed(_ index: LogIndex) {
        guard case .follower(var follower) = self.state, index > follower.agreed else { return }
        follower.agreed = index
        self.state = .follower(follower)
    }

    /// Follower: entries of the leader of this term. (Rule C3; Raft §5.3, Figure 2)
    mutating func appendRequested(
        previous: LogMark, entries: [Entry], commit: LogIndex, by sender: NodeID, into effects: inout Effects
    ) {
        // An old message is compared like any other: saying that what is committed agrees, without a look, would hide that
        // it does not. A place before the log's begin cannot be compared; the hint says where it can. (Pitfall L16)
        guard self.log.term(at: previous.index) == previous.term else {
            let reach = min(previous.index, self.log.last.index)
            let hint = self.log.lastMark(atOrBefore: reach, term: previous.term) ?? self.log.base
            self.send(.appendRejected(previous: previous.index, hint: hint), to: sender, into: &effects)
            return
        }
        for (position, entry) in entries.enumerated() {
            if let term = self.log.term(at: entry.mark.index) {
                if term == entry.mark.term { continue }
                effects.notes.append(.cutsLog(LogMark(term: term, index: entry.mark.index)))
                self.log.truncate(from: entry.mark.index)
                self.durability.cut(from: entry.mark.index)
            }
            for later in entries[position...] { self.log.append(later) }
            break
        }
        let agreed = entries.last?.mark.index ?? previous.index
        self.noteAgreed(agreed)
        self.commitIndex = max(self.commitIndex, min(commit, agreed))
        self.promise(.appendAccepted(match: agreed), to: sender, into: &effects)
    }

    mutating func heartbeatReceived(
        commit: LogIndex, round: UInt64, from sender: NodeID, into effects: inout Effects
    ) {
        // A heartbeat says what is committed of what this node once acknowledged. After a restart it asks for an append
        // first: should its disk have been rolled back, the log is not what it was.
        let agreed = self.agreed
        if commit > agreed, commit > self.commitIndex {
            self.send(
                .appendRejected(previous: self.log.last.index.next, hint: self.log.last), to: sender, into: &effects)
        }
        self.commitIndex = max(self.commitIndex, min(commit, agreed))
        let body = Message.Body.heartbeatResponse(round: round)
        let hardState = self.durability.hardState
        if self.durability.isPromisePending || hardState.term != self.term {
            self.promise(body, to: sender, into: &effects)
        } else {
            self.send(body, to: sender, into: &effects)
        }
    }
}
