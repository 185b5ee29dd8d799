import Basis
import Cluster
import Raft
import Testing

private let (a, b, w) = (NodeID(1), NodeID(2), NodeID(3))

/// Rule R1: what an empty log follows.
extension SupervisorRecoveryTests {
    /// a has prepared for a generation that was never begun; the others are there again, and w with an empty log.
    private func prepareInVain() throws -> Trio {
        let trio = try Trio()
        #expect(trio.settle())
        self.lose([b, w], of: trio)
        self.order(trio, on: a, dead: [b, w])
        #expect(trio.pass(milliseconds: 1000) { $0.generations[a]?.generation.number == 1 })
        // Its daemon ends before it begins, and the order with it.
        try self.restart(trio, a, committed: try #require(trio.supervisors[a]?.consensus.commitIndex))
        trio.stopped = []
        return trio
    }

    @Test func `an empty log follows no generation that was only prepared for`() throws {
        let trio = try self.prepareInVain()
        trio.startEmpty(w)
        trio.pass(milliseconds: 10_000)
        #expect(trio.supervisors[w]?.generation == GenerationRecord(.first), "nobody would find it there")
        // Once a person has brought a back as well, all three are one cluster again.
        trio.step(a, .client(id: 7, .rejoin))
        #expect(trio.supervisors[a]?.generation == GenerationRecord(.first))
    }

    @Test func `an empty log in a generation that nobody leads comes back on order`() throws {
        let trio = try self.prepareInVain()
        trio.generations[w] = trio.generations[a]
        trio.startEmpty(w)
        trio.pass(milliseconds: 10_000)
        let astray = try #require(trio.supervisors[w])
        #expect(astray.isAstray(at: trio.tick))
        trio.step(w, .client(id: 7, .rejoin))
        #expect(trio.supervisors[w]?.generation == GenerationRecord(.first))
        #expect(trio.supervisors[w]?.isAstray(at: trio.tick) == false)
    }
}
