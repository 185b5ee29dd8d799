import Basis
import Simulator
import Testing

@Suite struct `Simulated clusters` {
    /// Each of these seeds once showed a bug, or exercises much.
    static let seeds: [UInt64] = [1, 2, 3, 7, 11]

    @Test(arguments: seeds) func `keep every guarantee under faults, and recover when they end`(seed: UInt64) {
        let result = Simulation(options: SimulationOptions(seed: seed, length: .seconds(120))).run()
        #expect(
            result.violation == nil,
            "replay: make simulate SEED=\(seed) MINUTES=2\n\(result.trace.suffix(60).joined(separator: "\n"))")
    }

    @Test func `a seed gives the same run every time`() {
        let options = SimulationOptions(seed: 5, length: .seconds(60))
        #expect(Simulation(options: options).run().digest == Simulation(options: options).run().digest)
    }

    @Test func `a guard that does not kill is noticed (rule L12)`() {
        var isNoticed = false
        for seed in UInt64(1)...40 where !isNoticed {
            var options = SimulationOptions(seed: seed, length: .seconds(300))
            options.sabotage = "L12"
            isNoticed = Simulation(options: options).run().violation?.contains("SingleOwner") == true
        }
        #expect(isNoticed, "40 runs without a guard broke nothing: the checker is blind")
    }
}
