import Basis

/// Steps of the loop that took long: what waits meanwhile are renewals of leases. (docs/decisions/0005-leases-first.md)
struct SlowSteps {
    /// What is worth a word: a lease lives for seconds, and is renewed many times in them.
    static let limit = Span.milliseconds(50)
    /// How often it is said of one that is not the longest so far.
    private static let pause = Span.seconds(10)

    private var longest = Span.zero
    private var nextAt = Tick.zero

    /// Whether people are told of a step that took so long.
    mutating func isWorthTelling(_ time: Span, at now: Tick) -> Bool {
        guard time >= Self.limit, time > self.longest || now >= self.nextAt else { return false }
        self.longest = max(self.longest, time)
        self.nextAt = now + Self.pause
        return true
    }
}
