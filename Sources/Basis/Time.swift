/// An instant of one node's boot clock, which counts suspend. Two nodes' ticks cannot be compared.
public struct Tick: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Nanoseconds since the node booted.
    public let nanoseconds: UInt64
    /// Wraps nanoseconds since boot.
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }
    /// The moment of boot.
    public static let zero = Tick(nanoseconds: 0)
    /// Further in the future than any deadline.
    public static let never = Tick(nanoseconds: .max)
    /// Orders by time.
    public static func < (left: Tick, right: Tick) -> Bool { left.nanoseconds < right.nanoseconds }
    /// A later instant; saturates at `never`.
    public static func + (left: Tick, right: Span) -> Tick {
        let (sum, overflow) = left.nanoseconds.addingReportingOverflow(right.nanoseconds)
        return overflow ? .never : Tick(nanoseconds: sum)
    }
    /// The time since `earlier`; zero if `earlier` is later.
    public func since(_ earlier: Tick) -> Span {
        Span(nanoseconds: self.nanoseconds > earlier.nanoseconds ? self.nanoseconds - earlier.nanoseconds : 0)
    }
    /// Seconds with three decimals.
    public var description: String { self.since(.zero).description }
}

/// A length of time in nanoseconds.
public struct Span: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The length.
    public let nanoseconds: UInt64
    /// Wraps nanoseconds.
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }
    /// No time at all.
    public static let zero = Span(nanoseconds: 0)
    /// `count` milliseconds.
    public static func milliseconds(_ count: UInt64) -> Span { Span(nanoseconds: count * 1_000_000) }
    /// `count` seconds.
    public static func seconds(_ count: UInt64) -> Span { Span(nanoseconds: count * 1_000_000_000) }
    /// Whole milliseconds, rounded down.
    public var milliseconds: UInt64 { self.nanoseconds / 1_000_000 }
    /// Orders by length.
    public static func < (left: Span, right: Span) -> Bool { left.nanoseconds < right.nanoseconds }
    /// The sum; saturates.
    public static func + (left: Span, right: Span) -> Span {
        let (sum, overflow) = left.nanoseconds.addingReportingOverflow(right.nanoseconds)
        return Span(nanoseconds: overflow ? .max : sum)
    }
    /// A multiple; saturates.
    public static func * (left: Span, right: UInt64) -> Span {
        let (product, overflow) = left.nanoseconds.multipliedReportingOverflow(by: right)
        return Span(nanoseconds: overflow ? .max : product)
    }
    /// A fraction, rounded down.
    public static func / (left: Span, right: UInt64) -> Span { Span(nanoseconds: left.nanoseconds / right) }
    /// Lengthens by parts per million, rounded up: the allowance for clock rates that differ.
    public func lengthened(partsPerMillion: UInt64) -> Span {
        let extra = self.nanoseconds.multipliedFullWidth(by: partsPerMillion)
        let (quotient, remainder) = UInt64(1_000_000).dividingFullWidth(extra)
        return Span(nanoseconds: self.nanoseconds + quotient + (remainder == 0 ? 0 : 1))
    }
    /// Seconds with three decimals.
    public var description: String {
        let whole = self.milliseconds / 1000
        let rest = self.milliseconds % 1000
        let padded = rest < 10 ? "00\(rest)" : (rest < 100 ? "0\(rest)" : "\(rest)")
        return "\(whole).\(padded)s"
    }
    /// The same for people: `0.5 s`, `12 s`, `10 min`, `1 h 30 min`. Below two minutes with up to three decimals.
    public var words: String {
        let seconds = self.milliseconds / 1000
        if seconds >= 120 {
            let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")]
            return parts.filter { $0.0 > 0 }.prefix(2).map { "\($0.0) \($0.1)" }.joined(separator: " ")
        }
        var text = self.description.dropLast()
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
        return "\(text) s"
    }
}
