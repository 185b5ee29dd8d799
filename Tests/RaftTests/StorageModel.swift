import Basis
import Raft
import RaftStorage
import SimulatedDisks

/// What a log must hold after some requests, kept in the plainest way.
struct LogModel: Equatable {
    var hardState = HardState()
    var snapshot: Snapshot?
    var entries: [Entry] = []

    var last: LogMark { self.entries.last?.mark ?? self.snapshot?.mark ?? .zero }

    mutating func apply(_ request: PersistRequest, withHardState: Bool = true) {
        if let snapshot = request.snapshot {
            let keeps = self.entries.contains { $0.mark == snapshot.mark } || self.snapshot?.mark == snapshot.mark
            self.entries = keeps ? self.entries.filter { $0.mark.index > snapshot.mark.index } : []
            self.snapshot = snapshot
        }
        for entry in request.entries {
            self.entries.removeAll { $0.mark.index >= entry.mark.index }
            self.entries.append(entry)
        }
        if withHardState, let hardState = request.hardState { self.hardState = hardState }
    }

    /// Whether a log that was opened again shows exactly this; the commit index is a lower bound only.
    func matches(_ restored: RestoredState) -> Bool {
        var term = self.hardState.term
        var vote = self.hardState.votedFor
        if self.last.term > term { (term, vote) = (self.last.term, nil) }
        return restored.snapshot == self.snapshot && restored.entries == self.entries
            && restored.hardState.term == term && restored.hardState.votedFor == vote
            && restored.hardState.commit <= max(self.hardState.commit, self.snapshot?.mark.index ?? .zero)
            && restored.hardState.commit >= self.snapshot?.mark.index ?? .zero
    }

    /// A request such as a node may make: appends, conflicts above the commit index, votes, its own snapshots and those
    /// of a leader.
    func request(_ random: inout SeededRandom, sequence: UInt64) -> PersistRequest {
        var request = PersistRequest(sequence: sequence)
        var hard = self.hardState
        var last = self.last.index
        var committed = hard.commit
        if random.chance(perMille: 250) {
            hard.term = Term(hard.term.rawValue + 1 + random.below(2))
            hard.votedFor = random.chance(perMille: 700) ? NodeID(1 + UInt32(random.below(3))) : nil
        }
        hard.term = max(hard.term, Term(1), self.last.term)
        if hard.term != self.hardState.term, hard.term == self.last.term { hard.votedFor = nil }
        let kind = random.below(10)
        if kind == 0, let mark = self.entries.filter({ $0.mark.index <= committed }).map(\.mark).last {
            request.snapshot = Self.snapshot(mark, &random)
        } else if kind == 1 {
            let index = LogIndex(committed.rawValue + 1 + random.below(4))
            let mark = LogMark(term: hard.term, index: index)
            if !self.entries.contains(where: { $0.mark == mark }) || random.chance(perMille: 500) {
                last = self.entries.contains { $0.mark == mark } ? last : index
                request.snapshot = Self.snapshot(mark, &random)
                committed = index
            }
        }
        if random.chance(perMille: 750) {
            let low = max(committed, request.snapshot?.mark.index ?? .zero)
            let conflicts = request.snapshot == nil && last > low && random.chance(perMille: 250)
            let first = conflicts ? low.rawValue + 1 + random.below(last.rawValue - low.rawValue) : last.rawValue + 1
            if conflicts { hard = HardState(term: hard.term.next, votedFor: hard.votedFor, commit: hard.commit) }
            let count = 1 + random.below(3)
            request.entries = (first..<first + count).map { index in
                Entry(mark: LogMark(term: hard.term, index: LogIndex(index)), payload: Self.payload(&random))
            }
            last = LogIndex(first + count - 1)
        }
        if random.chance(perMille: 400), last > committed {
            committed = LogIndex(committed.rawValue + random.below(last.rawValue - committed.rawValue + 1))
        }
        hard.commit = committed
        if hard != self.hardState { request.hardState = hard }
        return request
    }

    private static func payload(_ random: inout SeededRandom) -> Entry.Payload {
        switch random.below(8) {
        case 0: .empty
        case 1: .membership(Membership(voters: [NodeID(1), NodeID(2)], witnesses: [NodeID(2)]))
        case 2: .command(self.bytes(700 + Int(random.below(900)), &random))
        default: .command(self.bytes(Int(random.below(60)), &random))
        }
    }

    private static func snapshot(_ mark: LogMark, _ random: inout SeededRandom) -> Snapshot {
        Snapshot(
            mark: mark, membership: Membership(voters: [NodeID(1), NodeID(3)]), membershipIndex: mark.index,
            data: self.bytes(Int(random.below(1500)), &random))
    }

    private static func bytes(_ count: Int, _ random: inout SeededRandom) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    /// A run of requests, each valid after those before it.
    static func requests(_ count: Int, seed: UInt64) -> [PersistRequest] {
        var random = SeededRandom(seed: seed)
        var model = LogModel()
        return (1...UInt64(count)).map { sequence in
            let request = model.request(&random, sequence: sequence)
            model.apply(request)
            return request
        }
    }

    /// What the log holds after these requests.
    static func after(_ requests: some Sequence<PersistRequest>) -> LogModel {
        var model = LogModel()
        for request in requests { model.apply(request) }
        return model
    }

    /// What may be found when the last request was not acknowledged: nothing of it, its log, or all of it.
    static func outcomes(_ acknowledged: LogModel, _ pending: PersistRequest?) -> [LogModel] {
        guard let pending else { return [acknowledged] }
        var log = acknowledged
        log.apply(pending, withHardState: false)
        var all = acknowledged
        all.apply(pending)
        log.hardState.commit = all.hardState.commit
        return [acknowledged, log, all]
    }
}

/// A log in `/log` of a simulated disk.
enum SmallLog {
    static let directory = "/log"
    static let identity = LogIdentity(cluster: "c-1", node: NodeID(1))

    static func open(
        _ disk: SimulatedDisk, _ identity: LogIdentity = Self.identity,
        draw: StartDraw = StartDraw(directory: DirectoryID(high: 7, low: 7), nonce: 7),
        resuming progress: LogProgress? = nil
    ) throws(StorageError) -> (LogStore, RestoredState) {
        try LogStore.open(
            directory: self.directory, on: disk, identity: identity, draw: draw, resuming: progress,
            segmentBytes: 900)
    }

    /// Persists until one fails; how many were acknowledged.
    static func run(_ requests: some Sequence<PersistRequest>, on store: LogStore) -> Int {
        var count = 0
        for request in requests {
            do throws(StorageError) { try store.persist(request) } catch { return count }
            count += 1
        }
        return count
    }

    /// All files with their content, for comparing.
    static func files(_ disk: SimulatedDisk) throws -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        for name in try disk.list(self.directory) { files[name] = try disk.read("\(self.directory)/\(name)") }
        return files
    }
}
