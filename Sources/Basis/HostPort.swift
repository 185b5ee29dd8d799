/// `HOST:PORT`, with brackets around an IPv6 address.
public struct HostPort: Equatable, Sendable {
    /// A name or an address, without brackets.
    public var host: String
    /// From 1 to 65535.
    public var port: UInt16

    /// Combines both.
    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// Takes the text apart; nil when it is something else. Whether the host means anything is not looked at.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...].utf8
        guard digits.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(Substring(digits)), port > 0 else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, !host.contains(where: \.isWhitespace) else { return nil }
        self.init(host: String(host), port: port)
    }

    /// How it is written.
    public var text: String { self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }
}
