import Basis
import Host
import Raft
import RaftStorage
import SimulatedDisks
import Testing

@Suite struct `A damaged or failing disk` {
    /// A closed log with several segments and a snapshot whose last request is one small frame.
    private func smallLog() throws -> (
        disk: SimulatedDisk, all: LogModel, withoutLast: LogModel, tail: String, from: Int
    ) {
        let disk = SimulatedDisk()
        let (store, _) = try SmallLog.open(disk)
        var requests = LogModel.requests(24, seed: 8)
        for request in requests { try store.persist(request) }
        let withoutLast = LogModel.after(requests)
        let next = LogMark(term: withoutLast.hardState.term, index: withoutLast.last.index.next)
        func last(_ index: LogIndex) -> PersistRequest {
            PersistRequest(
                sequence: 99,
                entries: [Entry(mark: LogMark(term: next.term, index: index), payload: .command([1, 2, 3]))])
        }
        requests.append(last(next.index))
        try store.persist(requests[24])
        let tail = try #require(try disk.list("/log").last { $0.hasPrefix("log-") })
        let before = try disk.read("/log/\(tail)").count
        requests.append(last(next.index.next))
        try store.persist(requests[25])
        #expect(try disk.list("/log").last { $0.hasPrefix("log-") } == tail)
        store.close()
        return (disk, LogModel.after(requests), LogModel.after(requests[..<25]), tail, before)
    }

    @Test func `every changed byte is refused, or is in the last frame, which is then cut`() throws {
        let log = try self.smallLog()
        let files = try SmallLog.files(log.disk)
        #expect(files.keys.count { $0.hasPrefix("log-") } >= 3 && files.keys.contains { $0.hasPrefix("snapshot") })
        for (name, content) in files.sorted(by: { $0.key < $1.key }) where name != "lock" {
            for offset in content.indices {
                let disk = log.disk.fork()
                disk.corrupt("/log/\(name)", at: offset, mask: offset % 2 == 0 ? 0xFF : 0x10)
                let before = try SmallLog.files(disk)
                let isInLastFrame = name == log.tail && offset >= log.from
                do throws(StorageError) {
                    let restored = try SmallLog.open(disk).1
                    #expect(isInLastFrame && log.withoutLast.matches(restored), "\(name), byte \(offset)")
                } catch {
                    #expect(!isInLastFrame, "\(name), byte \(offset): \(error)")
                    guard case .corrupt(let path, _, _) = error else {
                        Issue.record("\(name), byte \(offset): \(error)")
                        continue
                    }
                    #expect(path == "/log/\(name)")
                    #expect(error.description.contains("is damaged at byte"))
                    #expect(try SmallLog.files(disk) == before, "\(name), byte \(offset)")
                }
            }
        }
    }

    @Test func `a file of a newer release is refused by name, and nothing is set aside or changed`() throws {
        let log = try self.smallLog()
        for name in try SmallLog.files(log.disk).keys.sorted() where name != "lock" {
            let disk = log.disk.fork()
            var bytes = try disk.read("/log/\(name)")
            bytes.replaceSubrange(8..<12, with: [2, 0, 0, 0])
            let length = bytes[12..<20].reversed().reduce(0) { $0 << 8 | Int($1) }
            let sum = Checksum.crc32c(Array(bytes[24..<24 + length]), seed: Checksum.crc32c(Array(bytes[..<20])))
            bytes.replaceSubrange(20..<24, with: (0..<4).map { UInt8(truncatingIfNeeded: sum >> (8 * $0)) })
            let file = try disk.create("/log/\(name)")
            try disk.write(bytes, to: file, at: 0)
            try disk.synchronize(file)
            let before = try SmallLog.files(disk)
            let error = #expect(throws: StorageError.self) { _ = try SmallLog.open(disk) }
            guard case .newerFormat("/log/\(name)", 2, 1) = error else {
                Issue.record("\(name): \(String(describing: error))")
                continue
            }
            #expect(error?.description.contains("/log/\(name) has format 2, this release reads up to 1") == true)
            #expect(error?.description.contains("install the release that wrote it") == true)
            #expect(try SmallLog.files(disk) == before)
        }
    }

    @Test func `a damaged last frame is refused once the log was at rest (rule C8)`() throws {
        let log = try self.smallLog()
        let (store, restored) = try SmallLog.open(log.disk)
        #expect(log.all.matches(restored))
        try store.persist(
            PersistRequest(
                sequence: 1,
                entries: [
                    Entry(
                        mark: LogMark(term: restored.hardState.term, index: log.all.last.index.next),
                        payload: .command([7]))
                ]))
        let tail = try #require(try log.disk.list("/log").last { $0.hasPrefix("log-") })
        let end = try log.disk.read("/log/\(tail)").count - 1
        // Not yet at rest: it may be a write that did not finish.
        let early = log.disk.fork()
        early.corrupt("/log/\(tail)", at: end)
        #expect(log.all.matches(try SmallLog.open(early).1))
        let before = log.disk.operations
        try store.seal()
        #expect(log.disk.operations > before)
        let sealed = log.disk.operations
        try store.seal()
        #expect(log.disk.operations == sealed, "what is said already costs nothing")
        log.disk.restartProcess()
        log.disk.corrupt("/log/\(tail)", at: end)
        #expect(throws: StorageError.self) { try SmallLog.open(log.disk) }
    }

    @Test func `a log that holds less than this boot wrote is refused (rules E2.2, E2.4)`() throws {
        let disk = SimulatedDisk()
        let (store, _) = try SmallLog.open(disk)
        let requests = LogModel.requests(12, seed: 3)
        for request in requests[..<6] { try store.persist(request) }
        let copy = disk.fork()
        for request in requests[6...] { try store.persist(request) }
        let progress = store.progress
        store.close()
        #expect(throws: StorageError.self) { try SmallLog.open(copy, resuming: progress) }
        #expect(throws: StorageError.self) { try SmallLog.open(SimulatedDisk(), resuming: progress) }
        // As much as was written: it goes on, with a mark of its own.
        let (again, _) = try SmallLog.open(disk, resuming: progress)
        #expect(again.memory.remembers(progress.mark))
        #expect(again.memory.present != progress.mark)
        #expect(again.progress.frames == progress.frames)
    }

    @Test func `a start that ended before the run directory knew of it loses no log (rule E2.4)`() throws {
        let disk = SimulatedDisk()
        let (store, _) = try SmallLog.open(disk)
        for request in LogModel.requests(4, seed: 3) { try store.persist(request) }
        let progress = store.progress
        let copy = disk.fork()
        store.close()
        // The daemon begins a start of its log, and ends, or its disk fails, before that is written down elsewhere; twice.
        for _ in 0..<2 {
            disk.restartProcess()
            _ = try SmallLog.open(disk, resuming: progress)
        }
        disk.restartProcess()
        let (again, restored) = try SmallLog.open(disk, resuming: progress)
        #expect(again.memory.remembers(progress.mark))
        #expect(!restored.entries.isEmpty)
        // What began from the same copy elsewhere does not remember it, whatever its number.
        let (other, _) = try SmallLog.open(copy)
        #expect(!other.memory.remembers(again.memory.present))
        let later = again.progress
        other.close()
        copy.restartProcess()
        #expect(throws: StorageError.self) { try SmallLog.open(copy, resuming: later) }
    }

    @Test func `a mark that was drawn later is in the log as those of its starts are (rules E2.3, E2.4)`() throws {
        let disk = SimulatedDisk()
        let (store, _) = try SmallLog.open(disk)
        let copy = disk.fork()
        let drawn = store.memory.next(nonce: 77)
        let noted = NotedMark(node: SmallLog.identity.node, mark: drawn, admittedAt: .zero)
        try store.persist(
            PersistRequest(sequence: 1, hardState: HardState(term: Term(1), noted: [noted]), drawn: drawn))
        #expect(store.memory.present == drawn)
        let progress = store.progress
        #expect(progress.mark == drawn)
        store.close()
        // A copy from before the mark is older than what this boot has seen.
        #expect(throws: StorageError.self) { try SmallLog.open(copy, resuming: progress) }
        let (again, _) = try SmallLog.open(disk, resuming: progress)
        #expect(again.memory.remembers(drawn))
        #expect(drawn.isBefore(again.memory.present))
    }

    @Test func `every truncation of the last segment is cut within the last frame and refused before the header`()
        throws
    {
        let log = try self.smallLog()
        let content = try #require(try SmallLog.files(log.disk)[log.tail])
        for length in log.from..<content.count {
            let disk = log.disk.fork()
            let file = try disk.create("/log/\(log.tail)")
            try disk.write(Array(content[..<length]), to: file, at: 0)
            #expect(log.withoutLast.matches(try SmallLog.open(disk).1), "\(length) bytes")
        }
    }

    @Test func `every missing file is refused`() throws {
        let log = try self.smallLog()
        for name in try SmallLog.files(log.disk).keys.sorted() where name != "lock" && name != log.tail {
            let disk = log.disk.fork()
            try disk.remove("/log/\(name)")
            #expect(throws: StorageError.self, "\(name)") { try SmallLog.open(disk) }
        }
    }

    @Test func `a missing last segment is refused while it held what was committed`() throws {
        let disk = SimulatedDisk()
        let (store, _) = try SmallLog.open(disk)
        let entries = (1...3).map { index in
            Entry(
                mark: LogMark(term: Term(1), index: LogIndex(UInt64(index))),
                payload: .command([UInt8](repeating: 1, count: 1000)))
        }
        for entry in entries { try store.persist(PersistRequest(sequence: 1, entries: [entry])) }
        try store.persist(
            PersistRequest(sequence: 1, hardState: HardState(term: Term(2), votedFor: nil, commit: LogIndex(3))))
        store.close()
        try disk.remove("/log/\(try #require(try disk.list("/log").last { $0.hasPrefix("log-") }))")
        #expect(throws: StorageError.self) { try SmallLog.open(disk) }
    }

    @Test(arguments: [DiskErrorCode.inputOutput, .noSpace, .readOnly])
    func `any failed operation poisons the store, and what was acknowledged stays`(code: DiskErrorCode) throws {
        for seed in 1...12 as ClosedRange<UInt64> {
            let requests = LogModel.requests(12, seed: seed)
            for skipping in 0... {
                let disk = SimulatedDisk()
                let (store, _) = try SmallLog.open(disk)
                disk.inject(SimulatedDisk.Fault(nil, skipping: skipping, code: code))
                let done = SmallLog.run(requests, on: store)
                if done == requests.count { break }
                let before = disk.operations
                let poison = try #require(store.poison)
                for request in requests[done...] {
                    #expect(throws: poison) { try store.persist(request) }
                }
                #expect(disk.operations == before, "a poisoned store touched the disk")
                store.close()
                disk.heal()
                let outcomes = LogModel.outcomes(LogModel.after(requests[..<done]), requests[done])
                let (again, restored) = try SmallLog.open(disk)
                #expect(outcomes.contains { $0.matches(restored) }, "seed \(seed), operation \(skipping)")
                again.close()
                // What an open returned is as good as acknowledged: it must not rest on the page cache.
                var random = SeededRandom(seed: seed)
                disk.crash(random: &random)
                let after = try SmallLog.open(disk).1
                #expect(after == restored, "seed \(seed), operation \(skipping)")
            }
        }
    }

    @Test func `a failed sync is never retried as success`() throws {
        let disk = SimulatedDisk()
        let (store, _) = try SmallLog.open(disk)
        let entry = Entry(mark: LogMark(term: Term(1), index: LogIndex(1)), payload: .command([5]))
        disk.inject(SimulatedDisk.Fault(.synchronize, code: .inputOutput))
        #expect(throws: StorageError.self) { try store.persist(PersistRequest(sequence: 1, entries: [entry])) }
        let poison = try #require(store.poison)
        #expect(throws: poison) { try store.persist(PersistRequest(sequence: 1, entries: [entry])) }
        guard case .poisoned(let cause) = poison else {
            Issue.record("not poisoned")
            return
        }
        #expect(cause.contains("EIO"))
    }

    @Test func `a full disk is named, and the log opens again when there is space`() throws {
        let disk = SimulatedDisk()
        let (store, _) = try SmallLog.open(disk)
        disk.capacity = 4000
        var acknowledged: [Entry] = []
        var failure: StorageError?
        for index in 1...100 as ClosedRange<UInt64> {
            let entry = Entry(
                mark: LogMark(term: Term(1), index: LogIndex(index)),
                payload: .command([UInt8](repeating: 3, count: 200)))
            do throws(StorageError) {
                try store.persist(PersistRequest(sequence: index, entries: [entry]))
                acknowledged.append(entry)
            } catch {
                failure = error
                break
            }
        }
        #expect(try #require(failure).description.contains("free space"))
        store.close()
        disk.capacity = .max
        let restored = try SmallLog.open(disk).1.entries
        #expect(restored == acknowledged)
    }

    @Test func `a failed open changes nothing that was acknowledged`() throws {
        for seed in 1...10 as ClosedRange<UInt64> {
            let requests = LogModel.requests(12, seed: seed)
            let model = LogModel.after(requests)
            for skipping in 0... {
                let disk = SimulatedDisk()
                let (store, _) = try SmallLog.open(disk)
                for request in requests { try store.persist(request) }
                store.close()
                disk.inject(SimulatedDisk.Fault(nil, skipping: skipping, code: .inputOutput))
                let opened = try? SmallLog.open(disk)
                opened?.0.close()
                disk.heal()
                let (again, restored) = try SmallLog.open(disk)
                #expect(model.matches(restored), "seed \(seed), operation \(skipping)")
                #expect(again.startCounter >= 2)
                if opened != nil { break }
            }
        }
    }
}
