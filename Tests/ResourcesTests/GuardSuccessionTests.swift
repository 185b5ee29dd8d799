import Basis
import Testing

@testable import Agents

/// How one guard takes the place of another. (Rule L12.4)
@Suite struct GuardSuccessionTests {
    private static func at(_ milliseconds: UInt64) -> Tick { .zero + .milliseconds(milliseconds) }

    @Test(arguments: [GuardLoop.Phase.leased, .idle])
    func `asks the other to go once, after a look of its own (rule L12.4)`(phase: GuardLoop.Phase) {
        var succession = GuardSuccession(at: .zero)
        #expect(succession.step(after: phase, isHolding: false, at: Self.at(1)) == .ask)
        #expect(succession.step(after: phase, isHolding: false, at: Self.at(3)) == .wait)
        #expect(succession.step(after: phase, isHolding: false, at: Self.at(4999)) == .wait)
    }

    @Test func `one that kills or holds everything still finishes that itself (rule L12.4)`() {
        var succession = GuardSuccession(at: .zero)
        #expect(succession.step(after: .killing, isHolding: false, at: Self.at(1)) == .wait)
        #expect(succession.step(after: .leased, isHolding: true, at: Self.at(3)) == .wait)
        #expect(succession.step(after: .leased, isHolding: false, at: Self.at(5)) == .ask)
    }

    @Test func `one that does not go is left alone (rule L12.4)`() {
        var succession = GuardSuccession(at: .zero)
        #expect(succession.step(after: .leased, isHolding: false, at: Self.at(1)) == .ask)
        #expect(succession.step(after: .leased, isHolding: false, at: Self.at(5000)) == .giveUp)
        var other = GuardSuccession(at: .zero)
        #expect(other.step(after: .killing, isHolding: false, at: Self.at(5000)) == .giveUp)
    }
}
