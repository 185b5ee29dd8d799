import Basis
import Raft
import Testing

@testable import Cluster

@Suite struct `A supervisor and who has left (J6)` {
    @Test func `what a node says that has left is not even heard`() throws {
        let trio = try Trio(others: ["c", "d"])
        #expect(trio.settle())
        trio.pass(milliseconds: 6000)
        let (a, d) = (NodeID(1), NodeID(5))
        #expect(self.isHeard(d, by: a, trio))
        trio.stopped.insert(d)
        trio.pass(milliseconds: 6000)
        trio.step(trio.leader ?? a, .client(id: 1, .propose(.retire(d, isRetiring: true))))
        #expect(trio.supervisors[a]?.state.hasLeft(d) == false)
        #expect(self.isHeard(d, by: a, trio))
        trio.pass(milliseconds: 12000)
        #expect(trio.supervisors[a]?.state.hasLeft(d) == true)
        #expect(!self.isHeard(d, by: a, trio))
    }

    /// Whether a message of the node, which does not run now, shows that it is there.
    private func isHeard(_ node: NodeID, by other: NodeID, _ trio: Trio) -> Bool {
        guard let mark = trio.supervisors[node]?.identity.memory.present else { return false }
        let envelope = Envelope(
            from: node, to: other, isRelayed: false, mark: mark, message: .ping(hears: [], reaches: []))
        trio.step(other, .receive(envelope, via: node))
        return trio.supervisors[other]?.links.reachability.heardDirectly(at: trio.tick).contains(node) == true
    }
}
