import Basis
import Raft
import RaftStorage
import SimulatedDisks
import Testing

private let me = NodeID(1)
private let peer = NodeID(2)
private let other = NodeID(3)

private func mark(_ start: UInt64, of directory: UInt64 = 2, nonce: UInt64 = 0) -> StartMark {
    StartMark(directory: DirectoryID(high: directory, low: 0), start: start, nonce: nonce + start)
}

private func entry(_ index: UInt64, term: UInt64 = 1) -> Entry {
    Entry(mark: LogMark(term: Term(term), index: LogIndex(index)), payload: .empty)
}

/// A node of three with entries 1 to 5 in its log.
private func node() -> (core: Consensus, now: Tick) {
    let membership = Entry(
        mark: LogMark(term: Term(1), index: LogIndex(1)), payload: .membership(Membership(voters: [me, peer, other])))
    let core = Consensus(
        id: me, settings: Consensus.Settings(),
        restored: RestoredState(
            hardState: HardState(term: Term(1)), entries: [membership] + (2...5).map { entry($0) }),
        seed: 1, at: Tick(nanoseconds: 1))
    return (core, Tick(nanoseconds: 1))
}

@Suite struct `What is noted of other logs` {
    @Test func `a mark is durable before anything is counted under it (rule E2.1)`() throws {
        var (core, now) = node()
        var effects = Effects()
        core.step(.note(NotedMark(node: peer, mark: mark(1), admittedAt: .zero)), at: now, into: &effects)
        let request = try #require(effects.persist)
        #expect(request.hardState?.noted.map(\.node) == [peer])
        #expect(!core.areMarksDurable)
        now = now + .milliseconds(1)
        core.step(.persisted(sequence: request.sequence), at: now, into: &effects)
        #expect(core.areMarksDurable)
    }

    @Test func `a further mark of this log is in the same request that notes it (rule E2.3)`() throws {
        var (core, now) = node()
        var memory = LogMemory(directory: DirectoryID(high: 1, low: 0))
        memory.begin(nonce: 5)
        let drawn = memory.next(nonce: 6)
        var effects = Effects()
        core.step(.draw(drawn), at: now, into: &effects)
        let request = try #require(effects.persist)
        #expect(request.drawn == drawn)
        #expect(request.hardState?.noted.map(\.mark) == [drawn])
        now = now + .milliseconds(1)
        core.step(.persisted(sequence: request.sequence), at: now, into: &effects)
        #expect(core.areMarksDurable)
        // Only once: the next request has nothing of it.
        core.step(.note(NotedMark(node: peer, mark: mark(1), admittedAt: .zero)), at: now, into: &effects)
        #expect(effects.persist?.sequence == request.sequence + 1 || effects.persist?.drawn == drawn)
    }

    @Test func `a log tells nothing of marks that its list does not go back to (rule E2.3)`() {
        var memory = LogMemory(directory: DirectoryID(high: 1, low: 0))
        memory.begin(nonce: 1)
        let first = memory.present
        memory.draw(nonce: 2)
        let second = memory.present
        #expect(first.isBefore(second) && second.isSameStart(as: first))
        for nonce in 3...UInt64(LogMemory.capacity + 1) { memory.draw(nonce: nonce) }
        #expect(!memory.reachesBack(to: first))
        #expect(memory.reachesBack(to: second) && memory.remembers(second))
        memory.begin(nonce: 9999)
        #expect(memory.present.start == 2 && memory.present.draw == 0)
        #expect(second.isBefore(memory.present) && !memory.present.isSameStart(as: second))
    }

    @Test func `the entry that let a directory in is noted beside a mark that was drawn later (rules E2.3, E2.6)`() {
        var (core, now) = node()
        func note(_ mark: StartMark, admittedAt: UInt64) {
            var effects = Effects()
            now = now + .milliseconds(1)
            core.step(
                .note(NotedMark(node: peer, mark: mark, admittedAt: LogIndex(admittedAt))), at: now, into: &effects)
        }
        var drawn = mark(5)
        drawn.draw = 2
        // Heard first, by a node whose own log is new; then the log says who was let in when.
        note(drawn, admittedAt: 0)
        note(mark(5), admittedAt: 8)
        #expect(core.notedMark(of: peer) == NotedMark(node: peer, mark: drawn, admittedAt: LogIndex(8)))
        note(mark(6), admittedAt: 0)
        #expect(core.notedMark(of: peer) == NotedMark(node: peer, mark: mark(6), admittedAt: LogIndex(8)))
    }

    @Test func `what is noted is only ever raised (rule E2.1)`() {
        var (core, now) = node()
        func note(_ mark: StartMark, admittedAt: UInt64 = 0) {
            var effects = Effects()
            core.step(
                .note(NotedMark(node: peer, mark: mark, admittedAt: LogIndex(admittedAt))), at: now, into: &effects)
        }
        now = now + .milliseconds(1)
        note(mark(5))
        note(mark(4))
        note(mark(5, nonce: 9))
        note(mark(9, of: 3))
        #expect(core.notedMark(of: peer)?.mark == mark(5))
        // Another directory takes its place only if the log let it in later.
        note(mark(1, of: 3), admittedAt: 8)
        #expect(core.notedMark(of: peer)?.mark == mark(1, of: 3))
        note(mark(9, of: 2), admittedAt: 7)
        #expect(core.notedMark(of: peer)?.mark == mark(1, of: 3))
    }

    @Test func `a leader repairs a follower whose log is shorter than what it acknowledged (rule E2.1)`() {
        var (core, now) = node()
        var effects = Effects()
        func step(_ input: Consensus.Input) {
            effects.removeAll()
            core.step(input, at: now, into: &effects)
            if let request = effects.persist {
                core.step(.persisted(sequence: request.sequence), at: now, into: &effects)
            }
        }
        func hear(_ body: Message.Body) { step(.receive(from: peer, Message(term: core.term, body: body))) }
        step(.note(NotedMark(node: peer, mark: mark(1), admittedAt: .zero)))
        now = core.nextDeadline
        step(.tick)
        hear(.preVoteResponse(requested: core.term.next, granted: true))
        hear(.voteResponse(granted: true))
        #expect(core.isLeader)
        hear(.appendAccepted(match: core.lastIndex))
        #expect(core.matchIndexes.first { $0.0 == peer }?.1 == core.lastIndex)
        step(.note(NotedMark(node: peer, mark: mark(2), admittedAt: .zero)))
        #expect(core.matchIndexes.first { $0.0 == peer }?.1 == .zero)
        // Its log ends at entry 3 now, long before what it had acknowledged.
        hear(.heartbeatResponse(round: 0))
        hear(.appendRejected(previous: core.lastIndex, hint: LogMark(term: Term(1), index: LogIndex(3))))
        let sent = (effects.messagesNow + effects.messagesAfterPersist).filter { $0.to == peer }
        let previous = sent.compactMap { outbound -> LogIndex? in
            if case .append(let previous, _, _) = outbound.message.body { previous.index } else { nil }
        }
        #expect(previous.first == LogIndex(3))
    }
}

@Suite struct `What a log directory remembers` {
    private func open(_ disk: SimulatedDisk, _ nonce: UInt64) throws -> (LogStore, RestoredState) {
        try SmallLog.open(disk, draw: StartDraw(directory: DirectoryID(high: nonce, low: nonce), nonce: nonce))
    }

    @Test func `every start is remembered, with the marks noted of others (rule E2)`() throws {
        let disk = SimulatedDisk()
        var marks: [StartMark] = []
        let noted = NotedMark(node: peer, mark: mark(3), admittedAt: LogIndex(7))
        for start in 1...4 as ClosedRange<UInt64> {
            let (store, restored) = try self.open(disk, start)
            marks.append(store.memory.present)
            #expect(marks.allSatisfy { store.memory.remembers($0) && $0.directory == marks[0].directory })
            #expect(store.startCounter == start)
            if start == 1 {
                try store.persist(PersistRequest(sequence: 1, hardState: HardState(term: Term(1), noted: [noted])))
            } else {
                #expect(restored.hardState.noted == [noted])
            }
            store.close()
            disk.restartProcess()
        }
        #expect(Set(marks).count == 4)
    }

    @Test func `a copy does not remember later starts, however often it is started (rule E2.1)`() throws {
        let disk = SimulatedDisk()
        try self.open(disk, 1).0.close()
        disk.restartProcess()
        let copy = disk.fork()
        let (later, _) = try self.open(disk, 2)
        for nonce in 3...6 as ClosedRange<UInt64> {
            let (store, _) = try self.open(copy, nonce)
            #expect(!store.memory.remembers(later.memory.present))
            #expect(store.startCounter >= later.startCounter)
            store.close()
            copy.restartProcess()
        }
    }

    @Test func `an emptied directory is another one (rule E2)`() throws {
        let disk = SimulatedDisk()
        let (first, _) = try self.open(disk, 1)
        let before = first.memory.present
        disk.emptyLog()
        let (second, restored) = try self.open(disk, 2)
        #expect(second.memory.directory != before.directory)
        #expect(!second.memory.remembers(before))
        #expect(restored == RestoredState())
    }
}
