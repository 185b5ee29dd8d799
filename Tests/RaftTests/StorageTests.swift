import Basis
import Host
import Raft
import RaftStorage
import SimulatedDisks
import Testing

@Suite struct `The log on disk` {
    @Test func `every sequence of requests is read back as it was`() throws {
        for seed in 1...200 as ClosedRange<UInt64> {
            let disk = SimulatedDisk()
            let requests = LogModel.requests(40, seed: seed)
            var model = LogModel()
            var random = SeededRandom(seed: seed)
            var store = try SmallLog.open(disk).0
            for request in requests {
                try store.persist(request)
                model.apply(request)
                if random.chance(perMille: 200) {
                    store.close()
                    let (next, restored) = try SmallLog.open(disk)
                    #expect(model.matches(restored), "seed \(seed), request \(request.sequence)")
                    store = next
                }
            }
            store.close()
            #expect(model.matches(try SmallLog.open(disk).1), "seed \(seed)")
        }
    }

    @Test func `a new log is empty and counts its starts`() throws {
        let disk = SimulatedDisk()
        for start in 1...5 as ClosedRange<UInt64> {
            let (store, restored) = try SmallLog.open(disk)
            #expect(store.startCounter == start)
            #expect(restored == RestoredState())
            store.close()
        }
    }

    @Test func `a request with entries costs one write and one sync`() throws {
        let disk = SimulatedDisk()
        let (store, _) = try SmallLog.open(disk)
        let entry = Entry(mark: LogMark(term: Term(1), index: LogIndex(1)), payload: .command([1, 2]))
        let before = disk.operations
        try store.persist(PersistRequest(sequence: 1, entries: [entry]))
        #expect(disk.operations == before + 2)
    }

    @Test func `a commit index alone costs nothing and travels with the next entry`() throws {
        let disk = SimulatedDisk()
        let (store, _) = try SmallLog.open(disk)
        func entry(_ index: UInt64) -> Entry {
            Entry(mark: LogMark(term: Term(1), index: LogIndex(index)), payload: .empty)
        }
        try store.persist(
            PersistRequest(sequence: 1, entries: [entry(1)], hardState: HardState(term: Term(1), votedFor: NodeID(1))))
        let before = disk.operations
        try store.persist(
            PersistRequest(
                sequence: 2, hardState: HardState(term: Term(1), votedFor: NodeID(1), commit: LogIndex(1))))
        #expect(disk.operations == before)
        try store.persist(PersistRequest(sequence: 3, entries: [entry(2)]))
        store.close()
        #expect(try SmallLog.open(disk).1.hardState.commit == LogIndex(1))
    }

    @Test func `a snapshot removes the segments it covers and the snapshot before it`() throws {
        let disk = SimulatedDisk()
        let (store, _) = try SmallLog.open(disk)
        func append(_ index: UInt64) throws {
            let mark = LogMark(term: Term(1), index: LogIndex(index))
            try store.persist(
                PersistRequest(
                    sequence: index, entries: [Entry(mark: mark, payload: .command([UInt8](repeating: 7, count: 400)))],
                    hardState: HardState(term: Term(1), votedFor: nil, commit: LogIndex(index - 1))))
        }
        for index in 1...20 as ClosedRange<UInt64> { try append(index) }
        #expect(try disk.list("/log").count { $0.hasPrefix("log-") } > 5)
        for index in [10, 19] as [UInt64] {
            let mark = LogMark(term: Term(1), index: LogIndex(index))
            try store.persist(
                PersistRequest(
                    sequence: 30,
                    snapshot: Snapshot(
                        mark: mark, membership: Membership(voters: [NodeID(1)]), membershipIndex: LogIndex(1), data: [9]
                    )))
        }
        let names = try disk.list("/log")
        #expect(names.count { $0.hasPrefix("log-") } <= 2)
        #expect(names.count { $0.hasPrefix("snapshot-") } == 1)
        store.close()
        let restored = try SmallLog.open(disk).1
        #expect(restored.snapshot?.mark.index == LogIndex(19))
        #expect(restored.entries.map(\.mark.index) == [LogIndex(20)])
    }

    @Test func `a log of another node or cluster is refused by name`() throws {
        let disk = SimulatedDisk()
        try SmallLog.open(disk).0.close()
        let before = try SmallLog.files(disk)
        #expect(
            throws: StorageError.otherNode(path: "/log/state", found: NodeID(1), expected: NodeID(2))
        ) { try SmallLog.open(disk, LogIdentity(cluster: "c-1", node: NodeID(2))) }
        #expect(throws: StorageError.otherCluster(path: "/log/state", found: "c-1", expected: "c-2")) {
            try SmallLog.open(disk, LogIdentity(cluster: "c-2", node: NodeID(1)))
        }
        #expect(try SmallLog.files(disk) == before)
    }

    @Test func `a second opener of a log is refused until the first one closes`() throws {
        let disk = SimulatedDisk()
        let (store, _) = try SmallLog.open(disk)
        #expect(throws: StorageError.locked(directory: "/log")) { try SmallLog.open(disk) }
        store.close()
        #expect(throws: StorageError.self) { try store.persist(PersistRequest(sequence: 1)) }
        #expect(try SmallLog.open(disk).0.startCounter == 2)
    }
}
