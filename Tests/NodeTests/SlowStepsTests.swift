import Basis
import Testing

@testable import Daemon

@Suite struct `Steps that take long` {
    @Test func `are told once, unless one takes longer than all before or some time has passed`() {
        var steps = SlowSteps()
        var told: [UInt64] = []
        for (time, second) in [(49, 0), (60, 0), (60, 1), (61, 1), (55, 10), (55, 11)] as [(UInt64, UInt64)] {
            if steps.isWorthTelling(.milliseconds(time), at: .zero + .seconds(100 + second)) { told.append(time) }
        }
        #expect(told == [60, 61, 55])
    }
}
