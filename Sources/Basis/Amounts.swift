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
