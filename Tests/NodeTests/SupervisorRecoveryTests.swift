import Basis
import Cluster
import Mirror
import Raft
import Resources
import Testing

private let (a, b, w) = (NodeID(1), NodeID(2), NodeID(3))

/// Rules R1 to R5: the survivors of a lost majority go on, once a person wants it, and nothing of the old generation counts.
@Suite struct SupervisorRecoveryTests {
    func lose(_ dead: [NodeID], of trio: Trio) {
        trio.stopped.formUnion(dead)
        // Until nobody believes in a leader any more, and every lease is over.
        trio.pass(milliseconds: 8000)
    }

    func order(_ trio: Trio, on node: NodeID, dead: [NodeID], startsGroups: Bool = true, recovery: UInt64 = 77) {
        let order = RecoveryOrder(
            recovery: recovery, dead: dead, statement: "they are off", startsGroups: startsGroups)
        trio.step(node, .client(id: 900 + recovery, .recover(order)))
    }

    /// The daemon of a node starts again, with its log and what it follows, and knows of this much that it is committed.
    func restart(_ trio: Trio, _ node: NodeID, committed: LogIndex) throws {
        let old = try #require(trio.supervisors[node])
        trio.supervisors[node] = try Supervisor(
            identity: .init(
                node: node, bootID: "boot", memory: old.identity.memory, nonce: old.identity.nonce + 100,
                generation: try #require(trio.generations[node])),
            settings: Consensus.Settings(),
            restored: RestoredState(
                hardState: HardState(term: old.consensus.term, commit: committed),
                entries: old.consensus.entries(after: .zero)),
            facts: nil, leaseEnd: .zero, seed: 4, at: trio.tick)
    }

    func answer(_ trio: Trio, _ recovery: UInt64 = 77) -> Outcome? {
        guard case .applied(let outcome, _)? = trio.replies[900 + recovery] else { return nil }
        return outcome
    }

    private func recover(_ trio: Trio, on node: NodeID, dead: [NodeID], startsGroups: Bool = true) -> Bool {
        self.order(trio, on: node, dead: dead, startsGroups: startsGroups)
        return trio.pass(milliseconds: 15_000) { _ in self.answer(trio) == .accepted }
    }

    @Test func `the last of three goes on alone within the wait for leases, and runs the group`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        self.lose([b, w], of: trio)
        #expect(trio.supervisors[a]?.consensus.leader == nil)
        let since = trio.now
        #expect(self.recover(trio, on: a, dead: [b, w]))
        #expect(trio.now - since >= 2_500_000_000, "nobody waited for the leases that it had renewed (R3)")
        #expect(trio.pass(milliseconds: 8000) { $0.running[a]?.isEmpty == false })
        let state = try #require(trio.supervisors[a]?.state)
        #expect(state.generation == 1)
        #expect(state.group(Trio.orders)?.epoch.generation == 1)
        #expect(state.node(b)?.standing == .lost)
        #expect(trio.supervisors[a]?.consensus.membership.voters == [a])
    }

    @Test func `groups stay down until a person starts them, unless it was signed for`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        self.lose([b, w], of: trio)
        #expect(self.recover(trio, on: a, dead: [b, w], startsGroups: false))
        trio.pass(milliseconds: 5000)
        #expect(trio.running[a]?.isEmpty != false)
        trio.step(a, .client(id: 5, .propose(.want(Trio.orders, isRunning: true))))
        #expect(trio.pass(milliseconds: 8000) { $0.running[a]?.isEmpty == false })
    }

    @Test func `while a majority is there nothing is recovered, and who is alive is not given up`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        self.order(trio, on: a, dead: [b, w])
        trio.pass(milliseconds: 500)
        guard case .refused(let refusal)? = self.answer(trio) else { return #expect(Bool(false), "it was not refused") }
        #expect(refusal.description.contains("a majority is alive"))
        #expect(trio.supervisors[a]?.generation == GenerationRecord(.first))
    }

    @Test func `the old majority comes back, is refused, and runs nothing`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        self.lose([b, w], of: trio)
        #expect(self.recover(trio, on: a, dead: [b, w]))
        #expect(trio.pass(milliseconds: 8000) { $0.running[a]?.isEmpty == false })
        trio.stopped = []
        trio.pass(milliseconds: 4000)
        for node in [b, w] {
            #expect(trio.generations[node]?.overtakenBy == Generation(number: 1, recovery: 77))
            #expect(trio.supervisors[node]?.generation.overtakenBy != nil)
        }
        // Nor among themselves, once nobody is there to tell them again.
        for node in [b, w] { trio.cut(a, node) }
        trio.pass(milliseconds: 20_000)
        #expect([b, w].allSatisfy { trio.supervisors[$0]?.consensus.isLeader == false })
        #expect(trio.running[b]?.isEmpty != false)
        #expect(trio.running[a]?.isEmpty == false)
        #expect(trio.supervisors[a]?.consensus.membership.voters == [a])
    }

    @Test func `who was left behind comes back with an empty log, on order alone, and votes again`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        self.lose([b, w], of: trio)
        #expect(self.recover(trio, on: a, dead: [b, w]))
        trio.stopped = []
        trio.pass(milliseconds: 2000)
        for node in [b, w] { trio.step(node, .client(id: 6, .rejoin)) }
        let isWhole = trio.pass(milliseconds: 30_000) { trio in
            trio.supervisors[a]?.consensus.membership.voters == [a, b, w]
                && [b, w].allSatisfy { trio.supervisors[$0]?.me?.standing == .trusted }
        }
        #expect(isWhole)
        #expect(trio.generations[b]?.generation == Generation(number: 1, recovery: 77))
    }

    @Test func `an owner that was given up and is alive has no lease once it hears the news`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        trio.step(a, .client(id: 5, .propose(.move(Trio.orders, to: b))))
        #expect(trio.pass(milliseconds: 5000) { $0.running[b]?.isEmpty == false && $0.running[a]?.isEmpty != false })
        // The operator is wrong: b and w run on, cut off from a, and are a majority by themselves.
        for node in [b, w] { trio.cut(a, node) }
        trio.pass(milliseconds: 8000)
        #expect(self.recover(trio, on: a, dead: [b, w]))
        #expect(trio.pass(milliseconds: 8000) { $0.running[a]?.isEmpty == false })
        #expect(trio.running[b]?.isEmpty == false, "nobody can stop them: that is what was signed for")
        trio.cuts = []
        trio.pass(milliseconds: 1000)
        #expect(trio.leases[b] == .zero)
        #expect(trio.pass(milliseconds: 3000) { $0.running[b]?.isEmpty != false })
        #expect(trio.running[a]?.isEmpty == false)
    }

    @Test func `the copy of a volume is used after a recovery only once a person signed for it`() throws {
        let trio = try Trio(volume: true)
        #expect(trio.settle())
        self.lose([b, w], of: trio)
        #expect(self.recover(trio, on: a, dead: [b, w]))
        trio.pass(milliseconds: 5000)
        #expect(trio.running[a]?.isEmpty != false, "an in-sync set was believed (R4)")
        // Whatever epoch the lost majority has assigned is over here, and its copies are left alone.
        let over = VolumeCommand.over(below: Epoch(generation: 1, index: 0))
        #expect(trio.volumeCommands[a]?.contains(over) == true)
        #expect(trio.volumePeers[a] == [])
        let record = try #require(trio.supervisors[a]?.state.volumes.first)
        trio.step(
            a,
            .client(
                id: 5,
                .propose(.acceptLoss(record.name, record.epoch, version: record.version, a, statement: "a is good"))))
        #expect(trio.pass(milliseconds: 8000) { $0.running[a]?.isEmpty == false })
    }

    @Test func `two of five go on with the longer log, and the other's tail is not lost`() throws {
        let (d, e) = (NodeID(4), NodeID(5))
        let trio = try Trio(voters: [a, b, w, d, e], others: ["d", "e"])
        #expect(trio.settle())
        // e misses what the others agree on last; then a, b and w are gone.
        for node in [a, b, w, d] { trio.cut(e, node) }
        trio.step(a, .client(id: 5, .propose(.note("kept", about: nil))))
        trio.pass(milliseconds: 1000)
        trio.stopped = [a, b, w]
        trio.cuts = []
        trio.pass(milliseconds: 8000)
        #expect(self.recover(trio, on: e, dead: [a, b, w]))
        let isKept = trio.pass(milliseconds: 8000) { trio in
            [d, e].allSatisfy { node in
                trio.supervisors[node]?.state.events.contains { $0.sentence.contains("kept") } == true
            }
        }
        #expect(isKept, "what only the other survivor had is gone (R2)")
    }

    @Test func `a survivor that does not answer ends the recovery, and the next order goes on`() throws {
        let (d, e) = (NodeID(4), NodeID(5))
        let trio = try Trio(voters: [a, b, w, d, e], others: ["d", "e"])
        #expect(trio.settle())
        self.lose([a, b, w, e], of: trio)
        self.order(trio, on: d, dead: [a, b, w])
        trio.pass(milliseconds: 12_000) { _ in self.answer(trio) != nil }
        guard case .refused(let refusal)? = self.answer(trio) else { return #expect(Bool(false), "it was not refused") }
        #expect(refusal.description.contains("e did not answer"))
        #expect(trio.supervisors[d]?.isRecoveryUnfinished == true)
        trio.stopped.remove(e)
        trio.pass(milliseconds: 1000)
        self.order(trio, on: d, dead: [a, b, w], recovery: 78)
        #expect(trio.pass(milliseconds: 15_000) { _ in self.answer(trio, 78) == .accepted })
        #expect(trio.supervisors[d]?.state.generation == 2)
        #expect(trio.pass(milliseconds: 8000) { $0.supervisors[e]?.state.generation == 2 })
    }

    @Test func `who turned away for a recovery that never began can go back to the majority, once that is there again`()
        throws
    {
        let (d, e) = (NodeID(4), NodeID(5))
        let trio = try Trio(voters: [a, b, w, d, e], others: ["d", "e"])
        #expect(trio.settle())
        self.lose([a, b, w, e], of: trio)
        self.order(trio, on: d, dead: [a, b, w])
        #expect(trio.pass(milliseconds: 12_000) { _ in self.answer(trio) != nil })
        #expect(trio.supervisors[d]?.isRecoveryUnfinished == true)
        trio.stopped = []
        #expect(trio.pass(milliseconds: 10_000) { $0.leader != nil })
        trio.step(d, .client(id: 6, .rejoin))
        #expect(trio.replies[6] == .handedOn)
        #expect(trio.generations[d] == GenerationRecord(.first))
        #expect(
            trio.pass(milliseconds: 30_000) { trio in
                trio.supervisors[d]?.me?.standing == .trusted && trio.supervisors[d]?.hasLease(at: trio.tick) == true
            })
        #expect(trio.supervisors[d]?.state.generation == 0)
    }

    @Test func `what a survivor cannot write down it does not answer`() throws {
        let (d, e) = (NodeID(4), NodeID(5))
        let trio = try Trio(voters: [a, b, w, d, e], others: ["d", "e"])
        #expect(trio.settle())
        self.lose([a, b, w], of: trio)
        trio.fullDisks = [e]
        self.order(trio, on: d, dead: [a, b, w])
        trio.pass(milliseconds: 12_000) { _ in self.answer(trio) != nil }
        #expect(self.answer(trio) != .accepted)
        #expect(trio.supervisors[d]?.state.generation == 0)
    }

    @Test func `a survivor says how its log ends once its disk holds it`() throws {
        let (d, e) = (NodeID(4), NodeID(5))
        let trio = try Trio(voters: [a, b, w, d, e], others: ["d", "e"])
        #expect(trio.settle())
        // The disk of e is slow: what it was sent last is not on it.
        trio.held[e] = []
        trio.step(a, .client(id: 5, .propose(.note("kept", about: nil))))
        trio.pass(milliseconds: 500)
        trio.stopped = [a, b, w]
        trio.pass(milliseconds: 8000)
        self.order(trio, on: d, dead: [a, b, w])
        trio.pass(milliseconds: 5000)
        #expect(trio.supervisors[d]?.state.generation == 0)
        trio.release(e)
        #expect(trio.pass(milliseconds: 15_000) { $0.supervisors[d]?.state.generation == 1 })
    }

    @Test func `a majority that is not given up elects a leader, and needs no recovery`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        trio.stopped = [b, w]
        trio.pass(milliseconds: 8000)
        self.order(trio, on: a, dead: [b])
        trio.pass(milliseconds: 500)
        guard case .refused(let refusal)? = self.answer(trio) else { return #expect(Bool(false), "it was not refused") }
        #expect(refusal.description.contains("are a majority"))
    }

    @Test func `a learner whose only voter is gone goes on`() throws {
        let trio = try Trio(voters: [a])
        #expect(trio.pass(milliseconds: 2000) { $0.supervisors[b]?.state.appliedIndex ?? .zero > LogIndex(4) })
        trio.stopped = [a, w]
        trio.pass(milliseconds: 8000)
        #expect(self.recover(trio, on: b, dead: [a, w]), "\(String(describing: self.answer(trio)))")
        #expect(trio.supervisors[b]?.consensus.membership.voters == [b])
        trio.stopped = []
        trio.pass(milliseconds: 3000)
        #expect(trio.supervisors[a]?.generation.overtakenBy != nil)
        #expect(trio.running[a]?.isEmpty != false)
    }

    @Test func `a recovery that is in the log twice takes effect once`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        var state = try #require(trio.supervisors[a]?.state)
        let plan = RecoveryPlan(
            generation: Generation(number: 1, recovery: 7), base: .first, coordinator: a, survivors: [a], dead: [b, w],
            statement: "they are off", startsGroups: true)
        let entry = LogCommand(
            origin: a, nonce: 1, sequence: 0, clusterMilliseconds: 0, wallMilliseconds: 0, command: .recovered(plan))
        #expect(state.apply(entry, at: LogIndex(state.appliedIndex.rawValue + 1)) == .accepted)
        guard case .refused = state.apply(entry, at: LogIndex(state.appliedIndex.rawValue + 1)) else {
            return #expect(Bool(false), "it took effect again")
        }
        #expect(state.recoveries.count == 1)
        #expect(try ClusterState(decoding: state.encoded) == state)
    }

    @Test func `a survivor whose log has the beginning of the new generation does not begin it again`()
        throws
    {
        let (d, e) = (NodeID(4), NodeID(5))
        let trio = try Trio(voters: [a, b, w, d, e], others: ["d", "e"])
        #expect(trio.settle())
        self.lose([a, b, w], of: trio)
        let before = try #require(trio.supervisors[d]?.consensus.commitIndex)
        #expect(self.recover(trio, on: d, dead: [a, b, w]))
        let old = try #require(trio.supervisors[d])
        let plan = try #require(old.state.recoveries.last)
        // Its daemon starts again, and does not know yet what of its log is committed.
        try self.restart(trio, d, committed: before)
        #expect(trio.supervisors[d]?.state.recoveries.isEmpty == true)
        let begun = trio.notes.filter { $0.hasPrefix("n4: begins generation") }.count
        let late = Envelope(
            from: e, to: d, isRelayed: false, mark: .none, message: .recovery(.execute(plan, above: Term(50))))
        trio.step(d, .receive(late, via: e))
        #expect(trio.notes.filter { $0.hasPrefix("n4: begins generation") }.count == begun)
        #expect(try #require(trio.supervisors[d]?.consensus.term) < Term(50))
    }

    @Test func `those that have turned away elect nobody among themselves, even if they are a majority`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        for (left, right) in [(a, b), (a, w), (b, w)] { trio.cut(left, right) }
        trio.pass(milliseconds: 8000)
        // Orders that failed have made each of them turn away, for the same generation.
        let plan = RecoveryPlan(
            generation: Generation(number: 1, recovery: 7), base: .first, coordinator: a, survivors: [a, b, w],
            dead: [],
            statement: "", startsGroups: true)
        for node in [a, b, w] {
            let from = node == a ? b : a
            let prepare = Envelope(
                from: from, to: node, isRelayed: false, mark: .none, message: .recovery(.prepare(plan)))
            trio.step(node, .receive(prepare, via: from))
            #expect(trio.supervisors[node]?.generation.generation == plan.generation)
        }
        trio.cuts = []
        trio.pass(milliseconds: 10_000)
        #expect(trio.leader == nil)
    }

    @Test func `who was left behind knows after a restart what it knew, and has no lease`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        self.lose([b, w], of: trio)
        #expect(self.recover(trio, on: a, dead: [b, w]))
        trio.stopped = []
        trio.pass(milliseconds: 3000)
        let old = try #require(trio.supervisors[b])
        try self.restart(trio, b, committed: old.consensus.commitIndex)
        trio.pass(milliseconds: 10_000)
        #expect(trio.supervisors[b]?.state.nodes.count == 3)
        #expect(trio.supervisors[b]?.generation.overtakenBy != nil)
        #expect(trio.supervisors[b]?.hasLease(at: trio.tick) == false)
        #expect(trio.running[b]?.isEmpty != false)
        #expect(trio.supervisors[b]?.consensus.term == old.consensus.term)
    }

    @Test func `of two recoveries under one number the one with the higher id ends the other`() throws {
        let (d, e) = (NodeID(4), NodeID(5))
        let trio = try Trio(voters: [a, b, w, d, e], others: ["d", "e"])
        #expect(trio.settle())
        trio.stopped = [a, b, w]
        trio.cut(d, e)
        trio.pass(milliseconds: 8000)
        self.order(trio, on: d, dead: [a, b, w, e], recovery: 70)
        self.order(trio, on: e, dead: [a, b, w, d], recovery: 71)
        #expect(trio.pass(milliseconds: 15_000) { _ in self.answer(trio, 70) != nil && self.answer(trio, 71) != nil })
        #expect(trio.supervisors[d]?.state.generation == 1)
        #expect(trio.supervisors[e]?.state.generation == 1)
        trio.cuts = []
        trio.pass(milliseconds: 3000)
        #expect(trio.supervisors[d]?.generation.overtakenBy == Generation(number: 1, recovery: 71))
        #expect(trio.supervisors[e]?.generation.overtakenBy == nil)
    }

    @Test func `once those that went on are gone too, who was left behind can go on instead`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        self.lose([b, w], of: trio)
        #expect(self.recover(trio, on: a, dead: [b, w]))
        trio.stopped = []
        trio.pass(milliseconds: 3000)
        #expect(trio.supervisors[b]?.generation.overtakenBy != nil)
        self.lose([a], of: trio)
        self.order(trio, on: b, dead: [a], recovery: 80)
        #expect(trio.pass(milliseconds: 15_000) { _ in self.answer(trio, 80) == .accepted })
        #expect(trio.supervisors[b]?.state.generation == 2)
        #expect(trio.pass(milliseconds: 8000) { $0.running[b]?.isEmpty == false })
        trio.stopped = []
        trio.pass(milliseconds: 3000)
        #expect(trio.supervisors[a]?.generation.overtakenBy == Generation(number: 2, recovery: 80))
    }
}
