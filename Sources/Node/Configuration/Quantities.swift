import Basis
import Glibc

/// Reads and writes the quantities of the configuration: lengths of time, sizes, rates and network addresses.
public enum Quantities {
    private static let timeUnits: [(unit: String, nanoseconds: UInt64)] = [
        ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000),
        ("ms", 1_000_000), ("us", 1000), ("ns", 1),
    ]
    private static let binaryUnits: [(unit: String, bytes: UInt64)] = [
        ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10),
    ]
    private static let decimalUnits: [(unit: String, bytes: UInt64)] = [
        ("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000), ("kB", 1000), ("B", 1),
    ]

    /// A length of time such as `250ms`, `1.75s`, `1h30m`; a bare `0` is none at all. Nil if it is something else.
    public static func span(_ text: String) -> Span? {
        if text == "0" { return .zero }
        var rest = Substring(text)
        var total: UInt64 = 0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let number = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(number.count)
            let unit = rest.prefix { $0.isASCII && $0.isLetter }
            rest = rest.dropFirst(unit.count)
            guard let factor = self.timeUnits.first(where: { $0.unit == unit })?.nanoseconds,
                let part = self.scaled(number, by: factor)
            else { return nil }
            let (sum, overflow) = total.addingReportingOverflow(part)
            // A century keeps every later sum of spans far from the end of the number range.
            guard !overflow, sum <= 36_525 * 86_400_000_000_000 else { return nil }
            total = sum
        }
        return Span(nanoseconds: total)
    }

    /// The shortest exact form: `10m`, `1.75s`, `250ms`.
    public static func text(_ span: Span) -> String { Amounts.exact(span) }

    /// A size such as `1GiB`, `500MB`, `4096B`, in bytes. Nil if it is something else or beyond 2^60.
    public static func size(_ text: String) -> UInt64? {
        let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let unit = text.dropFirst(number.count).drop { $0 == " " }
        let known = self.binaryUnits + self.decimalUnits
        guard let factor = known.first(where: { $0.unit == unit })?.bytes,
            let bytes = self.scaled(number, by: factor), bytes <= 1 << 60
        else { return nil }
        return bytes
    }

    /// The shortest exact form: `1GiB`, `50MB`, `4097B`.
    public static func text(bytes: UInt64) -> String {
        if bytes == 0 { return "0B" }
        let binary = self.binaryUnits.first { bytes % $0.bytes == 0 }
        let decimal = self.decimalUnits.first { bytes % $0.bytes == 0 }
        let forms = [binary, decimal].compactMap { $0 }.map { "\(bytes / $0.bytes)\($0.unit)" }
        return forms.min { $0.count < $1.count } ?? "\(bytes)B"
    }

    /// A rate such as `50MB/s`, in bytes per second. Nil if it is something else or zero.
    public static func rate(_ text: String) -> UInt64? {
        guard text.hasSuffix("/s"), let bytes = self.size(String(text.dropLast(2))), bytes > 0 else { return nil }
        return bytes
    }

    /// Host and port of `10.0.0.1:7400`, `[fd00::1]:7400` or `name.example:7400`. Nil if it is something else.
    public static func hostAndPort(_ text: String) -> (host: String, port: UInt16)? {
        guard let place = HostPort(text) else { return nil }
        let (host, port) = (place.host, place.port)
        if text.hasPrefix("[") { return self.addressBytes(host)?.count == 16 ? (host, port) : nil }
        let digitsOnly = host.allSatisfy { $0.isNumber || $0 == "." }
        if digitsOnly { return self.addressBytes(host) == nil ? nil : (host, port) }
        let allowed = host.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == ".") }
        guard allowed, host.utf8.count <= 253, !host.hasPrefix("-"), !host.hasPrefix(".") else { return nil }
        return (host, port)
    }

    /// The address bytes and prefix length of `10.9.0.100/24` or `fd00::5/64`. Nil if it is something else.
    public static func network(_ text: String) -> (address: [UInt8], prefix: Int)? {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = self.addressBytes(String(parts[0])), let prefix = Int(parts[1]),
            (1...address.count * 8).contains(prefix), parts[1].allSatisfy(\.isNumber)
        else { return nil }
        return (address, prefix)
    }

    /// The 4 or 16 bytes of an IP address. Nil if it is something else.
    static func addressBytes(_ text: String) -> [UInt8]? {
        var four = in_addr()
        if inet_pton(AF_INET, text, &four) == 1 { return withUnsafeBytes(of: &four) { Array($0) } }
        var sixteen = in6_addr()
        if inet_pton(AF_INET6, text, &sixteen) == 1 { return withUnsafeBytes(of: &sixteen) { Array($0) } }
        return nil
    }

    /// A decimal number times a factor, exact; nil if it is no number, not whole after scaling, or too large.
    private static func scaled(_ number: Substring, by factor: UInt64) -> UInt64? {
        let parts = number.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty }), let whole = UInt64(parts[0])
        else { return nil }
        let (scaled, overflow) = whole.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        guard parts.count == 2 else { return scaled }
        var divisor: UInt64 = 1
        guard parts[1].count <= 12, let fraction = UInt64(parts[1]) else { return nil }
        for _ in parts[1] { divisor *= 10 }
        let product = fraction.multipliedFullWidth(by: factor)
        guard product.high < divisor else { return nil }
        let (quotient, remainder) = divisor.dividingFullWidth(product)
        guard remainder == 0 else { return nil }
        let (sum, overflowed) = scaled.addingReportingOverflow(quotient)
        return overflowed ? nil : sum
    }
}
