import Basis
import Simulator
import Testing

/// What clusters with more nodes than voters send. (Rule J7)
@Suite struct `Wide simulated clusters` {
    /// How many messages a calm cluster sends in ten seconds.
    private func messages(nodes: Int) -> Double {
        let totals = [UInt64(12), 22].map { seconds in
            var options = SimulationOptions(seed: 5, length: .seconds(seconds))
            options.hasFaults = false
            options.nodes = nodes
            let result = Simulation(options: options).run()
            #expect(result.violation == nil)
            return result.counts.reduce(0.0) { sum, count in
                sum + (count.0.hasSuffix(" sent") || count.0 == "renewals answered" ? Double(count.1) : 0)
            }
        }
        return totals[1] - totals[0]
    }

    @Test func `send as much more for each node that comes, however many there are, while seven vote`() {
        let (eight, sixteen, many) = (
            self.messages(nodes: 8), self.messages(nodes: 16), self.messages(nodes: 32)
        )
        let (first, later) = ((sixteen - eight) / 8, (many - sixteen) / 16)
        #expect(first > 0 && later > 0)
        #expect(later < first * 1.25, "\(eight), \(sixteen), \(many)")
    }

    @Test func `keep every guarantee under faults, and every node says what is so in the end`() {
        var options = SimulationOptions(seed: 5, length: .seconds(30))
        options.calm = .seconds(30)
        options.nodes = 12
        let result = Simulation(options: options).run()
        #expect(result.violation == nil, "\(result.trace.suffix(60).joined(separator: "\n"))")
        #expect(result.counts.contains { $0.0 == "nodes that asked how others stand" && $0.1 >= 5 })
    }
}
