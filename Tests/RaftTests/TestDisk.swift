import Basis
import Raft

/// What survives a crash in a test.
struct TestDisk {
    var state = RestoredState()

    func holds(_ mark: LogMark) -> Bool {
        if let snapshot = self.state.snapshot, snapshot.mark.index >= mark.index { return true }
        return self.state.entries.contains { $0.mark == mark }
    }

    mutating func write(_ request: PersistRequest) {
        self.writeLog(request)
        if let hardState = request.hardState { self.state.hardState = hardState }
    }

    /// A crash in the middle of a write: the snapshot and the first entries are there, the rest is not.
    mutating func tear(_ request: PersistRequest, entries kept: Int) {
        var torn = request
        torn.entries = Array(request.entries.prefix(kept))
        self.writeLog(torn)
    }

    private mutating func writeLog(_ request: PersistRequest) {
        if let snapshot = request.snapshot {
            let continues = self.state.entries.contains { $0.mark == snapshot.mark }
            self.state.entries = continues ? self.state.entries.filter { $0.mark.index > snapshot.mark.index } : []
            self.state.snapshot = snapshot
        }
        if let first = request.entries.first {
            self.state.entries.removeAll { $0.mark.index >= first.mark.index }
            self.state.entries += request.entries
        }
    }
}

/// A node of a test: the core, its disk, and a state machine that remembers every command.
struct TestNode {
    let id: NodeID
    var core: Consensus?
    var disk = TestDisk()
    /// Snapshots that are being written beside the log.
    var keeps: [LogMark] = []
    var writes: [(request: PersistRequest, messages: [Outbound])] = []
    var holdsWrites = false
    var applied: LogIndex = .zero
    var commands: [UInt8] = []
    var lives: UInt64 = 0

    mutating func start(settings: Consensus.Settings, seed: UInt64, at now: Tick) {
        self.lives += 1
        self.core = Consensus(
            id: self.id, settings: settings, restored: self.disk.state, seed: seed &+ self.lives, at: now)
        self.applied = self.disk.state.snapshot?.mark.index ?? .zero
        self.commands = self.disk.state.snapshot?.data ?? []
    }

    mutating func crash() {
        self.core = nil
        self.writes = []
        self.keeps = []
    }

    mutating func apply(_ effects: Effects) {
        if let snapshot = effects.keep { self.keeps.append(snapshot.mark) }
        if let snapshot = effects.installed {
            precondition(
                snapshot.mark.index > self.applied, "\(self.id) installs \(snapshot.mark) after \(self.applied)")
            self.applied = snapshot.mark.index
            self.commands = snapshot.data
        }
        for entry in effects.committed {
            precondition(
                entry.mark.index == self.applied.next, "\(self.id) applies \(entry.mark) after \(self.applied)")
            self.applied = entry.mark.index
            if case .command(let bytes) = entry.payload { self.commands += bytes }
        }
    }
}
