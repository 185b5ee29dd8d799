import Basis
import Raft
import Testing

@testable import Cluster

/// Snapshots are written while everything else goes on. (Rule C4)
@Suite struct `Snapshots beside the log` {
    private static let key = AttributeKey(.cluster, "app.primary")

    /// A cluster that makes a snapshot every ten entries, with a leader and a group that runs.
    private func cluster() throws -> (trio: Trio, leader: NodeID) {
        let trio = try Trio(settings: Consensus.Settings(trailingEntries: 0, entriesBetweenSnapshots: 10))
        #expect(trio.settle())
        return (trio, try #require(trio.leader))
    }

    private func put(_ count: Int, on node: NodeID, _ trio: Trio) {
        for number in 0..<count {
            trio.step(
                node,
                .client(
                    id: 1000 + UInt64(number),
                    .propose(.putAttribute(Self.key, value: "\(number)", lifetime: .forever))))
            trio.pass(milliseconds: 25)
        }
        trio.pass(milliseconds: 500)
    }

    private func snapshotIndex(_ node: NodeID, _ trio: Trio) -> LogIndex {
        trio.supervisors[node]?.consensus.snapshotIndex ?? .zero
    }

    private func holdSnapshots(of node: NodeID, _ trio: Trio) {
        trio.heldSnapshots[node] = []
    }

    /// What was held is told; what follows is held still.
    private func tell(_ node: NodeID, _ trio: Trio) throws {
        let words = try #require(trio.heldSnapshots[node])
        trio.heldSnapshots[node] = []
        for word in words { trio.step(node, .snapshot(word)) }
        trio.pass(milliseconds: 500)
    }

    @Test func `what a log holds before a snapshot goes only when that is on disk, one snapshot at a time (rule C4)`()
        throws
    {
        let (trio, leader) = try self.cluster()
        self.put(10, on: leader, trio)
        try self.holding(trio, leader)
    }

    private func holding(_ trio: Trio, _ leader: NodeID) throws {
        self.holdSnapshots(of: leader, trio)
        let before = self.snapshotIndex(leader, trio)
        let first = try #require(trio.supervisors[leader]?.consensus.firstIndex)
        self.put(35, on: leader, trio)
        #expect(trio.heldSnapshots[leader]?.count == 1, "one at a time")
        #expect(self.snapshotIndex(leader, trio) == before)
        #expect(trio.supervisors[leader]?.consensus.firstIndex == first)
        #expect(trio.supervisors[leader]?.state.attributes[Self.key]?.value == "34", "everything else goes on")
        try self.tell(leader, trio)
        #expect(self.snapshotIndex(leader, trio) > before)
        #expect(trio.supervisors[leader]?.consensus.firstIndex != first)
        #expect(trio.heldSnapshots[leader]?.count == 1, "what came meanwhile is worth the next one")
    }

    @Test func `a snapshot for which there is no room takes nothing with it, and is tried again (rule C4)`() throws {
        let (trio, leader) = try self.cluster()
        self.put(10, on: leader, trio)
        let before = self.snapshotIndex(leader, trio)
        let first = try #require(trio.supervisors[leader]?.consensus.firstIndex)
        trio.fullDisks.insert(leader)
        self.put(40, on: leader, trio)
        #expect(self.snapshotIndex(leader, trio) == before)
        #expect(trio.supervisors[leader]?.consensus.firstIndex == first)
        let told = trio.notes.filter { $0.hasPrefix("\(leader): the snapshot up to entry") }
        #expect(told.count == 1, "said once, and not with each entry")
        #expect(told.first?.contains("the file system is full") == true)
        #expect(trio.leader == leader)
        trio.fullDisks.remove(leader)
        trio.pass(milliseconds: 11_000)
        #expect(self.snapshotIndex(leader, trio) > before, "also when nothing more comes")
    }

    /// A node that was away while the others went on and let their logs go; what it writes beside its log is held.
    private func far(behind own: Int) throws -> (trio: Trio, leader: NodeID, far: NodeID) {
        let (trio, leader) = try self.cluster()
        let far = NodeID(3)
        try #require(leader != far)
        self.holdSnapshots(of: far, trio)
        self.put(own, on: leader, trio)
        for other in trio.ids where other != far { trio.cut(other, far) }
        self.put(40, on: leader, trio)
        trio.cuts = []
        trio.pass(milliseconds: 3000)
        return (trio, leader, far)
    }

    @Test func `a node goes on while the leader's snapshot is written, and has it afterwards (rule C4)`() throws {
        let (trio, leader, far) = try self.far(behind: 0)
        let behind = try #require(trio.supervisors[far])
        guard case .kept(let mark, let state)? = trio.heldSnapshots[far]?.last else {
            Issue.record("nothing arrived: \(trio.heldSnapshots[far] ?? [])")
            return
        }
        #expect(trio.heldSnapshots[far]?.count == 1)
        #expect(state?.appliedIndex == mark.index, "it is read where it is written")
        #expect(behind.state.appliedIndex < mark.index && behind.consensus.commitIndex < mark.index)
        #expect(behind.consensus.leader == leader, "it follows as before")
        try self.tell(far, trio)
        trio.heldSnapshots[far] = nil
        trio.pass(milliseconds: 1000)
        let present = try #require(trio.supervisors[far])
        #expect(present.state.appliedIndex == trio.supervisors[leader]?.state.appliedIndex)
        #expect(present.state.attributes[Self.key]?.value == "39")
        #expect(present.consensus.leader == leader && trio.leader == leader)
    }

    @Test func `the leader's snapshot waits for the one that a node is making of its own (rule C4)`() throws {
        let (trio, leader, far) = try self.far(behind: 12)
        guard case .made(let own)? = trio.heldSnapshots[far]?.first, trio.heldSnapshots[far]?.count == 1 else {
            Issue.record("it makes one of its own, and nothing else: \(trio.heldSnapshots[far] ?? [])")
            return
        }
        try self.tell(far, trio)
        #expect(self.snapshotIndex(far, trio) == own.mark.index)
        guard case .kept? = trio.heldSnapshots[far]?.first, trio.heldSnapshots[far]?.count == 1 else {
            Issue.record("then the leader's: \(trio.heldSnapshots[far] ?? [])")
            return
        }
        try self.tell(far, trio)
        trio.heldSnapshots[far] = nil
        trio.pass(milliseconds: 1000)
        #expect(trio.supervisors[far]?.state.appliedIndex == trio.supervisors[leader]?.state.appliedIndex)
    }

    @Test func `a leader's snapshot for which there is no room is tried again, and not sent again (rule C4)`() throws {
        let (trio, leader) = try self.cluster()
        let far = NodeID(3)
        trio.fullDisks.insert(far)
        for other in trio.ids where other != far { trio.cut(other, far) }
        self.put(40, on: leader, trio)
        trio.cuts = []
        trio.pass(milliseconds: 5000)
        let told = { trio.notes.filter { $0.hasPrefix("\(far): the snapshot up to entry") }.count }
        #expect(told() == 1)
        trio.pass(milliseconds: 10_000)
        #expect(told() == 2)
        trio.fullDisks.remove(far)
        let sent = trio.notes.filter { $0.contains("sends snapshot") }.count
        trio.pass(milliseconds: 11_000)
        #expect(trio.supervisors[far]?.state.appliedIndex == trio.supervisors[leader]?.state.appliedIndex)
        #expect(trio.notes.filter { $0.contains("sends snapshot") }.count == sent)
    }
}
