import Yams

/// A place in the document, both from 1; columns count Unicode scalars.
struct Place: Hashable, Comparable {
    var line: Int
    var column: Int
    static let start = Place(line: 1, column: 1)
    static func < (left: Place, right: Place) -> Bool { (left.line, left.column) < (right.line, right.column) }
}

/// The YAML document as a tree of values that know their places.
indirect enum DocumentTree {
    /// Text as written, and what YAML takes it for.
    case scalar(text: String, isNull: Bool, truth: Bool?, at: Place)
    /// A list.
    case sequence([DocumentTree], at: Place)
    /// Keys in the order written, each only once.
    case mapping([Entry], at: Place)

    /// A key and its value.
    struct Entry {
        var key: String
        var place: Place
        var value: DocumentTree
    }

    /// Where the value begins.
    var place: Place {
        switch self {
        case .scalar(_, _, _, let place), .sequence(_, let place), .mapping(_, let place): place
        }
    }

    /// What to call the kind of value in a message.
    var kind: String {
        switch self {
        case .scalar(_, let isNull, _, _): isNull ? "nothing" : "a single value"
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }
}

/// Turns text into a `DocumentTree`, finding every key that is given twice.
struct DocumentParser {
    /// More text than this is refused before parsing, in UTF-8 bytes.
    static let maximumBytes = 1 << 20
    /// More values than this (aliases count as often as they are used) are refused.
    static let maximumValues = 100_000

    /// A problem of the document itself, with a key path as far as one is known.
    struct Problem {
        var place: Place
        var path: String
        var reason: String
        var remedy: String
    }

    private(set) var problems: [Problem] = []
    private var valueCount = 0
    private var renamed: [String: String] = [:]

    /// The tree, or nil when the text is not YAML; `problems` says why.
    mutating func parse(_ text: String) -> DocumentTree? {
        guard text.utf8.count <= Self.maximumBytes else {
            self.report(.start, "the document has \(text.utf8.count) bytes", "keep it below \(Self.maximumBytes)")
            return nil
        }
        guard let node = self.compose(text) else { return nil }
        let tree = self.convert(node, path: "")
        if self.valueCount > Self.maximumValues {
            self.report(.start, "the document has more than \(Self.maximumValues) values", "use fewer aliases")
            return nil
        }
        return tree
    }

    /// Composes; the parser gives up at the first key that is there twice, so such keys are renamed and it is asked again.
    private mutating func compose(_ original: String) -> Yams.Node? {
        var text = original
        while true {
            do {
                guard let node = try Yams.compose(yaml: text) else {
                    self.report(.start, "the document is empty", "start with `cluster: NAME`")
                    return nil
                }
                return node
            } catch YamlError.duplicatedKeysInMapping(let duplicates, let context) {
                let mark = Place(line: context.mark.line, column: context.mark.column)
                guard let key = duplicates.first, let next = self.rename(key, at: mark, in: text) else {
                    self.report(
                        mark, "the key `\(duplicates.first ?? "?")` is given more than once", "keep one of them")
                    return nil
                }
                text = next
            } catch let error as YamlError {
                self.report(error)
                return nil
            } catch {
                self.report(.start, "the document cannot be read: \(error)", "write it as YAML")
                return nil
            }
        }
    }

    /// Replaces a key by as many private characters, so that every column stays; nil if it is not found as expected.
    private mutating func rename(_ key: String, at place: Place, in text: String) -> String? {
        guard self.renamed.count < 1000, !key.isEmpty, let stamp = Unicode.Scalar(0xE000 + UInt32(self.renamed.count))
        else { return nil }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard lines.indices.contains(place.line - 1) else { return nil }
        var scalars = Array(lines[place.line - 1].unicodeScalars)
        let wanted = Array(key.unicodeScalars)
        var start = place.column - 1
        if scalars.indices.contains(start), scalars[start] == "\"" || scalars[start] == "'" { start += 1 }
        guard start + wanted.count <= scalars.count, Array(scalars[start..<start + wanted.count]) == wanted
        else { return nil }
        let stamped = [Unicode.Scalar](repeating: stamp, count: wanted.count)
        scalars.replaceSubrange(start..<start + wanted.count, with: stamped)
        var line = String.UnicodeScalarView()
        line.append(contentsOf: scalars)
        lines[place.line - 1] = String(line)
        var name = String.UnicodeScalarView()
        name.append(contentsOf: stamped)
        self.renamed[String(name)] = key
        return lines.joined(separator: "\n")
    }

    private mutating func convert(_ node: Yams.Node, path: String) -> DocumentTree {
        let place = node.mark.map { Place(line: $0.line, column: $0.column) } ?? .start
        self.valueCount += 1
        guard self.valueCount <= Self.maximumValues else { return .sequence([], at: place) }
        switch node {
        case .scalar(let scalar):
            return .scalar(text: scalar.string, isNull: node.null != nil, truth: node.bool, at: place)
        case .sequence(let sequence):
            return .sequence(sequence.enumerated().map { self.convert($1, path: "\(path)[\($0)]") }, at: place)
        case .mapping(let mapping):
            return .mapping(self.entries(mapping, path: path), at: place)
        case .alias(let alias):
            self.report(place, "the alias `\(alias.anchor.rawValue)` is unknown", "write the value out", path: path)
            return .scalar(text: "", isNull: true, truth: nil, at: place)
        }
    }

    private mutating func entries(_ mapping: Yams.Node.Mapping, path: String) -> [DocumentTree.Entry] {
        var entries: [DocumentTree.Entry] = []
        var first: [String: Place] = [:]
        for (keyNode, valueNode) in mapping {
            let place = keyNode.mark.map { Place(line: $0.line, column: $0.column) } ?? .start
            guard case .scalar(let scalar) = keyNode else {
                self.report(place, "a key must be a plain word", "write `KEY: VALUE`", path: path)
                continue
            }
            let key = self.renamed[scalar.string] ?? scalar.string
            let full = path.isEmpty ? key : "\(path).\(key)"
            let value = self.convert(valueNode, path: full)
            if let earlier = first[key] {
                self.report(place, "the key is already given in line \(earlier.line)", "keep one of them", path: full)
                continue
            }
            first[key] = place
            entries.append(DocumentTree.Entry(key: key, place: place, value: value))
        }
        return entries
    }

    private mutating func report(_ place: Place, _ reason: String, _ remedy: String, path: String = "") {
        self.problems.append(Problem(place: place, path: path, reason: reason, remedy: remedy))
    }

    private mutating func report(_ error: YamlError) {
        switch error {
        case .scanner(let context, let problem, let mark, let yaml),
            .parser(let context, let problem, let mark, let yaml),
            .composer(let context, let problem, let mark, let yaml):
            let during = context.map { " \($0.text)" } ?? ""
            let lines = yaml.split(separator: "\n", omittingEmptySubsequences: false)
            let line = lines.indices.contains(mark.line - 1) ? lines[mark.line - 1] : ""
            let remedy =
                line.unicodeScalars.prefix(mark.column).contains("\t")
                ? "indent with spaces, not with tabs" : "check the indentation, the colons and the quotes before it"
            self.report(
                Place(line: mark.line, column: mark.column), "this is not YAML:\(during) \(problem)".collapsed, remedy)
        case .reader(let problem, let offset, _, let yaml):
            let before = yaml.prefix(offset ?? 0)
            let line = before.reduce(1) { $1.isNewline ? $0 + 1 : $0 }
            let column = before.reversed().prefix { !$0.isNewline }.count + 1
            self.report(
                Place(line: line, column: column), "this is not text: \(problem)",
                "save the file as UTF-8 without control characters")
        default:
            self.report(.start, "the document cannot be read: \(error)".collapsed, "write it as YAML")
        }
    }
}

extension String {
    /// The same in one line with single spaces.
    fileprivate var collapsed: String {
        self.split { $0.isWhitespace }.joined(separator: " ")
    }
}
