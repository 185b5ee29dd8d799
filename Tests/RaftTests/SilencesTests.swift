import Basis
import Testing

@testable import Raft

/// How long a line is seldom silent. (Rule C5)
@Suite struct SilencesTests {
    private static func silences(_ milliseconds: [UInt64], every: Span = .milliseconds(100)) -> Silences {
        var silences = Silences()
        var now = Tick.zero + .seconds(1)
        for one in milliseconds {
            now = now + every
            silences.note(.milliseconds(one), at: now)
        }
        return silences
    }

    @Test func `what happened twice is no habit, what happened three times is`() {
        let usual = [UInt64](repeating: 100, count: 50)
        #expect(Self.silences(usual).seldom == .milliseconds(100))
        #expect(Self.silences(usual + [900, 800]).seldom == .milliseconds(100))
        #expect(Self.silences(usual + [900, 800, 600]).seldom == .milliseconds(600))
        #expect(Self.silences(usual + [900, 800, 600]).patience == .milliseconds(1800))
        #expect(Self.silences([100, 100]).patience == .zero, "two say nothing yet")
    }

    @Test func `a habit is forgotten within ten minutes`() {
        let usual = [UInt64](repeating: 100, count: 5)
        #expect(Self.silences([900, 900, 900] + usual, every: .seconds(50)).seldom == .milliseconds(900))
        #expect(Self.silences([900, 900, 900] + usual + usual, every: .seconds(70)).seldom == .milliseconds(100))
    }
}
