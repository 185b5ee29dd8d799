import Basis
import Testing

@testable import Raft

/// How long a disk may take before others should lead. (Rule C10)
@Suite struct DiskPaceTests {
    private static func pace(_ milliseconds: [UInt64]) -> DiskPace {
        var pace = DiskPace()
        for one in milliseconds { _ = pace.answered(after: .milliseconds(one), at: .zero) }
        return pace
    }

    @Test func `without a history the longest patience counts`() {
        #expect(Self.pace([]).patience == DiskPace.longestPatience)
        #expect(Self.pace([UInt64](repeating: 1, count: 7)).patience == DiskPace.longestPatience)
    }

    @Test func `a fast disk gets the shortest patience, and one hiccup changes nothing`() {
        #expect(Self.pace([UInt64](repeating: 1, count: 20)).patience == DiskPace.shortestPatience)
        #expect(Self.pace([UInt64](repeating: 1, count: 20) + [650]).patience == DiskPace.shortestPatience)
    }

    @Test func `what a disk takes now and then is multiplied, up to the longest patience`() {
        #expect(Self.pace([UInt64](repeating: 1, count: 20) + [50, 60]).patience == .milliseconds(400))
        #expect(Self.pace([UInt64](repeating: 300, count: 20)).patience == DiskPace.longestPatience)
        #expect(Self.pace([UInt64](repeating: 90_000_000, count: 20)).patience == DiskPace.longestPatience)
    }

    @Test func `what is long ago is forgotten`() {
        #expect(Self.pace([80, 80] + [UInt64](repeating: 2, count: 32)).patience == DiskPace.shortestPatience)
    }

    @Test func `a disk that answered too late is unproven for ten seconds`() {
        var pace = Self.pace([])
        let start = Tick.zero + .seconds(1)
        let late = start + .milliseconds(700)
        let isEarly = pace.look(owedSince: start, at: start + .milliseconds(699))
        #expect(!isEarly && !pace.isStalled && !pace.isUnproven(at: start))
        let isFound = pace.look(owedSince: start, at: late)
        let isFoundAgain = pace.look(owedSince: start, at: late + .seconds(1))
        #expect(isFound && !isFoundAgain, "it is said once")
        #expect(pace.isStalled && pace.isUnproven(at: late) && pace.stalledSince == start)
        let isOver = pace.answered(after: .milliseconds(900), at: start + .milliseconds(900))
        #expect(isOver && !pace.isStalled && pace.isUnproven(at: start + .milliseconds(10_899)))
        #expect(!pace.isUnproven(at: start + .milliseconds(10_900)))
    }
}
