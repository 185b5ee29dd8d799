import Basis
import Raft
import Resources
import Testing

@testable import Cluster

/// Nobody is asked to do what a node cannot, and who cannot says so and goes in order. (Rules U1, U2)
@Suite struct SupervisorLevelTests {
    private static let second = FeatureLevel(2)
    private static let earlier = Release(version: "0.1.0", level: .first)
    private static let order = Command.raise(second, counting: Trio.ids)

    private func trio(_ releases: [NodeID: Release] = [:]) throws -> Trio {
        let trio = try Trio(releases: releases)
        #expect(trio.settle())
        trio.pass(milliseconds: 1500)
        return trio
    }

    private func answer(_ trio: Trio, to order: Command, on node: NodeID) -> ClientReply? {
        trio.replies[5] = nil
        trio.step(node, .client(id: 5, .propose(order)))
        trio.pass(milliseconds: 11_000) { $0.replies[5] != nil }
        return trio.replies[5]
    }

    private func refusal(_ trio: Trio, of order: Command = order, on node: NodeID = NodeID(1)) -> String {
        guard case .applied(.refused(let refusal), _) = self.answer(trio, to: order, on: node) else {
            return "\(trio.replies[5].map { "\($0)" } ?? "no answer")"
        }
        return refusal.description
    }

    private func levels(_ trio: Trio) -> [FeatureLevel] { Trio.ids.compactMap { trio.supervisors[$0]?.state.level } }

    @Test func `the level is raised once every node was heard to be able to do it (rule U1)`() throws {
        let trio = try self.trio()
        #expect(self.levels(trio) == [.first, .first, .first])
        for node in Trio.ids.prefix(2) {
            let answer = self.answer(trio, to: Self.order, on: node)
            let isAccepted = if case .applied(.accepted, _) = answer { true } else { false }
            #expect(isAccepted == (node == NodeID(1)), "\(answer as Any)")
        }
        trio.pass(milliseconds: 500)
        #expect(self.levels(trio) == [Self.second, Self.second, Self.second])
        let event = trio.supervisors[NodeID(3)]?.state.events.last { $0.happening == .cluster(.raised(Self.second)) }
        #expect(event?.sentence == "the cluster is at feature level 2: every node can do it, asked on a")
    }

    @Test func `not while a node runs a release that does less (rule U1)`() throws {
        let trio = try self.trio([NodeID(3): Self.earlier])
        #expect(self.refusal(trio) == "w runs 0.1.0, which does feature level 1")
        #expect(self.levels(trio) == [.first, .first, .first])
    }

    @Test func `not while a node does not say what it runs, or is not heard (rule U1)`() throws {
        let trio = try self.trio()
        trio.stopped.insert(NodeID(3))
        trio.pass(milliseconds: 3500)
        #expect(self.refusal(trio) == "w is not heard")
        let silent = try Trio()
        silent.isLost = { if case .summary = $0.message { $0.from == NodeID(3) } else { false } }
        #expect(silent.settle())
        silent.pass(milliseconds: 1500)
        #expect(self.refusal(silent) == "w is not heard")
    }

    @Test func `the leader looks for itself, whatever the asking node has heard (rule U1)`() throws {
        let trio = try self.trio()
        let leader = try #require(trio.leader)
        let asker = try #require(Trio.ids.first { $0 != leader && $0 != NodeID(3) })
        trio.isLost = { if case .summary = $0.message { $0.to == leader && $0.from == NodeID(3) } else { false } }
        trio.pass(milliseconds: 3500)
        #expect(self.answer(trio, to: Self.order, on: asker) == .noQuorum)
        #expect(trio.notes.contains("\(leader): refused: a command from \(TrioWorld.name(asker)): w is not heard"))
        #expect(self.levels(trio) == [.first, .first, .first])
    }

    @Test func `a level is reached over the one before it (rule U1)`() throws {
        let release = Release(version: "9", level: FeatureLevel(3))
        let trio = try self.trio([NodeID(1): release, NodeID(2): release, NodeID(3): release])
        let third = Command.raise(FeatureLevel(3), counting: Trio.ids)
        #expect(
            self.refusal(trio, of: third)
                == "this needs feature level 2; the cluster is at 1: upgrade all nodes, then `holdfast upgrade finalize`"
        )
    }

    @Test func `a node whose release does less stops in order what it runs, and says why (rule U2)`() throws {
        let trio = try self.trio()
        let owner = try #require(trio.owner)
        let other = try #require(Trio.ids.first { $0 != owner && $0 != NodeID(3) })
        trio.step(trio.leader ?? other, .client(id: 1, .transferLeadership(to: other)))
        #expect(trio.pass(milliseconds: 5000) { $0.leader == other })
        trio.pass(milliseconds: 1500)
        // Somebody put the release before back just after the node was heard.
        trio.supervisors[owner]?.identity.release = Self.earlier
        _ = self.answer(trio, to: Self.order, on: other)
        trio.pass(milliseconds: 300)
        #expect(
            trio.supervisors[owner]?.unreadable?.contains("feature level 2, and this release (0.1.0) does 1") == true)
        #expect(trio.status(of: owner).contains { $0.contains("install the release that the other nodes run") })
        #expect(trio.supervisors[owner]?.state.level == .first)
        #expect(trio.supervisors[other]?.state.level == Self.second)
        #expect(trio.pass(milliseconds: 1500) { $0.running[owner]?.isEmpty == true && $0.owner == other })
        #expect(trio.calls[owner]?.last?.action == .stop, "its agents were asked: nothing was killed")
        #expect(trio.pass(milliseconds: 8000) { $0.supervisors[owner]?.hasResigned == true })
        #expect(trio.pass(milliseconds: 8000) { $0.standing(of: owner, seenBy: other) == .lost })
        #expect(trio.leader != owner)
        let last = try #require(trio.supervisors[other]?.state.appliedIndex)
        trio.pass(milliseconds: 10_000)
        let grown = try #require(trio.supervisors[other]?.state.appliedIndex.rawValue) - last.rawValue
        #expect(grown < 10, "it asks for nothing any more")
    }

    // MARK: At a start

    private func start(_ release: Release, _ restored: RestoredState) throws -> Supervisor {
        try Supervisor(
            identity: .init(node: NodeID(1), bootID: "boot", memory: Trio.memory(1), nonce: 1, release: release),
            settings: Consensus.Settings(), restored: restored, facts: nil, leaseEnd: .zero, seed: 1, at: .zero)
    }

    @Test func `a daemon that cannot do what its log has agreed on does not start (rule U2)`() throws {
        let entry = Entry(
            mark: LogMark(term: Term(1), index: LogIndex(1)),
            payload: .command(
                LogCommand(
                    origin: NodeID(1), nonce: 0, sequence: 0, clusterMilliseconds: 0, wallMilliseconds: 0,
                    command: Self.order
                ).encoded))
        let committed = RestoredState(hardState: HardState(term: Term(1), commit: LogIndex(1)), entries: [entry])
        let error = CodecError.foreignLevel(Self.second, own: Self.earlier)
        #expect(throws: error) { try self.start(Self.earlier, committed) }
        #expect(error.description == "the cluster is at feature level 2, and this release (0.1.0) does 1")
        _ = try self.start(.present, committed)
        // What is not committed may be cut off again.
        _ = try self.start(
            Self.earlier, RestoredState(hardState: HardState(term: Term(1)), entries: [entry]))
        let log = StateLog(members: ["tok-1"], witness: false)
        #expect(log.run(.raise(Self.second, counting: [NodeID(1)])).isAccepted)
        let snapshot = Snapshot(
            mark: LogMark(term: Term(1), index: log.state.appliedIndex), membership: Membership(voters: [NodeID(1)]),
            membershipIndex: LogIndex(1), data: log.state.encoded)
        #expect(throws: error) { try self.start(Self.earlier, RestoredState(snapshot: snapshot)) }
        #expect(try self.start(.present, RestoredState(snapshot: snapshot)).state.level == Self.second)
    }
}
