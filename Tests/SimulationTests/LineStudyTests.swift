import Basis
import Simulator
import Testing

/// Lines as they are between sites cost no leader its leadership. (Rule C5)
@Suite struct LineStudyTests {
    private static func play(seed: UInt64, isPatienceFixed: Bool, deaths: UInt64 = 0) -> LineStudyResult {
        var options = LineStudyOptions(seed: seed, length: .seconds(3600))
        options.roundTrip = .milliseconds(300)
        options.jitter = .milliseconds(50)
        options.lossPerMille = 50
        options.isPatienceFixed = isPatienceFixed
        options.deaths = deaths
        var study = LineStudy(options)
        return study.run()
    }

    @Test func `a leader that lives is not replaced over a line that is often silent`() {
        let result = Self.play(seed: 3, isPatienceFixed: false)
        // While nobody has learned anything yet it may happen.
        #expect(result.falseElections.filter { $0.at > .zero + .seconds(300) }.isEmpty)
        #expect(result.longestPatience > .seconds(2) && result.longestPatience <= .seconds(5))
    }

    @Test func `without learning from it that would be the rule, and each one is explained`() throws {
        let result = Self.play(seed: 3, isPatienceFixed: true)
        #expect(result.falseElections.count > 10)
        let first = try #require(result.falseElections.first)
        #expect(first.said.contains { $0.contains("has heard nothing of") })
    }

    @Test func `where votes take longer than an election timeout a leader is elected all the same`() {
        var options = LineStudyOptions(seed: 5, length: .seconds(1800))
        options.roundTrip = .milliseconds(1200)
        options.deaths = 3
        var study = LineStudy(options)
        let result = study.run()
        #expect(result.failovers.count == 3 && result.failovers.allSatisfy { $0 < .seconds(20) })
    }

    @Test func `who dies is replaced all the same`() {
        let result = Self.play(seed: 4, isPatienceFixed: false, deaths: 5)
        #expect(result.failovers.count == 5)
    }
}
