import Basis
import Testing

private func boot(_ milliseconds: UInt64) -> Tick { Tick(nanoseconds: milliseconds * 1_000_000) }

/// Boot clock and hardware clock, compared. (Rule L20)
@Suite struct `Boot clock and hardware clock` {
    /// Looks every quarter of a second for so long, while the hardware clock shows `seconds(t)`; how often they had parted.
    private func looks(
        _ comparison: inout ClockComparison, from start: UInt64, for length: UInt64, seconds: (UInt64) -> Int64
    ) -> Int {
        var parted = 0
        for time in stride(from: start, to: start + length, by: 250)
        where comparison.look(boot: boot(time), hardwareSeconds: seconds(time)) {
            parted += 1
        }
        return parted
    }

    @Test func `agree for days, whatever the grain and the drift of a crystal`() {
        var comparison = ClockComparison()
        // 200 parts per million fast, whole seconds only.
        let parted = self.looks(&comparison, from: 5000, for: 48 * 3_600_000) {
            Int64(1_000_000 + $0 / 1000 + $0 / 5_000_000)
        }
        #expect(parted == 0)
    }

    @Test func `part when the machine stood still for four seconds, and agree again after that`() {
        var comparison = ClockComparison()
        let before = self.looks(&comparison, from: 5000, for: 20_000) { Int64($0 / 1000) }
        let after = self.looks(&comparison, from: 25_000, for: 20_000) { Int64(($0 + 4000) / 1000) }
        #expect(before == 0 && after == 1)
    }

    @Test func `part in the other direction too: the machine was brought back, or the clock set`() {
        var comparison = ClockComparison()
        let before = self.looks(&comparison, from: 50_000, for: 10_000) { Int64($0 / 1000) }
        let after = self.looks(&comparison, from: 60_000, for: 10_000) { Int64(($0 - 4000) / 1000) }
        #expect(before == 0 && after == 1)
    }

    @Test func `go on from what was agreed before a restart of the process`() {
        var before = ClockComparison()
        _ = before.look(boot: boot(9000), hardwareSeconds: 100)
        var after = ClockComparison(ahead: before.ahead)
        let hasParted = after.look(boot: boot(9500), hardwareSeconds: 110)
        #expect(hasParted)
    }
}
