/// Numbers as people read them.
package enum Amounts {
    /// `0.1 s`, `12 s`, `5 min`, `2 h`, `41 d`.
    package static func age(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0 else { return "?" }
        switch seconds {
        case ..<9.95: return "\(self.fixed(seconds, 1)) s"
        case ..<120: return "\(Int(seconds)) s"
        case ..<7200: return "\(Int(seconds / 60)) min"
        case ..<172_800: return "\(Int(seconds / 3600)) h"
        default: return "\(Int(min(seconds / 86_400, 1e6))) d"
        }
    }

    /// The shortest exact form of a length of time, as the configuration takes it: `10m`, `1.75s`, `250ms`.
    package static func exact(_ span: Span) -> String {
        let value = span.nanoseconds
        if value == 0 { return "0s" }
        let units: [(unit: String, nanoseconds: UInt64)] = [
            ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1000),
            ("ns", 1),
        ]
        for (unit, factor) in units where value % factor == 0 && value / factor > 0 {
            // Above a second a fraction reads better than a large number of a small unit.
            if factor < 1_000_000_000, value > 1_000_000_000 { break }
            return "\(value / factor)\(unit)"
        }
        var fraction = String(value % 1_000_000_000)
        fraction = String(repeating: "0", count: 9 - fraction.count) + fraction
        while fraction.hasSuffix("0") { fraction.removeLast() }
        return "\(value / 1_000_000_000).\(fraction)s"
    }

    /// `0 B`, `999 B`, `1.2 MB`, `40 GB`.
    package static func bytes(_ count: UInt64) -> String {
        var value = Double(count)
        guard value >= 1000 else { return "\(count) B" }
        for unit in ["kB", "MB", "GB", "TB", "PB", "EB"] {
            value /= 1000
            if value < 999.5 || unit == "EB" {
                return "\(value < 9.95 ? self.fixed(value, 1) : self.fixed(value, 0)) \(unit)"
            }
        }
        return "\(count) B"
    }

    /// With that many decimals, rounded.
    package static func fixed(_ value: Double, _ decimals: Int) -> String {
        var scale = 1.0
        for _ in 0..<decimals { scale *= 10 }
        let digits = String(Int((abs(value) * scale).rounded(.toNearestOrEven)))
        let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
        let sign = value < 0 && padded.contains { $0 != "0" } ? "-" : ""
        return decimals == 0 ? sign + padded : "\(sign)\(padded.dropLast(decimals)).\(padded.suffix(decimals))"
    }

    /// `1 node`, `2 nodes`.
    package static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
}
