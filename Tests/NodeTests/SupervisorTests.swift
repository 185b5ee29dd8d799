import Basis
import Raft
import Resources
import Testing

@testable import Cluster

private let a = NodeID(1)
private let b = NodeID(2)
private let w = NodeID(3)

@Suite struct `Three nodes` {
    @Test func `elect a leader, get admitted, and start the group once`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        #expect(trio.owner == a)
        #expect(trio.running.values.filter { !$0.isEmpty }.count == 1)
    }

    @Test func `count no age under a suspicion that their own disk does not hold yet (rule L5.2)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        trio.step(a, .client(id: 1, .transferLeadership(to: b)))
        #expect(trio.pass(milliseconds: 3000) { $0.leader == b })
        trio.held[w] = []
        trio.stopped = [a]
        trio.pass(milliseconds: 2000)
        let waiting = try #require(trio.supervisors[w])
        #expect(waiting.consensus.lastIndex > waiting.consensus.durableIndex, "the suspicion is not even in its log")
        var line = try #require(trio.supervisors[w]?.reportLines(at: trio.tick).first { $0.node == a })
        #expect(line.suspectedAt == nil)
        trio.release(w)
        line = try #require(trio.supervisors[w]?.reportLines(at: trio.tick).first { $0.node == a })
        #expect(line.suspectedAt != nil)
    }

    @Test func `move the group after the owner's lease has certainly ended, not before (rules L4, L6)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        trio.stopped = [a]
        let lastLease = try #require(trio.leases[a])
        #expect(trio.pass(milliseconds: 10_000) { $0.running[b]?.isEmpty == false })
        let grace = Timing.standard.leaseGrace
        #expect(trio.tick > lastLease + grace)
        #expect(trio.standing(of: a, seenBy: b) == .lost)
    }

    @Test func `stop everything at the end of the lease when cut off (rules L1, L12)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        trio.cut(a, b)
        trio.cut(a, w)
        #expect(trio.pass(milliseconds: 10_000) { $0.running[a]?.isEmpty == true })
        #expect(trio.running[b]?.isEmpty != false, "the other side must not have started yet")
        #expect(trio.pass(milliseconds: 10_000) { $0.running[b]?.isEmpty == false })
    }

    @Test func `a consensus message is taken from one that counts this log, and from no other (rule E4.1)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        let w = try #require(trio.supervisors[Trio.ids[2]])
        let message = NodeMessage.raft(Message(term: Term(9), body: .heartbeat(commit: LogIndex(99), round: 1)))
        var word = HearingWord(run: w.identity.memory.present.run, stamp: trio.tick, counts: true)
        #expect(!w.isMeantForAnother(message, word))
        word.counts = false
        #expect(w.isMeantForAnother(message, word))
        #expect(!w.isMeantForAnother(.readRequest(id: 1), word))
        word = HearingWord(run: RunID(4711), stamp: trio.tick, counts: true)
        #expect(w.isMeantForAnother(message, word))
        // A log that was never let in has promised nothing: it is told all it needs.
        let fresh = try Trio()
        #expect(fresh.supervisors[Trio.ids[2]]?.isMeantForAnother(message, word) == false)
    }

    @Test func `what an earlier run of a node acknowledged is asked for again (rule E4.1)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        let leader = try #require(trio.leader)
        let other = try #require(trio.ids.first { $0 != leader })
        func match() -> LogIndex? {
            trio.supervisors[leader]?.consensus.matchIndexes.first { $0.0 == other }?.1
        }
        #expect(match() != .zero)
        let mark = StartMark(directory: DirectoryID(high: 77, low: 7), start: 1, nonce: 7)
        let ping = Envelope(
            from: other, to: leader, isRelayed: false, mark: mark,
            word: HearingWord(run: .none, stamp: trio.tick), message: .ping(hears: [], reaches: []))
        trio.step(leader, .receive(ping, via: other))
        #expect(match() == .zero)
    }

    @Test func `take nothing away because the leader alone cannot hear the owner (rule L7)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        for id in [a, b] where trio.leader != id {
            trio.step(trio.leader ?? a, .client(id: 1, .transferLeadership(to: b)))
        }
        #expect(trio.pass(milliseconds: 5_000) { $0.leader == b })
        // Leader b, owner a; the witness hears both.
        trio.cut(a, b)
        trio.pass(milliseconds: 8_000)
        #expect(trio.owner == a)
        #expect(trio.standing(of: a, seenBy: w) == .trusted)
    }

    @Test func `vote in odd numbers: two without a third survive no failure (rule B4)`() throws {
        let trio = try Trio(voters: [a])
        trio.stopped = [w]
        trio.pass(milliseconds: 6_000)
        #expect(trio.supervisors[a]?.consensus.membership.voters == [a])
        #expect(trio.supervisors[a]?.consensus.membership.learners.contains(b) == true)
        trio.stopped = []
        #expect(trio.pass(milliseconds: 10_000) { $0.supervisors[a]?.consensus.membership.voters == [a, b, w] })
        #expect(trio.supervisors[a]?.consensus.membership.witnesses == [w])
    }

    @Test func `relay one hop through a voter that both ends reach (rule L16)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        trio.cut(a, b)
        trio.pass(milliseconds: 2_000)
        let before = try #require(trio.leases[a])
        trio.pass(milliseconds: 4_000)
        let after = try #require(trio.leases[a])
        #expect(after > before, "the lease must still be renewed")
        let applied = trio.supervisors[b]?.state.appliedIndex ?? .zero
        trio.step(a, .client(id: 1, .propose(.drain(b, isDrained: true))))
        #expect(trio.pass(milliseconds: 3_000) { $0.supervisors[b]?.me?.isDrained == true })
        #expect((trio.supervisors[b]?.state.appliedIndex ?? .zero) > applied)
    }

    @Test
    func `let one who lost the log answer a leader of whom it has not heard, through a node that it knows (rule L16)`()
        throws
    {
        let trio = try Trio()
        #expect(trio.settle())
        trio.step(trio.leader ?? a, .client(id: 1, .transferLeadership(to: a)))
        #expect(trio.pass(milliseconds: 5_000) { $0.leader == a })
        trio.stopped = [b]
        #expect(trio.pass(milliseconds: 10_000) { $0.standing(of: b, seenBy: a) == .lost })
        trio.supervisors[b] = try Supervisor(
            identity: .init(node: b, bootID: "boot 2", memory: Trio.memory(77), nonce: 77, seeds: [w]),
            settings: Consensus.Settings(), restored: RestoredState(), facts: nil, leaseEnd: .zero, seed: 77,
            at: trio.tick)
        // Until the log has told it where the leader is, it has no link there.
        trio.isLost = { [unowned trio] in
            $0.from == b && $0.to == a && !$0.isRelayed && trio.supervisors[b]?.state.node(a) == nil
        }
        trio.stopped = []
        #expect(trio.pass(milliseconds: 10_000) { $0.standing(of: b, seenBy: b) == .trusted })
        #expect(trio.leader == a)
    }

    @Test func `count a link that works one way as cut (rule L16)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        trio.cutOneWay(from: a, to: b)
        trio.pass(milliseconds: 2_000)
        #expect(trio.supervisors[b]?.reachability.isGood(a, at: trio.tick) == false)
        #expect(trio.supervisors[a]?.reachability.isGood(b, at: trio.tick) == false)
        #expect(trio.supervisors[a]?.reachability.nextHop(to: b, relays: Trio.ids, at: trio.tick) == w)
        trio.pass(milliseconds: 5_000)
        #expect(trio.owner == a, "nothing moves")
    }

    @Test func `finish an open suspicion under the next leader (rule L4)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        trio.step(trio.leader ?? a, .client(id: 1, .transferLeadership(to: b)))
        #expect(trio.pass(milliseconds: 5_000) { $0.leader == b })
        trio.stopped = [a]
        #expect(
            trio.pass(milliseconds: 5_000) { trio in
                if case .suspected? = trio.standing(of: a, seenBy: w) { true } else { false }
            })
        // The leader that proposed the suspicion hands over; the witness or nobody else is left to finish it.
        trio.stopped = [b]
        trio.stopped.remove(a)
        #expect(trio.pass(milliseconds: 20_000) { $0.standing(of: a, seenBy: w) == .trusted })
    }
}

/// What the log directory of a node knows of itself after one more start.
private func restarted(_ supervisor: Supervisor) -> LogMemory {
    var memory = supervisor.identity.memory
    memory.begin(nonce: StartMark.nonce(4711, ofBoot: "boot"))
    return memory
}

@Suite struct `A daemon that starts` {
    /// The restored log says that this node owns the group.
    private func restored() throws -> (Supervisor, Trio) {
        let trio = try Trio()
        _ = trio.settle()
        let before = try #require(trio.supervisors[a])
        let entries = before.consensus.entries(after: .zero)
        let restored = RestoredState(
            hardState: HardState(term: before.consensus.term, commit: before.consensus.commitIndex), entries: entries)
        let supervisor = try Supervisor(
            identity: .init(node: a, bootID: "boot", memory: restarted(before), nonce: 99),
            settings: Consensus.Settings(),
            restored: restored, facts: nil, leaseEnd: .zero, seed: 9, at: trio.tick)
        return (supervisor, trio)
    }

    @Test func `starts nothing before a read index, whatever its log says (rule L10)`() throws {
        let (restored, trio) = try self.restored()
        var supervisor = restored
        var effects: [SupervisorEffect] = []
        for _ in 0..<40 {
            trio.now += 25_000_000
            supervisor.step(.guardSeen(trio.tick), at: trio.tick, into: &effects)
            supervisor.step(.tick, at: trio.tick, into: &effects)
        }
        let calls = effects.filter { if case .call = $0 { true } else { false } }
        #expect(calls.isEmpty)
        #expect(!supervisor.isCaughtUp)
    }

    @Test func `adopts what runs under its valid lease, and stops nothing (rule L10)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        #expect(trio.pass(milliseconds: 3_000) { $0.facts[a]?.groups.first?.isUp == true })
        let before = try #require(trio.supervisors[a])
        let callsBefore = trio.calls[a]?.filter { $0.action != .monitor }.count
        let restored = RestoredState(
            hardState: HardState(term: before.consensus.term, commit: before.consensus.commitIndex),
            entries: before.consensus.entries(after: .zero))
        trio.supervisors[a] = try Supervisor(
            identity: .init(node: a, bootID: "boot", memory: restarted(before), nonce: 77),
            settings: Consensus.Settings(),
            restored: restored, facts: trio.facts[a], leaseEnd: trio.leases[a] ?? .zero, seed: 5, at: trio.tick)
        trio.pass(milliseconds: 6_000)
        #expect(trio.owner == a)
        #expect(trio.calls[a]?.filter { $0.action != .monitor }.count == callsBefore)
    }

    @Test func `adopts nothing of another boot (rules L10, E3)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        let facts = try #require(trio.facts[a])
        let supervisor = try Supervisor(
            identity: .init(node: a, bootID: "another boot", memory: Trio.memory(1), nonce: 77),
            settings: Consensus.Settings(), restored: RestoredState(), facts: facts,
            leaseEnd: trio.tick + .seconds(2), seed: 5, at: trio.tick)
        #expect(supervisor.groups.runners.isEmpty)
        #expect(!supervisor.hasLease(at: trio.tick))
    }
}
