import Basis
import Cluster
import Raft
import Resources
import Testing

/// What a node could not take down, and what the others do meanwhile. (Rules L11, L12)
@Suite struct `What is left of a group` {
    private static let (a, b) = (NodeID(1), NodeID(2))
    private static let unkilled = GroupRemains(kind: .unkilled, reason: "could not kill processes [444]")
    private static let unstopped = GroupRemains(kind: .unstopped, reason: "could not stop db (exit 1)")

    /// A state in which the group was stopped on a, and entries that follow.
    private struct Log {
        var state: ClusterState
        var milliseconds: UInt64

        init() throws {
            let trio = try Trio()
            #expect(trio.settle())
            let leader = try #require(trio.leader)
            self.state = try #require(trio.supervisors[leader]).state
            self.milliseconds = self.state.clusterMilliseconds
            let epoch = try #require(self.state.group(Trio.orders)).epoch
            #expect(self.apply(.stopped(Trio.orders, epoch, failure: nil)) == .accepted)
        }

        mutating func apply(_ command: Command) -> Outcome {
            let entry = LogCommand(
                origin: a, nonce: 0, sequence: 0, clusterMilliseconds: self.milliseconds, wallMilliseconds: 0,
                command: command)
            // Through the codec, as every entry goes.
            let read = (try? LogCommand(decoding: entry.encoded)) ?? entry
            #expect(read == entry)
            return self.state.apply(read, at: self.state.appliedIndex.next)
        }

        func life(of node: NodeID) -> Incarnation { self.state.node(node)?.incarnation ?? .none }

        mutating func assign() -> Outcome {
            let epoch = self.state.group(Trio.orders)?.epoch ?? .none
            return self.apply(
                .assign(Trio.orders, b, self.life(of: b), replacing: epoch, isTakeover: false, reason: "the test"))
        }

        mutating func tell(_ remains: GroupRemains?) -> Outcome {
            self.apply(.remains(Trio.orders, a, self.life(of: a), remains))
        }
    }

    private func isRefused(_ outcome: Outcome) -> Bool { outcome != .accepted }

    @Test func `a group is not assigned while something of it is left elsewhere (rule L12)`() throws {
        var log = try Log()
        #expect(log.tell(Self.unkilled) == .accepted)
        #expect(self.isRefused(log.assign()))
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
        let plan = Planner.plan(policy: log.state.policy, observation: log.state.observation)
        #expect(plan.actions.first?.reason.contains("a could not kill processes [444]") == true, "\(plan)")
        #expect(log.tell(nil) == .accepted)
        #expect(log.assign() == .accepted)
    }

    @Test func `what merely hangs is waited for while it is told, and no longer than the policy says (rule L12)`()
        throws
    {
        var log = try Log()
        #expect(log.tell(Self.unkilled) == .accepted)
        log.milliseconds += 14_000
        #expect(self.isRefused(log.assign()))
        #expect(log.tell(Self.unkilled) == .accepted)
        for _ in 0..<4 {
            log.milliseconds += 10_000
            #expect(self.isRefused(log.assign()))
            #expect(log.tell(Self.unkilled) == .accepted)
        }
        log.milliseconds += 6_000
        #expect(log.assign() == .accepted)
        var silent = try Log()
        #expect(silent.tell(Self.unkilled) == .accepted)
        silent.milliseconds += 15_000
        #expect(silent.assign() == .accepted)
    }

    @Test func `what an agent could not stop is waited for until a person signs (rule L11)`() throws {
        var log = try Log()
        #expect(log.tell(Self.unstopped) == .accepted)
        log.milliseconds += 3_600_000
        #expect(self.isRefused(log.assign()))
        let signed = Command.confirmStopped(Trio.orders, Self.a, statement: "it is off")
        #expect(self.isRefused(log.apply(.confirmStopped(Trio.orders, Self.b, statement: "another node"))))
        #expect(log.apply(signed) == .accepted)
        #expect(self.isRefused(log.apply(signed)))
        #expect(log.assign() == .accepted)
    }

    @Test func `another boot of the machine has nothing of the one before (rules L11, E3)`() throws {
        var log = try Log()
        #expect(log.tell(Self.unstopped) == .accepted)
        var mark = log.state.node(Self.a)?.mark ?? .none
        mark.start += 1
        #expect(log.apply(.suspect(Self.a, log.life(of: Self.a))) == .accepted)
        let at = log.state.appliedIndex
        #expect(log.apply(.lost(Self.a, log.life(of: Self.a), suspectedAt: at)) == .accepted)
        #expect(self.isRefused(log.assign()))
        #expect(log.apply(.admit(Self.a, bootID: "another", mark: mark)) == .accepted)
        #expect(log.assign() == .accepted)
        #expect(self.isRefused(log.apply(.remains(Trio.orders, Self.a, Incarnation(1), Self.unstopped))))
    }

    @Test func `a daemon that finds something left asks for no new life, and goes on killing (rule L11)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        trio.step(trio.leader ?? Self.b, .client(id: 1, .transferLeadership(to: Self.b)))
        trio.pass(milliseconds: 2000)
        trio.stopped = [Self.a]
        trio.pass(milliseconds: 6000)
        #expect(trio.standing(of: Self.a, seenBy: Self.b) == .lost)
        let before = try #require(trio.supervisors[Self.a])
        var memory = before.identity.memory
        memory.begin(nonce: 4711)
        trio.supervisors[Self.a] = try Supervisor(
            identity: .init(node: Self.a, bootID: "boot", memory: memory, nonce: 101), settings: Consensus.Settings(),
            restored: RestoredState(
                hardState: HardState(term: before.consensus.term, commit: before.consensus.commitIndex),
                entries: before.consensus.entries(after: .zero)),
            facts: nil, leaseEnd: .zero, seed: 9, at: trio.tick)
        trio.undying[Self.a] = Self.unstopped
        trio.stopped = []
        trio.step(Self.a, .groupRemains(Trio.orders, Self.unstopped))
        trio.pass(milliseconds: 10_000)
        #expect(trio.standing(of: Self.a, seenBy: Self.b) == .lost)
        #expect(trio.supervisors[Self.b]?.state.group(Trio.orders)?.remains.map(\.node) == [Self.a])
        trio.undying[Self.a] = nil
        trio.pass(milliseconds: 5_000)
        #expect(trio.standing(of: Self.a, seenBy: Self.b) == .trusted)
        #expect(trio.supervisors[Self.b]?.state.group(Trio.orders)?.remains.isEmpty == true)
    }

    /// The clock of a stood still, so its lease looks valid to a daemon that starts there; the cluster has declared it lost.
    @Test func `a daemon asks for no new life while the kill of what it did not adopt is under way (rule L11)`() throws
    {
        let trio = try Trio()
        #expect(trio.settle())
        trio.step(trio.leader ?? Self.b, .client(id: 1, .transferLeadership(to: Self.b)))
        trio.pass(milliseconds: 2000)
        let before = try #require(trio.supervisors[Self.a])
        let record = try #require(before.state.group(Trio.orders))
        trio.stopped = [Self.a]
        trio.pass(milliseconds: 6000)
        #expect(trio.standing(of: Self.a, seenBy: Self.b) == .lost)
        var memory = before.identity.memory
        memory.begin(nonce: 4711)
        // It was starting: not up, so not adopted.
        let facts = Facts(
            bootID: before.identity.bootID, incarnation: try #require(before.state.node(Self.a)).incarnation,
            groups: [.init(name: Trio.orders, epoch: record.epoch, isUp: false, resources: 0)])
        trio.supervisors[Self.a] = try Supervisor(
            identity: .init(node: Self.a, bootID: before.identity.bootID, memory: memory, nonce: 101),
            settings: Consensus.Settings(),
            restored: RestoredState(
                hardState: HardState(term: before.consensus.term, commit: before.consensus.commitIndex),
                entries: before.consensus.entries(after: .zero)),
            facts: facts, leaseEnd: trio.tick + .seconds(60), seed: 9, at: trio.tick)
        trio.slowKills = [Self.a]
        trio.stopped = []
        trio.pass(milliseconds: 3000)
        #expect(trio.standing(of: Self.a, seenBy: Self.b) == .lost)
        // Killed once, and not dead: it is tried again, and told.
        trio.finishKills(Self.a, areDead: false)
        trio.pass(milliseconds: 3000)
        #expect(trio.standing(of: Self.a, seenBy: Self.b) == .lost)
        #expect(trio.supervisors[Self.b]?.state.group(Trio.orders)?.remains.map(\.node) == [Self.a])
        trio.finishKills(Self.a, areDead: true)
        trio.pass(milliseconds: 3000)
        #expect(trio.standing(of: Self.a, seenBy: Self.b) == .trusted)
        #expect(trio.supervisors[Self.b]?.state.group(Trio.orders)?.remains.isEmpty == true)
    }
}
