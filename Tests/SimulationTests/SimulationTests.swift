import Basis
import Simulator
import Testing

/// A short look in debug; `scripts/test` and `make simulate` run the release build for hours of simulated time, also with
/// the guard taken out (rule L12), which the checkers must notice.
@Suite struct `Simulated clusters` {
    @Test func `keep every guarantee under faults, and recover when they end`() {
        var options = SimulationOptions(seed: 3, length: .seconds(40))
        options.calm = .seconds(45)
        let result = Simulation(options: options).run()
        #expect(
            result.violation == nil,
            "replay: make simulate SEED=3 MINUTES=1\n\(result.trace.suffix(60).joined(separator: "\n"))")
    }

    @Test func `keep them while machines are taken back with their memory (rule E4)`() {
        var options = SimulationOptions(seed: 11, length: .seconds(100))
        options.calm = .seconds(45)
        options.reverts = .many
        let result = Simulation(options: options).run()
        #expect(result.violation == nil, "\(result.trace.suffix(60).joined(separator: "\n"))")
        #expect(result.counts.contains { $0.0 == "machines taken back with their memory" })
    }

    @Test func `run the same way every time from one seed`() {
        var options = SimulationOptions(seed: 5, length: .seconds(20))
        options.calm = .zero
        let first = Simulation(options: options).run()
        let second = Simulation(options: options).run()
        #expect(first.digest == second.digest)
        #expect(first.events == second.events)
    }
}
