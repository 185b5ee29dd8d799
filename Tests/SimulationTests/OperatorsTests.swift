import Basis
import Cluster
import Raft
import Testing

@testable import Simulator

/// What operators say of where leaders are and of pauses, as the simulator plays and judges it.
@Suite struct `Simulated sites and pauses (C11, L22)` {
    private func play(_ feature: SimulationFeature, counting words: [String]) {
        var options = SimulationOptions(seed: 13, length: .seconds(300))
        options.features = .chosen([feature])
        let result = Simulation(options: options).run()
        #expect(result.violation == nil, "\(result.trace.suffix(60).joined(separator: "\n"))")
        for what in words { #expect(result.counts.contains { $0.0 == what && $0.1 > 0 }, "no \(what)") }
    }

    @Test func `operators say in which sites a node is to lead, and one does in the end`() {
        let words = ["leader sites asked for", "leaders that left their place to a preferred site"]
        self.play(.sites, counting: words + ["leaders in a preferred site"])
    }

    @Test func `pauses are announced, come or do not, and who dies in one is taken over from after it`() {
        self.play(.pauses, counting: ["pauses announced", "announced pauses that came", "announced nodes lost"])
    }

    /// A node's daemon, for whoever tells one of its lives from another.
    private func daemon() throws -> SimulatedDaemon {
        let memory = LogMemory(directory: DirectoryID(high: 1, low: 1))
        return try SimulatedDaemon(
            Supervisor(
                identity: .init(
                    node: NodeID(1), bootID: "boot", memory: memory, nonce: 1, generation: GenerationRecord(.first)),
                settings: Consensus.Settings(), restored: RestoredState(), facts: nil, leaseEnd: .zero, seed: 1,
                at: .zero))
    }

    @Test func `notice a leader that leaves its place too early, and too early once more`() throws {
        var sites = LeaderSites(random: SeededRandom(seed: 1))
        let (node, daemon) = (NodeID(1), try self.daemon())
        let begin = Tick.zero + .seconds(1)
        sites.began(node, daemon, at: begin, isKnown: true)
        #expect(sites.handsOver(node, daemon, at: begin + .seconds(29)) != nil)
        sites.began(node, daemon, at: begin + .seconds(40), isKnown: true)
        #expect(sites.handsOver(node, daemon, at: begin + .seconds(99)) != nil, "it waits twice as long by now")
        sites.began(node, daemon, at: begin + .seconds(800), isKnown: true)
        #expect(sites.handsOver(node, daemon, at: begin + .seconds(831)) == nil)
    }

    @Test func `nobody knows how long a machine has led that was taken back`() throws {
        var sites = LeaderSites(random: SeededRandom(seed: 1))
        let (node, daemon) = (NodeID(1), try self.daemon())
        sites.began(node, daemon, at: .zero, isKnown: true)
        #expect(sites.handsOver(node, try self.daemon(), at: .zero + .seconds(1)) == nil)
        sites.began(node, daemon, at: .zero, isKnown: false)
        #expect(sites.handsOver(node, daemon, at: .zero + .seconds(1)) == nil)
    }
}
