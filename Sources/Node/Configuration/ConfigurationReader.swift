import Basis
import Resources

/// Reads `cluster.yaml`, and says everything that is wrong with it at once.
public enum ConfigurationReader {
    /// What came out of reading.
    public struct Outcome: Equatable, Sendable {
        /// The policy; nil when there is an error among the diagnostics.
        public var policy: ClusterPolicy?
        /// Every mistake, in the order of the document.
        public var diagnostics: [Diagnostic]
        /// Paths of times that the document leaves to the agents, such as `groups.g.resources[x].startTimeout`.
        public var unsetTimes: Set<String> = []
        var reading: ConfigurationReading?

        /// A mistake that was found outside of the document, at the place of its path.
        package func diagnostic(
            at path: String, _ reason: String, _ remedy: String, severity: Diagnostic.Severity
        ) -> Diagnostic {
            let place = self.reading?.place(path) ?? .start
            return Diagnostic(
                severity: severity, file: self.reading?.file ?? "cluster.yaml", line: place.line, column: place.column,
                path: path, reason: reason, remedy: remedy)
        }

        /// Compares what was read.
        public static func == (left: Outcome, right: Outcome) -> Bool {
            left.policy == right.policy && left.diagnostics == right.diagnostics && left.unsetTimes == right.unsetTimes
        }
        /// The diagnostics that forbid using the document.
        public var errors: [Diagnostic] { self.diagnostics.filter { $0.severity == .error } }
        /// The diagnostics that do not.
        public var warnings: [Diagnostic] { self.diagnostics.filter { $0.severity == .warning } }
    }

    /// Reads a document.
    ///
    /// References to nodes are checked when `knownNodes` is given, and the cluster's name when `clusterName` is.
    /// `path` is what diagnostics call the document.
    public static func read(
        _ text: String, knownNodes: [KnownNode]? = nil, clusterName: String? = nil, path: String = "cluster.yaml"
    ) -> Outcome {
        var parser = DocumentParser()
        let tree = parser.parse(text)
        var reading = ConfigurationReading(file: path)
        for problem in parser.problems {
            reading.problem(problem.place, problem.path, problem.reason, problem.remedy)
        }
        var policy: ClusterPolicy?
        if let tree {
            let draft = reading.readCluster(tree, clusterName: clusterName)
            var references = ConfigurationReferences(policy: draft, reading: reading, knownNodes: knownNodes)
            references.check()
            reading = references.reading
            policy = draft
        }
        let diagnostics = reading.sortedDiagnostics
        let usable = !diagnostics.contains { $0.severity == .error }
        return Outcome(
            policy: usable ? policy : nil, diagnostics: diagnostics, unsetTimes: reading.unsetTimes, reading: reading)
    }
}

/// The state of one reading: what was found wrong, and where everything stands.
struct ConfigurationReading: Sendable {
    let file: String
    private var diagnostics: [Diagnostic] = []
    var unsetTimes: Set<String> = []
    /// The place of every value that was read, by key path.
    private(set) var places: [String: Place] = [:]

    init(file: String) { self.file = file }

    /// Sorted by place; the same mistake is said once.
    var sortedDiagnostics: [Diagnostic] {
        var seen: Set<Diagnostic> = []
        var unique: [Diagnostic] = []
        let sorted = self.diagnostics.enumerated().sorted {
            ($0.element.line, $0.element.column, $0.offset) < ($1.element.line, $1.element.column, $1.offset)
        }
        for (_, diagnostic) in sorted where seen.insert(diagnostic).inserted { unique.append(diagnostic) }
        return unique
    }

    mutating func problem(
        _ place: Place, _ path: String, _ reason: String, _ remedy: String, severity: Diagnostic.Severity = .error
    ) {
        self.diagnostics.append(
            Diagnostic(
                severity: severity, file: self.file, line: place.line, column: place.column, path: path,
                reason: reason, remedy: remedy))
    }

    /// A problem at the place where the value of this path was read.
    mutating func problem(
        at path: String, _ reason: String, _ remedy: String, severity: Diagnostic.Severity = .error
    ) {
        self.problem(self.place(path), path, reason, remedy, severity: severity)
    }

    mutating func note(_ path: String, _ place: Place) { self.places[path] = place }

    /// The place of a path, or of the nearest thing that holds it.
    func place(_ path: String) -> Place {
        var path = path
        while self.places[path] == nil {
            guard let cut = path.lastIndex(where: { $0 == "." || $0 == "[" }) else { return .start }
            path = String(path[..<cut])
        }
        return self.places[path] ?? .start
    }
}

/// The keys of one mapping, with the path that leads to it.
struct Fields {
    let path: String
    let place: Place
    let entries: [DocumentTree.Entry]

    func value(_ key: String) -> DocumentTree? { self.entries.first { $0.key == key }?.value }
    func path(_ key: String) -> String { self.path.isEmpty ? key : "\(self.path).\(key)" }
}

extension ConfigurationReading {
    /// The mapping at `path`; `known` (unless nil) are the keys it may have.
    mutating func fields(_ tree: DocumentTree, path: String, known: [String]?, example: String) -> Fields? {
        self.note(path, tree.place)
        guard case .mapping(let entries, let place) = tree else {
            if case .scalar(_, true, _, _) = tree { return Fields(path: path, place: tree.place, entries: []) }
            self.problem(
                tree.place, path, "expected keys and values, not \(tree.kind)", "write it like `\(example)`")
            return nil
        }
        if let known {
            for entry in entries where !known.contains(entry.key) {
                let remedy = Suggestion.remedy(for: entry.key, among: known, otherwise: "remove it")
                let full = path.isEmpty ? entry.key : "\(path).\(entry.key)"
                self.problem(entry.place, full, "there is no such key", remedy)
            }
        }
        return Fields(path: path, place: place, entries: entries)
    }

    /// The text of a scalar; nil (and a problem) if it is something else.
    mutating func text(_ tree: DocumentTree, path: String, example: String) -> String? {
        self.note(path, tree.place)
        guard case .scalar(let text, let isNull, _, let place) = tree, !isNull, !text.isEmpty else {
            let kind = if case .scalar(_, false, _, _) = tree { "empty text" } else { tree.kind }
            self.problem(tree.place, path, "expected a value, not \(kind)", "write it like `\(example)`")
            return nil
        }
        if text.unicodeScalars.contains(where: { $0.value < 32 && $0 != "\n" && $0 != "\t" }) {
            self.problem(place, path, "the text has control characters in it", "remove them")
            return nil
        }
        return text
    }

    /// The text of an optional key.
    mutating func text(_ fields: Fields, _ key: String, example: String) -> String? {
        guard let tree = fields.value(key) else { return nil }
        return self.text(tree, path: fields.path(key), example: "\(key): \(example)")
    }

    /// The text of a key that must be there.
    mutating func requiredText(_ fields: Fields, _ key: String, example: String) -> String? {
        if fields.value(key) == nil { self.missing(fields, key, example: example) }
        return self.text(fields, key, example: example)
    }

    mutating func missing(_ fields: Fields, _ key: String, example: String) {
        self.problem(
            fields.place, fields.path, "`\(key)` is missing",
            example.isEmpty ? "add `\(key):`" : "add `\(key): \(example)`")
    }

    /// A quantity read by `parse`; nil (and a problem) if it is not `what`.
    mutating func quantity<Value>(
        _ fields: Fields, _ key: String, what: String, example: String, parse: (String) -> Value?
    ) -> Value? {
        guard let text = self.text(fields, key, example: example) else { return nil }
        if let value = parse(text) { return value }
        self.problem(at: fields.path(key), "`\(text)` is not \(what)", "write it like `\(key): \(example)`")
        return nil
    }

    /// A length of time; unless `zero` is allowed it must be longer than nothing.
    mutating func span(_ fields: Fields, _ key: String, example: String, zero: Bool = false) -> Span? {
        let found = self.quantity(
            fields, key, what: "a length of time", example: example, parse: Quantities.span)
        if let found, found == .zero, !zero {
            self.problem(at: fields.path(key), "it must be longer than zero", "write it like `\(key): \(example)`")
            return nil
        }
        return found
    }

    /// A whole number within `range`.
    mutating func number(_ fields: Fields, _ key: String, in range: ClosedRange<Int>, example: Int) -> Int? {
        guard let text = self.text(fields, key, example: "\(example)") else { return nil }
        guard let number = Int(text), range.contains(number) else {
            self.problem(
                at: fields.path(key), "`\(text)` is not a whole number from \(range.lowerBound) to \(range.upperBound)",
                "write it like `\(key): \(example)`")
            return nil
        }
        return number
    }

    /// True or false.
    mutating func truth(_ fields: Fields, _ key: String) -> Bool? {
        guard let tree = fields.value(key) else { return nil }
        guard let text = self.text(tree, path: fields.path(key), example: "\(key): true") else { return nil }
        if case .scalar(_, _, .some(let truth), _) = tree { return truth }
        self.problem(at: fields.path(key), "`\(text)` is neither true nor false", "write `true` or `false`")
        return nil
    }

    /// One of a few words.
    mutating func word(_ fields: Fields, _ key: String, among words: [String]) -> String? {
        guard let text = self.text(fields, key, example: words.first ?? "") else { return nil }
        if words.contains(text) { return text }
        let meant = Suggestion.nearest(to: text, among: words).map { "did you mean `\($0)`?" }
        self.problem(
            at: fields.path(key), "`\(text)` is not one of \(Suggestion.list(words))", meant ?? "write one of them")
        return nil
    }

    /// Checks the syntax of a name: lower-case letters, digits and dashes, at most 63 of them.
    @discardableResult
    mutating func checkName(_ name: String, _ place: Place, path: String) -> Bool {
        if NameSyntax.isValid(name) { return true }
        let proposal = NameSyntax.proposal(for: name).map { ", such as `\($0)`" } ?? ""
        self.problem(
            place, path, "`\(name)` cannot be a name",
            "use at most 63 lower-case letters, digits and dashes, and begin with no dash\(proposal)")
        return false
    }

    /// An absolute path.
    mutating func absolutePath(_ fields: Fields, _ key: String, example: String) -> String? {
        guard let text = self.text(fields, key, example: example) else { return nil }
        guard text.hasPrefix("/"), !text.split(separator: "/").contains("..") else {
            self.problem(
                at: fields.path(key), "`\(text)` is not an absolute path", "write it like `\(key): \(example)`")
            return nil
        }
        return text
    }
}

/// The syntax of the names of clusters, nodes, sites, groups, resources and volumes.
public enum NameSyntax {
    /// Lower-case letters, digits and dashes, at most 63, not beginning with a dash.
    public static func isValid(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard (1...63).contains(bytes.count), bytes[0] != UInt8(ascii: "-") else { return false }
        return bytes.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "-")
        }
    }

    /// A valid name that looks like `name`.
    package static func proposal(for name: String) -> String? {
        var result = ""
        for character in name.lowercased() {
            if isValid("a\(character)") {
                result.append(character)
            } else if !result.hasSuffix("-") {
                result.append("-")
            }
        }
        let trimmed = String(result.drop { $0 == "-" }.prefix(63).reversed().drop { $0 == "-" }.reversed())
        return isValid(trimmed) && trimmed != name ? trimmed : nil
    }
}
