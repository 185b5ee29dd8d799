import Basis
import Simulator
import Testing

@Suite struct `Simulated clusters` {
    /// Each of these seeds exercises much, or once showed a bug. `make simulate` runs many more.
    static let seeds: [UInt64] = [2, 3, 7]

    @Test(arguments: seeds) func `keep every guarantee under faults, and recover when they end`(seed: UInt64) {
        let result = Simulation(options: SimulationOptions(seed: seed, length: .seconds(60))).run()
        #expect(
            result.violation == nil,
            "replay: make simulate SEED=\(seed) MINUTES=1\n\(result.trace.suffix(60).joined(separator: "\n"))")
    }

    @Test func `run the same way every time from one seed`() {
        let options = SimulationOptions(seed: 5, length: .seconds(40))
        #expect(Simulation(options: options).run().digest == Simulation(options: options).run().digest)
    }

    @Test func `show two owners when the guard does not kill (rule L12)`() {
        var isNoticed = false
        for seed: UInt64 in [5, 2, 8, 1, 3, 4, 6, 7] where !isNoticed {
            var options = SimulationOptions(seed: seed, length: .seconds(120))
            options.sabotage = "L12"
            isNoticed = Simulation(options: options).run().violation?.contains("SingleOwner") == true
        }
        #expect(isNoticed, "eight runs without a guard broke nothing: the checker is blind")
    }
}
