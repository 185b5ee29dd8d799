import Basis

/// What an OCF agent says of itself in its `meta-data`: an XML document of a few kilobytes. (OCF API 1.1)
public struct AgentMetadata: Equatable, Sendable {
    /// One thing that the agent may be told.
    public struct Parameter: Equatable, Sendable {
        /// The key.
        public var name: String
        /// It cannot do without.
        public var isRequired: Bool
        /// What it takes when it is told nothing; nil when it does not say.
        public var standard: String?
        /// One line.
        public var summary: String
        /// All fields.
        public init(name: String, isRequired: Bool, standard: String? = nil, summary: String = "") {
            self.name = name
            self.isRequired = isRequired
            self.standard = standard
            self.summary = summary
        }
    }

    /// One thing that the agent can do.
    public struct Action: Equatable, Sendable {
        /// `start`, `stop`, `monitor`, …; some are there several times.
        public var name: String
        /// The time that it should be given at least; nil when it does not say.
        public var timeout: Span?
        /// Both fields.
        public init(name: String, timeout: Span?) {
            self.name = name
            self.timeout = timeout
        }
    }

    /// More parameters or actions than this are not kept.
    public static let maximumCount = 500
    /// A longer text is cut, in characters.
    public static let maximumText = 200

    /// One line about it.
    public var summary = ""
    /// In the order written.
    public var parameters: [Parameter] = []
    /// In the order written.
    public var actions: [Action] = []

    /// Nothing known.
    public init() {}

    /// The longest time that an action of this name should be given at least.
    public func timeout(of action: String) -> Span? {
        self.actions.filter { $0.name == action }.compactMap(\.timeout).max()
    }

    /// Reads what an agent printed; nil if it is no description of an agent. Total: takes any bytes.
    public init?(xml text: String) {
        var scanner = TagScanner(text)
        var isAgent = false
        var parameter: Parameter?
        var isSummary = false
        while let token = scanner.next() {
            switch token {
            case .text(let text):
                guard isSummary, !text.isEmpty else { continue }
                if parameter != nil { parameter?.summary = text } else if self.summary.isEmpty { self.summary = text }
            case .open("resource-agent", _): isAgent = true
            case .open("shortdesc", _): isSummary = true
            case .close("shortdesc"): isSummary = false
            case .open("parameter", let attributes):
                guard let name = attributes["name"], !name.isEmpty else { continue }
                let isRequired = ["1", "true", "yes"].contains(attributes["required"]?.lowercased() ?? "")
                parameter = Parameter(name: name, isRequired: isRequired)
            case .open("content", let attributes): parameter?.standard = attributes["default"]
            case .close("parameter"):
                if let done = parameter, self.parameters.count < Self.maximumCount { self.parameters.append(done) }
                parameter = nil
            case .open("action", let attributes):
                guard let name = attributes["name"], self.actions.count < Self.maximumCount else { continue }
                self.actions.append(Action(name: name, timeout: attributes["timeout"].flatMap(Self.span)))
            default: continue
            }
        }
        guard isAgent else { return nil }
    }

    /// `20s`, `20`, `20000ms`, `2min`: bare numbers are seconds.
    private static func span(_ text: String) -> Span? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let count = UInt64(digits), count <= 1_000_000_000 else { return nil }
        switch text.dropFirst(digits.count).trimmed.lowercased() {
        case "", "s", "sec": return .seconds(count)
        case "ms", "msec": return .milliseconds(count)
        case "m", "min": return .seconds(count * 60)
        case "h", "hr": return .seconds(count * 3600)
        default: return nil
        }
    }
}

/// Takes the tags of an XML document one by one; comments and declarations are passed over.
private struct TagScanner {
    enum Token {
        case open(String, [String: String])
        case close(String)
        case text(String)
    }

    private let bytes: [UInt8]
    private var position = 0
    private var pending: Token?

    init(_ text: String) { self.bytes = Array(text.utf8) }

    mutating func next() -> Token? {
        if let token = self.pending {
            self.pending = nil
            return token
        }
        guard self.position < self.bytes.count else { return nil }
        guard self.bytes[self.position] == UInt8(ascii: "<") else {
            return .text(Self.plain(self.take(until: "<", andPass: false)))
        }
        if self.starts(with: "<!--") {
            self.pass(beyond: "-->")
            return .text("")
        }
        if self.starts(with: "<!") || self.starts(with: "<?") {
            self.pass(beyond: ">")
            return .text("")
        }
        self.position += 1
        var inside = self.take(until: ">", andPass: true)
        if inside.first == "/" { return .close(inside.dropFirst().trimmed) }
        let isEmpty = inside.last == "/"
        if isEmpty { inside.removeLast() }
        let name = String(inside.prefix { !$0.isWhitespace })
        if isEmpty { self.pending = .close(name) }
        return .open(name, Self.attributes(inside.dropFirst(name.count)))
    }

    private func starts(with word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard self.position + count <= self.bytes.count else { return false }
        return (0..<count).allSatisfy { self.bytes[self.position + $0] == word.utf8Start[$0] }
    }

    private mutating func pass(beyond end: StaticString) {
        while self.position < self.bytes.count {
            if self.starts(with: end) {
                self.position += end.utf8CodeUnitCount
                return
            }
            self.position += 1
        }
    }

    private mutating func take(until end: Character, andPass: Bool) -> String {
        let rest = self.bytes[self.position...]
        let stop = end.asciiValue.flatMap { rest.firstIndex(of: $0) } ?? self.bytes.count
        defer { self.position = andPass ? min(stop + 1, self.bytes.count) : stop }
        return String(decoding: self.bytes[self.position..<stop], as: UTF8.self)
    }

    private static func attributes(_ text: Substring) -> [String: String] {
        var found: [String: String] = [:]
        var rest = text
        while let equals = rest.firstIndex(of: "=") {
            let name = rest[..<equals].trimmed
            rest = rest[rest.index(after: equals)...].drop { $0.isWhitespace }
            guard let quote = rest.first, quote == "\"" || quote == "'" else { break }
            rest = rest.dropFirst()
            guard let end = rest.firstIndex(of: quote) else { break }
            found[name] = Self.plain(String(rest[..<end]))
            rest = rest[rest.index(after: end)...]
        }
        return found
    }

    /// Without entities, line feeds and double spaces, and not too long.
    private static func plain(_ text: String) -> String {
        var text = text.split { $0.isWhitespace }.joined(separator: " ")
        for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
        where text.contains("&") {
            text = text.replacing(entity, with: character)
        }
        return String(text.prefix(AgentMetadata.maximumText))
    }
}

extension Substring {
    /// Without white space at both ends.
    fileprivate var trimmed: String {
        String(self.drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
    }
}
