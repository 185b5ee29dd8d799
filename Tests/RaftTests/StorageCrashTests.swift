import Basis
import Host
import Raft
import RaftStorage
import SimulatedDisks
import Testing

@Suite struct `A crash of the log` {
    /// Runs the requests and cuts the power during operation `cut`. What the disk then holds may be any of the models.
    private func crash(
        _ requests: [PersistRequest], at cut: Int, seed: UInt64
    ) -> (disk: SimulatedDisk, starts: UInt64, outcomes: [LogModel])? {
        let disk = SimulatedDisk()
        disk.powerFailsAt = cut
        var random = SeededRandom(seed: seed &* 1_000_003 &+ UInt64(cut))
        guard let (store, _) = try? SmallLog.open(disk) else {
            disk.crash(random: &random)
            return (disk, 0, [LogModel()])
        }
        let done = SmallLog.run(requests, on: store)
        if disk.operations < cut { return nil }
        disk.crash(random: &random)
        let acknowledged = LogModel.after(requests[..<done])
        return (disk, 1, LogModel.outcomes(acknowledged, done < requests.count ? requests[done] : nil))
    }

    @Test(arguments: 1...60 as ClosedRange<UInt64>)
    func `at any operation loses nothing acknowledged and invents nothing`(seed: UInt64) throws {
        let requests = LogModel.requests(14, seed: seed)
        for cut in 1... {
            guard let (disk, starts, outcomes) = self.crash(requests, at: cut, seed: seed) else { break }
            let (store, restored) = try SmallLog.open(disk)
            #expect(outcomes.contains { $0.matches(restored) }, "seed \(seed), operation \(cut)")
            #expect(store.startCounter > starts, "seed \(seed), operation \(cut)")
        }
    }

    @Test(arguments: 1...25 as ClosedRange<UInt64>)
    func `during recovery from a crash changes nothing, and the log goes on`(seed: UInt64) throws {
        let requests = LogModel.requests(10, seed: seed)
        for cut in stride(from: 1, to: .max, by: 3) {
            guard let (first, _, outcomes) = self.crash(requests, at: cut, seed: seed) else { break }
            for second in 1... {
                let disk = first.fork()
                disk.powerFailsAt = second
                var random = SeededRandom(seed: seed &+ UInt64(cut * 100 + second))
                let opened = try? SmallLog.open(disk)
                disk.crash(random: &random)
                let (store, restored) = try SmallLog.open(disk)
                let found = outcomes.last { $0.matches(restored) }
                #expect(found != nil, "seed \(seed), operations \(cut) and \(second)")
                if opened != nil { try self.goOn(store, restored, disk, &random) }
                if opened != nil { break }
            }
        }
    }

    /// More requests after a recovery, then a clean restart.
    private func goOn(
        _ store: LogStore, _ restored: RestoredState, _ disk: SimulatedDisk, _ random: inout SeededRandom
    ) throws {
        var model = LogModel(
            hardState: restored.hardState, snapshot: restored.snapshot, entries: restored.entries)
        for sequence in 1...6 as ClosedRange<UInt64> {
            let request = model.request(&random, sequence: sequence)
            try store.persist(request)
            model.apply(request)
        }
        store.close()
        #expect(model.matches(try SmallLog.open(disk).1))
    }

    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func `never takes back a vote that was answered`(seed: UInt64) throws {
        let disk = SimulatedDisk()
        var random = SeededRandom(seed: seed)
        var answered = HardState()
        for round in 0..<30 {
            disk.powerFailsAt = disk.operations + 1 + Int(random.below(40))
            if let (store, restored) = try? SmallLog.open(disk) {
                let found = (restored.hardState.term, restored.hardState.votedFor)
                #expect(found.0 > answered.term || found == (answered.term, answered.votedFor), "round \(round)")
                answered = restored.hardState
                for _ in 0..<100 {
                    let vote = HardState(term: answered.term.next, votedFor: NodeID(1 + UInt32(random.below(5))))
                    do { try store.persist(PersistRequest(sequence: 1, hardState: vote)) } catch { break }
                    answered = vote
                }
            }
            disk.crash(random: &random)
        }
        #expect(answered.term > Term(10))
    }

    @Test(arguments: 1...200 as ClosedRange<UInt64>)
    func `never mixes a suffix that was cut off with what replaced it`(seed: UInt64) throws {
        func entries(_ term: UInt64, _ indexes: ClosedRange<UInt64>) -> [Entry] {
            indexes.map { index in
                Entry(
                    mark: LogMark(term: Term(term), index: LogIndex(index)),
                    payload: .command([UInt8](repeating: UInt8(term), count: 300)))
            }
        }
        let disk = SimulatedDisk()
        var random = SeededRandom(seed: seed)
        let (store, _) = try SmallLog.open(disk)
        try store.persist(PersistRequest(sequence: 1, entries: entries(1, 1...9)))
        let replaces = seed % 2 == 0
        if replaces { try store.persist(PersistRequest(sequence: 2, entries: entries(2, 4...4))) }
        disk.powerFailsAt = disk.operations + 1 + Int(random.below(6))
        _ = SmallLog.run([PersistRequest(sequence: 3, entries: entries(3, 5...7))], on: store)
        disk.crash(random: &random)
        let terms = try SmallLog.open(disk).1.entries.map(\.mark.term.rawValue)
        let old: [UInt64] = replaces ? [1, 1, 1, 2] : [UInt64](repeating: 1, count: 9)
        let new: [UInt64] = replaces ? [1, 1, 1, 2, 3, 3, 3] : [1, 1, 1, 1, 3, 3, 3]
        #expect(terms == old || terms == new)
    }

    @Test func `leaves the start counter growing`() throws {
        let disk = SimulatedDisk()
        var random = SeededRandom(seed: 5)
        var last: UInt64 = 0
        for _ in 0..<200 {
            disk.powerFailsAt = disk.operations + 1 + Int(random.below(25))
            if let (store, _) = try? SmallLog.open(disk) {
                #expect(store.startCounter > last)
                last = store.startCounter
            }
            disk.crash(random: &random)
        }
        #expect(last > 20)
    }
}
