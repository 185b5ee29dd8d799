import Basis

extension Consensus {
    /// Puts the state machine's snapshot in force, which is on disk, and lets go of the log before it, but for a tail for slow
    /// followers. (Rule C4; Raft §7)
    mutating func compact(_ given: Snapshot, into effects: inout Effects) {
        let index = given.mark.index
        guard index > self.snapshotIndex else { return }
        precondition(index <= self.deliveredIndex, "a snapshot of \(index), which was not applied: \(self.summary)")
        precondition(
            self.log.term(at: index) == given.mark.term, "a snapshot of \(given.mark), unlike the log: \(self.summary)")
        // The log knows which membership was in force there. (Pitfall L15)
        let change = self.log.membership(at: index)
        let snapshot = Snapshot(
            mark: given.mark, membership: change.membership, membershipIndex: change.index, data: given.data)
        self.snapshot = snapshot
        self.durability.snapshot = snapshot
        let kept = self.settings.trailingEntries
        if index.rawValue > kept { self.log.compact(through: LogIndex(index.rawValue - kept)) }
    }

    /// Leader: a peer needs what the log no longer holds.
    mutating func startSnapshot(to position: Int, into effects: inout Effects) {
        guard let snapshot = self.snapshot else {
            preconditionFailure("the log begins after index 1 and there is no snapshot: \(self.summary)")
        }
        self.leading.peers[position].inflight.removeAll()
        self.leading.peers[position].state = .snapshot(
            Progress.Sending(snapshot: snapshot, offset: 0, sentEnd: 0, sentAt: self.latest))
        effects.notes.append(.sendsSnapshot(snapshot.mark, to: self.leading.peers[position].node))
        self.sendChunk(to: position, into: &effects)
    }

    mutating func sendChunk(to position: Int, into effects: inout Effects) {
        guard case .snapshot(var sending) = self.leading.peers[position].state else { return }
        let data = sending.snapshot.data
        sending.sentEnd = min(sending.offset + self.settings.snapshotChunkBytes, data.count)
        sending.sentAt = self.latest
        self.leading.peers[position].state = .snapshot(sending)
        let chunk = Message.SnapshotChunk(
            mark: sending.snapshot.mark, membership: sending.snapshot.membership,
            membershipIndex: sending.snapshot.membershipIndex, offset: UInt64(sending.offset),
            total: UInt64(data.count), bytes: Array(data[sending.offset..<sending.sentEnd]))
        self.send(.snapshotChunk(chunk), to: self.leading.peers[position].node, into: &effects)
    }

    /// Leader: so much of the snapshot has arrived.
    mutating func chunkAnswered(mark: LogMark, received: UInt64, by sender: NodeID, into effects: inout Effects) {
        guard let position = self.heardPeer(sender),
            case .snapshot(var sending) = self.leading.peers[position].state, sending.snapshot.mark == mark,
            received <= UInt64(sending.snapshot.data.count)
        else { return }
        let expected = Int(received) == sending.sentEnd && sending.sentEnd > sending.offset
        sending.offset = Int(received)
        self.leading.peers[position].state = .snapshot(sending)
        // Anything unexpected is an old answer, or a peer that started over: the next heartbeat goes on from there.
        guard expected else { return }
        self.sendChunk(to: position, into: &effects)
    }

    /// Follower: a part of the leader's snapshot. (Rule C4)
    mutating func chunkReceived(
        _ chunk: Message.SnapshotChunk, from sender: NodeID, into effects: inout Effects
    ) {
        if chunk.mark.index <= self.commitIndex {
            // What the leader's snapshot covers is committed there too; more was not compared.
            self.promise(.appendAccepted(match: chunk.mark.index), to: sender, into: &effects)
            return
        }
        if self.log.term(at: chunk.mark.index) == chunk.mark.term {
            // The log holds all of it, and more: what was acknowledged after it must stay. (Raft §7)
            self.commitIndex = chunk.mark.index
            self.promise(.appendAccepted(match: chunk.mark.index), to: sender, into: &effects)
            return
        }
        guard case .follower(var follower) = self.state else { return }
        // Taken out, so that what has arrived is not copied.
        var incoming = follower.incoming.take() ?? IncomingSnapshot(chunk)
        self.state = .follower(follower)
        if incoming.snapshot.mark != chunk.mark || incoming.total != chunk.total { incoming = IncomingSnapshot(chunk) }
        incoming.take(chunk)
        if incoming.received == incoming.total, !incoming.isBeingKept {
            incoming.isBeingKept = true
            effects.keep = incoming.snapshot
        }
        let received = incoming.received
        follower.incoming = incoming
        self.state = .follower(follower)
        // While it is being written the leader asks with each heartbeat whether it is there.
        self.send(.snapshotProgress(mark: chunk.mark, received: received), to: sender, into: &effects)
    }

    /// Follower: the snapshot that arrived is on disk. (Rule C4)
    mutating func kept(_ mark: LogMark, into effects: inout Effects) {
        // Of another term, or another one has begun to arrive: nothing names that file, and the leader asks again.
        guard case .follower(var follower) = self.state, let incoming = follower.incoming, incoming.isBeingKept,
            incoming.snapshot.mark == mark
        else { return }
        follower.incoming = nil
        self.state = .follower(follower)
        if mark.index > self.commitIndex {
            if self.log.term(at: mark.index) == mark.term {
                self.commitIndex = mark.index
            } else {
                self.install(incoming.snapshot, into: &effects)
            }
        }
        guard let leader = follower.leader else { return }
        self.promise(.appendAccepted(match: mark.index), to: leader, into: &effects)
    }

    /// Follower: the snapshot takes the place of the whole log, whose end is not part of the leader's.
    private mutating func install(_ snapshot: Snapshot, into effects: inout Effects) {
        effects.notes.append(.installsSnapshot(snapshot.mark))
        self.log.replace(by: snapshot)
        self.durability.replaced(by: snapshot)
        self.snapshot = snapshot
        self.commitIndex = snapshot.mark.index
    }
}
