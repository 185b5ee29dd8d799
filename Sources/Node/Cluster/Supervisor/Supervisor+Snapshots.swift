import Basis
import Raft

/// Snapshots of the state: this node's own, and the leader's where this node is far behind. (Rule C4)
extension Supervisor {
    /// Has a snapshot made once the log is long. The state is copied, which costs nothing but what changes meanwhile.
    mutating func compactIfLong(at now: Tick, into effects: inout [SupervisorEffect]) {
        let applied = self.state.appliedIndex
        let due = self.consensus.snapshotIndex.rawValue + self.consensus.settings.entriesBetweenSnapshots
        guard applied.rawValue >= due, self.applied.unreadable == nil, self.applied.desk.isFree else { return }
        let snapshot = Snapshot(
            mark: LogMark(term: self.applied.term, index: applied), membership: self.applied.membership,
            membershipIndex: self.applied.membershipIndex, data: [])
        self.applied.desk.beginOwn()
        effects.append(.snapshot(.make(snapshot, of: self.state)))
    }

    /// The leader's snapshot is here.
    mutating func keep(_ snapshot: Snapshot, into effects: inout [SupervisorEffect]) {
        self.applied.desk.arrive(snapshot)
        self.orderSnapshot(into: &effects)
    }

    private mutating func orderSnapshot(into effects: inout [SupervisorEffect]) {
        if let order = self.applied.desk.next() { effects.append(.snapshot(order)) }
    }

    /// One was written, or could not be.
    mutating func snapshotEnded(_ word: SnapshotWord, at now: Tick, into effects: inout [SupervisorEffect]) {
        self.applied.desk.ended(word, at: now)
        switch word {
        case .made(let snapshot): self.consensusStep(.compact(snapshot), at: now, into: &effects)
        case .kept(let mark, _):
            self.consensusStep(.kept(mark), at: now, into: &effects)
            // The log has gone another way meanwhile.
            if self.consensus.snapshotIndex != mark.index { self.applied.desk.state = nil }
        case .failed(let mark, let reason): effects.append(.note(.snapshotFailed(mark, reason: reason)))
        }
        self.orderSnapshot(into: &effects)
    }

    /// Tries again what failed a while ago.
    mutating func settleSnapshots(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard self.applied.desk.isDueAgain(at: now) else { return }
        self.orderSnapshot(into: &effects)
        self.compactIfLong(at: now, into: &effects)
    }

    /// What a snapshot says that the log names now: it was read while it was written, or is read here.
    mutating func stateOf(_ snapshot: Snapshot) throws(CodecError) -> ClusterState {
        if let read = self.applied.desk.state.take(), read.mark == snapshot.mark { return read.state }
        return try self.identity.release.state(decoding: snapshot.data)
    }
}
