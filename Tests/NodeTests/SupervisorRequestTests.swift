import Basis
import Cluster
import Raft
import Testing

@Suite struct `Puts that meet a change of leadership (C9)` {
    private let leader = NodeID(1)
    private let successor = NodeID(2)

    /// A put on `asker` beside a transfer, whose way to the leader is lost; how many milliseconds later it is acknowledged.
    private func wait(on asker: NodeID) throws -> UInt64? {
        let trio = try Trio()
        #expect(trio.settle())
        if trio.leader != self.leader {
            trio.step(trio.leader ?? self.leader, .client(id: 1, .transferLeadership(to: self.leader)))
            #expect(trio.pass(milliseconds: 2000) { $0.leader == self.leader })
            trio.pass(milliseconds: 1000)
        }
        // Who hands over takes no proposal any more; what others sent it meanwhile is lost with its leadership.
        trio.step(self.leader, .client(id: 1, .transferLeadership(to: self.successor)))
        let put = Command.putAttribute(AttributeKey(.cluster, "k"), value: "v", lifetime: .forever)
        trio.step(asker, .client(id: 2, .propose(put)))
        trio.queue.removeAll { if case .forward = $0.0.message { true } else { false } }
        let began = trio.now
        let isDone = trio.pass(milliseconds: 2000) { $0.replies[2] != nil }
        guard isDone, case .applied(.accepted, _) = trio.replies[2] else { return nil }
        #expect(trio.leader == self.successor)
        return (trio.now - began) / 1_000_000
    }

    @Test func `are handed to the new leader with its first entry, wherever they were asked for`() throws {
        for asker in [self.leader, self.successor] {
            let wait = try #require(try self.wait(on: asker), "\(asker)")
            #expect(wait <= 100, "\(asker) waited \(wait) ms")
        }
    }
}
