import Basis
import Raft

/// A snapshot that is to be written beside the log, where it has no effect until the log names it. Takes as long as the state is
/// large: it is done at leisure, while the node goes on. (Rule C4)
public enum SnapshotOrder: Equatable, Sendable {
    /// Of this state, which is the one after the last entry that the snapshot covers; its data are not made yet.
    indirect case make(Snapshot, of: ClusterState)
    /// It came from the leader.
    indirect case keep(Snapshot)

    /// What it covers.
    public var mark: LogMark {
        switch self {
        case .make(let snapshot, _), .keep(let snapshot): snapshot.mark
        }
    }

    /// Does what is asked for, with `write` to make a snapshot durable beside the log, and says what becomes of it. Needs no
    /// thread in particular.
    public func perform(by release: Release, write: (Snapshot) throws -> Void) -> SnapshotWord {
        do {
            switch self {
            case .make(var snapshot, let state):
                snapshot.data = state.encoded
                try write(snapshot)
                return .made(snapshot)
            case .keep(let snapshot):
                try write(snapshot)
                return .kept(snapshot.mark, try? release.state(decoding: snapshot.data))
            }
        } catch {
            return .failed(self.mark, reason: "\(error)")
        }
    }
}

/// What became of a `SnapshotOrder`.
public enum SnapshotWord: Equatable, Sendable {
    /// The state's own snapshot is on disk.
    indirect case made(Snapshot)
    /// The leader's is on disk; and what it says, unless this release cannot read it.
    indirect case kept(LogMark, ClusterState?)
    /// It could not be written, and nothing is left of it.
    indirect case failed(LogMark, reason: String)
}

/// The snapshots that are written beside the log: one at a time, and after a failure none for a while.
struct SnapshotDesk: Sendable {
    /// How long after a failure the next try comes: the disk may be full, and somebody frees it.
    static let pause = Span.seconds(10)

    /// One is being written.
    private(set) var isBusy = false
    /// What came from the leader and is not on disk yet.
    private(set) var arrived: Snapshot?
    /// When a failed one is tried again; `never` if none failed.
    private(set) var againAt = Tick.never
    /// What the leader's says that is on disk, until the log names it.
    var state: (mark: LogMark, state: ClusterState)?

    /// A snapshot of this node's own state may be made.
    var isFree: Bool { !self.isBusy && self.arrived == nil && self.againAt == .never }

    /// This one came; it takes the place of an earlier one.
    mutating func arrive(_ snapshot: Snapshot) { self.arrived = snapshot }

    /// What came from the leader is begun, unless another is being written or has failed a moment ago.
    mutating func next() -> SnapshotOrder? {
        guard !self.isBusy, self.againAt == .never, let arrived = self.arrived else { return nil }
        self.isBusy = true
        return .keep(arrived)
    }

    /// One of this node's own state is begun.
    mutating func beginOwn() { self.isBusy = true }

    /// One has ended.
    mutating func ended(_ word: SnapshotWord, at now: Tick) {
        self.isBusy = false
        switch word {
        case .made: break
        case .kept(let mark, let state):
            if self.arrived?.mark == mark { self.arrived = nil }
            self.state = state.map { (mark, $0) }
        case .failed: self.againAt = now + Self.pause
        }
    }

    /// Whether a failed one is to be tried again now.
    mutating func isDueAgain(at now: Tick) -> Bool {
        guard now >= self.againAt else { return false }
        self.againAt = .never
        return true
    }
}
