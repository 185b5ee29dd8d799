import Basis
import Testing

@Suite struct `A doorway lets no crowd keep the others out (N1)` {
    private let end = Tick.zero + .seconds(5)

    @Test func `a newcomer gets a place, and the first of the biggest crowd goes`() {
        var doorway = Doorway(places: 3)
        let first = doorway.enter(from: "a", isKnown: false, until: self.end)
        #expect(first.number == 1 && first.shownOut == nil)
        _ = doorway.enter(from: "b", isKnown: false, until: self.end)
        _ = doorway.enter(from: "b", isKnown: false, until: self.end)
        let fourth = doorway.enter(from: "c", isKnown: false, until: self.end)
        #expect(fourth.number == 4 && fourth.shownOut == 2)
        #expect(doorway.guests.map(\.source) == ["a", "b", "c"])
        // Of crowds of one size the one that came first.
        let fifth = doorway.enter(from: "d", isKnown: false, until: self.end)
        #expect(fifth.number == 5 && fifth.shownOut == 1)
    }

    @Test func `a crowd of strangers pushes out its own and never a known node`() {
        var doorway = Doorway(places: 4)
        let node = doorway.enter(from: "10.0.0.2", isKnown: true, until: self.end).number
        let guest = doorway.enter(from: "10.0.0.9", isKnown: false, until: self.end).number
        for _ in 0..<1000 { _ = doorway.enter(from: "10.6.6.6", isKnown: false, until: self.end) }
        #expect(doorway.guests.count == 4)
        #expect(doorway.guests.contains { $0.number == node })
        #expect(doorway.guests.contains { $0.number == guest })
    }

    @Test func `a known node gets the place of a stranger, a stranger none of a known node`() {
        var doorway = Doorway(places: 2)
        _ = doorway.enter(from: "x", isKnown: false, until: self.end)
        _ = doorway.enter(from: "10.0.0.2", isKnown: true, until: self.end)
        let node = doorway.enter(from: "10.0.0.2", isKnown: true, until: self.end)
        #expect(node.shownOut == 1)
        let late = doorway.enter(from: "x", isKnown: false, until: self.end)
        #expect(late.shownOut == late.number)
        // Known nodes share by the same rule: what one of them dials without end costs the other nothing.
        let other = doorway.enter(from: "10.0.0.3", isKnown: true, until: self.end)
        #expect(other.shownOut == 2)
    }

    @Test func `who has shown a token is not pushed out, and everybody goes when the time is up`() {
        var doorway = Doorway(places: 1)
        let joiner = doorway.enter(from: "a", isKnown: false, until: self.end).number
        let isHere = doorway.settle(joiner, until: self.end + .seconds(15))
        #expect(isHere)
        for _ in 0..<3 { _ = doorway.enter(from: "b", isKnown: false, until: self.end) }
        #expect(doorway.guests.map(\.number) == [joiner, 4])
        let late = doorway.expire(at: self.end)
        #expect(late == [4])
        let last = doorway.expire(at: self.end + .seconds(15))
        #expect(last == [joiner])
        let isStillHere = doorway.settle(joiner, until: self.end)
        #expect(!isStillHere)
    }

    @Test(arguments: [64, 256, 1024, 65536, 1 << 20])
    func `descriptors for the log and the links stay free whatever comes from outside`(limit: Int) {
        let budget = DescriptorBudget(limit: limit)
        #expect(budget.strangersBelow < budget.knownBelow)
        #expect(limit - budget.knownBelow >= min(256, limit / 4))
        #expect(!budget.admits(Int32(budget.strangersBelow), isKnown: false))
        #expect(budget.admits(Int32(budget.strangersBelow), isKnown: true))
        #expect(!budget.admits(Int32(budget.knownBelow), isKnown: true))
        #expect(budget.handshakes <= 64)
    }
}
