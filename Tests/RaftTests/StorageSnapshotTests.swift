import Basis
import Host
import Raft
import RaftStorage
import SimulatedDisks
import Testing

/// Snapshots that are written beside the log. (Rule C4)
@Suite struct `A snapshot beside the log` {
    private static let names = ["/log/snapshot-00000000000000000002-00000000000000000001"]

    private func entries(_ indexes: ClosedRange<UInt64>) -> [Entry] {
        indexes.map { Entry(mark: LogMark(term: Term(1), index: LogIndex($0)), payload: .command([UInt8($0)])) }
    }

    private func snapshot(_ index: UInt64, _ data: [UInt8] = [1, 2, 3]) -> Snapshot {
        Snapshot(
            mark: LogMark(term: Term(1), index: LogIndex(index)), membership: Membership(voters: [NodeID(1)]),
            membershipIndex: LogIndex(1), data: data)
    }

    private func log(_ disk: SimulatedDisk, holding last: UInt64) throws -> LogStore {
        let (store, _) = try SmallLog.open(disk)
        try store.persist(PersistRequest(sequence: 1, entries: self.entries(1...last)))
        return store
    }

    private func snapshots(_ disk: SimulatedDisk) throws -> [String] {
        try disk.list(SmallLog.directory).filter { $0.hasPrefix("snapshot-") }
    }

    @Test func `has no effect before a request names it, and is gone at the next open`() throws {
        let disk = SimulatedDisk()
        let store = try self.log(disk, holding: 4)
        try store.keep(self.snapshot(2))
        #expect(try self.snapshots(disk).count == 1)
        store.close()
        let (_, restored) = try SmallLog.open(disk)
        #expect(restored.snapshot == nil)
        #expect(restored.entries == self.entries(1...4))
        #expect(try self.snapshots(disk) == [])
    }

    @Test func `is not written again by the request that names it`() throws {
        let disk = SimulatedDisk()
        let store = try self.log(disk, holding: 4)
        try store.keep(self.snapshot(2))
        disk.inject(.init(.create, path: "snapshot", count: .max, code: .inputOutput))
        try store.persist(PersistRequest(sequence: 2, snapshot: self.snapshot(2)))
        store.close()
        let (_, restored) = try SmallLog.open(disk)
        #expect(restored.snapshot == self.snapshot(2))
        #expect(restored.entries == self.entries(3...4))
    }

    @Test func `is written by the request if another one was kept (rule C4)`() throws {
        let disk = SimulatedDisk()
        let store = try self.log(disk, holding: 4)
        try store.keep(self.snapshot(2))
        var other = self.snapshot(2, [9])
        other.membership = Membership(voters: [NodeID(1), NodeID(2)])
        try store.persist(PersistRequest(sequence: 2, snapshot: other))
        try store.keep(self.snapshot(3))
        try store.persist(PersistRequest(sequence: 3, snapshot: self.snapshot(4)))
        #expect(try self.snapshots(disk).count == 1, "what no request will name goes")
        store.close()
        #expect(try SmallLog.open(disk).1.snapshot == self.snapshot(4))
    }

    @Test func `takes the place of one that was never named, and is passed over when a newer one is in force`() throws {
        let disk = SimulatedDisk()
        let store = try self.log(disk, holding: 6)
        try store.keep(self.snapshot(2))
        try store.keep(self.snapshot(3))
        #expect(try self.snapshots(disk).count == 1)
        try store.persist(PersistRequest(sequence: 2, snapshot: self.snapshot(5)))
        let before = disk.operations
        try store.keep(self.snapshot(3))
        try store.keep(self.snapshot(5))
        #expect(disk.operations == before)
        store.close()
        #expect(try SmallLog.open(disk).1.snapshot == self.snapshot(5))
    }

    @Test func `for which there is no room leaves nothing behind, and the log is as sound as before`() throws {
        let disk = SimulatedDisk()
        let store = try self.log(disk, holding: 2)
        let large = self.snapshot(2, [UInt8](repeating: 7, count: 3 << 20))
        disk.capacity = disk.used + (2 << 20)
        let used = disk.used
        #expect(throws: StorageError.self) { try store.keep(large) }
        #expect(disk.used == used)
        #expect(store.poison == nil)
        try store.persist(PersistRequest(sequence: 2, entries: self.entries(3...4)))
        disk.capacity = .max
        try store.keep(large)
        try store.persist(PersistRequest(sequence: 3, snapshot: large))
        store.close()
        let (_, restored) = try SmallLog.open(disk)
        #expect(restored.snapshot == large)
        #expect(restored.entries == self.entries(3...4))
    }

    @Test func `is written in pieces, so that a frame waits for little of it`() throws {
        let disk = SimulatedDisk()
        let store = try self.log(disk, holding: 2)
        let before = disk.operations
        try store.keep(self.snapshot(2, [UInt8](repeating: 7, count: 5 << 20)))
        // Each piece is written and synchronized; the head, the name and its directory besides.
        #expect(disk.operations - before >= 10)
    }

    @Test(arguments: 0..<40)
    func `fails and leaves the log sound, whatever fails`(skipping: Int) throws {
        let disk = SimulatedDisk()
        let store = try self.log(disk, holding: 4)
        disk.inject(.init(nil, skipping: skipping % 8, count: 1 + skipping / 8, code: .inputOutput))
        let isKept = (try? store.keep(self.snapshot(2))) != nil
        disk.heal()
        #expect(store.poison == nil)
        if !isKept { try store.keep(self.snapshot(2)) }
        try store.persist(PersistRequest(sequence: 2, snapshot: self.snapshot(2), entries: self.entries(5...5)))
        store.close()
        let (_, restored) = try SmallLog.open(disk)
        #expect(restored.snapshot == self.snapshot(2))
        #expect(restored.entries == self.entries(3...5))
    }

    @Test func `is written no more once the log is closed`() throws {
        let disk = SimulatedDisk()
        let store = try self.log(disk, holding: 4)
        store.close()
        let before = disk.operations
        #expect(throws: StorageError.self) { try store.keep(self.snapshot(2)) }
        #expect(disk.operations == before)
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func `a crash at any operation loses nothing acknowledged and invents nothing`(seed: UInt64) throws {
        let requests = LogModel.requests(14, seed: seed)
        for cut in 1... {
            let disk = SimulatedDisk()
            var random = SeededRandom(seed: seed &* 1_000_003 &+ UInt64(cut))
            let (store, _) = try SmallLog.open(disk)
            disk.powerFailsAt = disk.operations + cut
            let end = disk.operations + cut
            let (done, isUnderWay) = Self.run(requests, on: store)
            if disk.operations < end { break }
            disk.crash(random: &random)
            let acknowledged = LogModel.after(requests[..<done])
            let outcomes = LogModel.outcomes(acknowledged, isUnderWay ? requests[done] : nil)
            let (_, restored) = try SmallLog.open(disk)
            #expect(outcomes.contains { $0.matches(restored) }, "seed \(seed), operation \(cut)")
        }
    }

    /// Every snapshot is kept first. How many requests were acknowledged, and whether the next one was handed over.
    private static func run(_ requests: [PersistRequest], on store: LogStore) -> (done: Int, isUnderWay: Bool) {
        for (number, request) in requests.enumerated() {
            if let snapshot = request.snapshot {
                do throws(StorageError) { try store.keep(snapshot) } catch { return (number, false) }
            }
            do throws(StorageError) { try store.persist(request) } catch { return (number, true) }
        }
        return (requests.count, false)
    }
}
