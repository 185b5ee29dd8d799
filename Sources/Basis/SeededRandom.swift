/// A small, fast, reproducible generator (xoshiro256**, Blackman and Vigna 2018), seeded through SplitMix64.
///
/// Cores hold one in their state, so that a seed replays a run exactly. Not for keys or tokens.
public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: (UInt64, UInt64, UInt64, UInt64)

    /// The same seed gives the same sequence on every machine.
    public init(seed: UInt64) {
        var mix = seed
        func next(_ mix: inout UInt64) -> UInt64 {
            mix &+= 0x9E37_79B9_7F4A_7C15
            var value = mix
            value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
            return value ^ (value >> 31)
        }
        self.state = (next(&mix), next(&mix), next(&mix), next(&mix))
    }

    /// The next 64 bits.
    public mutating func next() -> UInt64 {
        func rotate(_ value: UInt64, by bits: UInt64) -> UInt64 { (value << bits) | (value >> (64 - bits)) }
        let result = rotate(self.state.1 &* 5, by: 7) &* 9
        let shifted = self.state.1 << 17
        self.state.2 ^= self.state.0
        self.state.3 ^= self.state.1
        self.state.1 ^= self.state.2
        self.state.0 ^= self.state.3
        self.state.2 ^= shifted
        self.state.3 = rotate(self.state.3, by: 45)
        return result
    }

    /// A number in `0..<bound`; `bound` must be positive. The bias is below 2⁻³² for bounds under 2³².
    public mutating func below(_ bound: UInt64) -> UInt64 {
        precondition(bound > 0, "below(0) has no answer")
        return self.next().multipliedFullWidth(by: bound).high
    }

    /// True in `perMille` of 1000 calls.
    public mutating func chance(perMille: UInt64) -> Bool { self.below(1000) < perMille }

    /// A length of time in `low...high`.
    public mutating func span(_ low: Span, _ high: Span) -> Span {
        precondition(low <= high, "empty range of spans")
        return Span(nanoseconds: low.nanoseconds + self.below(high.nanoseconds - low.nanoseconds + 1))
    }
}
