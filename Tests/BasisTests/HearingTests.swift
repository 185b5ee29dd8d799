import Basis
import Testing

/// One side of a conversation, with a clock of its own.
private struct Side {
    let run: RunID
    var hearing = Hearing()
    var records: UInt64 = 0
    var clock = Tick.zero

    mutating func says(at milliseconds: UInt64) -> HearingWord {
        self.clock = Tick(nanoseconds: milliseconds * 1_000_000)
        return self.hearing.word(stamp: self.clock, records: self.records)
    }

    mutating func hears(_ word: HearingWord, from other: RunID, at milliseconds: UInt64) -> Hearing.Finding {
        self.clock = Tick(nanoseconds: milliseconds * 1_000_000)
        return self.hearing.take(word, from: other, own: self.run, records: self.records, at: self.clock)
    }
}

/// Talks both ways every 100 ms, with clocks that have nothing to do with each other.
private func talk(_ left: inout Side, _ right: inout Side, from begin: UInt64, to end: UInt64) {
    for time in stride(from: begin, to: end, by: 100) {
        #expect(right.hears(left.says(at: time), from: left.run, at: time + 70_000) == .good)
        #expect(left.hears(right.says(at: time + 70_000), from: right.run, at: time) == .good)
    }
}

@Suite struct `What two parties know of each other` {
    private var left = Side(run: RunID(1))
    private var right = Side(run: RunID(2))

    @Test mutating func `who was taken back learns it from the first word`() {
        talk(&self.left, &self.right, from: 1000, to: 3000)
        var old = self.left
        talk(&self.left, &self.right, from: 3000, to: 5000)
        #expect(old.hears(self.right.says(at: 75_100), from: self.right.run, at: 3000) == .takenBack)
    }

    @Test mutating func `it does not help that its clock has passed what the other one heard`() {
        talk(&self.left, &self.right, from: 1000, to: 3000)
        var old = self.left
        talk(&self.left, &self.right, from: 3000, to: 5000)
        #expect(old.hears(self.right.says(at: 175_000), from: self.right.run, at: 90_000) == .takenBack)
    }

    @Test mutating func `a stamp from the future is proof although nothing was confirmed`() {
        talk(&self.left, &self.right, from: 1000, to: 3000)
        var old = self.left
        // One way only: what the left says arrives, and no answer does.
        _ = self.right.hears(self.left.says(at: 4000), from: self.left.run, at: 74_000)
        #expect(old.hears(self.right.says(at: 74_100), from: self.right.run, at: 3000) == .takenBack)
    }

    @Test mutating func `what was made durable and told is not forgotten`() {
        talk(&self.left, &self.right, from: 1000, to: 3000)
        var old = self.left
        self.left.records = 1
        _ = self.right.hears(self.left.says(at: 3000), from: self.left.run, at: 73_000)
        #expect(old.hears(self.right.says(at: 93_000), from: self.right.run, at: 23_000) == .takenBack)
    }

    @Test mutating func `late words prove nothing`() {
        talk(&self.left, &self.right, from: 1000, to: 3000)
        let late = self.right.says(at: 73_000)
        let own = self.left.says(at: 3000)
        talk(&self.left, &self.right, from: 3100, to: 9000)
        #expect(self.left.hears(late, from: self.right.run, at: 9000) == .late)
        #expect(self.right.hears(own, from: self.left.run, at: 79_000) == .late)
        talk(&self.left, &self.right, from: 9000, to: 10_000)
    }

    @Test mutating func `who knows less than it did is suspected until it has heard again`() {
        talk(&self.left, &self.right, from: 1000, to: 3000)
        var old = self.left
        talk(&self.left, &self.right, from: 3000, to: 5000)
        #expect(self.right.hears(old.says(at: 3000), from: old.run, at: 75_100) == .late)
        #expect(self.right.hears(old.says(at: 300_000), from: old.run, at: 375_000) == .late)
    }

    @Test mutating func `a little less is only late`() {
        talk(&self.left, &self.right, from: 1000, to: 3000)
        let own = self.left.says(at: 3000)
        talk(&self.left, &self.right, from: 3100, to: 3400)
        #expect(self.right.hears(own, from: self.left.run, at: 73_500) == .good)
    }

    @Test mutating func `a run that was never heard cannot know that it was`() {
        talk(&self.left, &self.right, from: 1000, to: 3000)
        var old = self.left
        var next = Side(run: RunID(3))
        talk(&self.left, &next, from: 3000, to: 5000)
        #expect(old.hears(next.says(at: 175_000), from: next.run, at: 90_000) == .takenBack)
    }

    @Test mutating func `a word about an earlier run says nothing of this one`() {
        talk(&self.left, &self.right, from: 1000, to: 5000)
        var next = Side(run: RunID(3))
        let before = self.right.says(at: 75_200)
        #expect(next.hears(self.right.says(at: 75_100), from: self.right.run, at: 10) == .good)
        // Late words of an earlier run of the other side change nothing either.
        var restarted = Side(run: RunID(4))
        talk(&next, &restarted, from: 20, to: 2000)
        #expect(next.hears(before, from: self.right.run, at: 2000) == .good)
        #expect(next.hears(restarted.says(at: 72_050), from: restarted.run, at: 2050) == .good)
        talk(&next, &restarted, from: 2100, to: 3000)
    }

    @Test mutating func `nothing is concluded once runs have been forgotten`() {
        for number in 10..<90 {
            var other = Side(run: RunID(UInt64(number)))
            talk(&self.left, &other, from: UInt64(number) * 1000, to: UInt64(number) * 1000 + 300)
            if number == 10 { self.right = other }
        }
        #expect(self.left.hears(self.right.says(at: 95_000), from: self.right.run, at: 95_000) == .good)
    }
}
