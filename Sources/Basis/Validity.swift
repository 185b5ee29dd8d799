/// From when until when a certificate is meant to be used, in seconds from 1970 of a wall clock. No link looks at it: it is for
/// renewal, and for people. (docs/decisions/0020)
public struct Validity: Equatable, Sendable {
    /// The first second.
    public var from: UInt64
    /// The last one.
    public var until: UInt64

    /// Both ends; `until` is not before `from`.
    public init(from: UInt64, until: UInt64) {
        precondition(from <= until, "a certificate that ends before it begins")
        self.from = from
        self.until = until
    }

    /// How long it is, in seconds.
    public var lifeSeconds: UInt64 { self.until - self.from }

    /// The day of a second from 1970 as people write it, in UTC: `2027-11-26`. Later ones than of the year 9999 are its last day.
    public static func day(_ second: UInt64) -> String {
        // Days from 0000-03-01, so that a leap day is the last of its year.
        let days = min(second, 253_402_300_799) / 86_400 + 719_468
        let (era, dayOfEra) = days.quotientAndRemainder(dividingBy: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shifted + 2) / 5 + 1
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        func padded(_ number: UInt64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(year)-\(padded(month))-\(padded(day))"
    }
}
