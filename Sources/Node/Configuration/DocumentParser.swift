import CYaml

/// Turns text into a `DocumentTree`, event by event, and says every mistake of the document itself. What it takes is
/// bounded before anything is built: bytes, depth, and values, where an alias counts as often as it is used.
struct DocumentParser {
    /// More text than this is refused before parsing, in UTF-8 bytes.
    static let maximumBytes = 1 << 20
    /// More values than this (aliases count as often as they are used) are refused.
    static let maximumValues = 100_000
    /// A list in a list in a list, and so on, deeper than this is refused; the deepest key has depth 6.
    static let maximumDepth = 50
    /// After this many mistakes of the document itself the rest is not read.
    static let maximumProblems = 100

    /// A problem of the document itself, with a key path as far as one is known.
    struct Problem {
        var place: Place
        var path: String
        var reason: String
        var remedy: String
    }

    /// The document cannot be read on; `problems` says why.
    private struct Halt: Error {}

    private(set) var problems: [Problem] = []
    private var valueCount = 0
    private var anchors: [String: (tree: DocumentTree, values: Int)] = [:]

    /// The tree, or nil when the text is not YAML or beyond the bounds; `problems` says why.
    mutating func parse(_ text: String) -> DocumentTree? {
        guard text.utf8.count <= Self.maximumBytes else {
            self.report(.start, "the document has \(text.utf8.count) bytes", "keep it below \(Self.maximumBytes)")
            return nil
        }
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBufferPointer { buffer in
            let events = DocumentEvents(buffer)
            return try? self.readStream(events)
        }
    }

    private mutating func readStream(_ events: DocumentEvents) throws(Halt) -> DocumentTree? {
        var tree: DocumentTree?
        while true {
            let event = try self.next(events)
            switch event.kind {
            case .end:
                if tree == nil { self.report(.start, "the document is empty", "start with `cluster: NAME`") }
                return tree
            case .documentStart where tree != nil:
                self.report(event.place, "a second document begins here", "keep one document in the file")
                throw Halt()
            case .documentStart:
                let first = try self.next(events)
                tree = try self.read(first, events, path: "", depth: 0)
            default: continue
            }
        }
    }

    private mutating func next(_ events: DocumentEvents) throws(Halt) -> DocumentEvents.Event {
        switch events.next() {
        case .success(let event): return event
        case .failure(let problem):
            self.report(problem.place, problem.reason, problem.remedy)
            throw Halt()
        }
    }

    /// One value with all that is in it.
    private mutating func read(
        _ event: DocumentEvents.Event, _ events: DocumentEvents, path: String, depth: Int
    ) throws(Halt) -> DocumentTree {
        let before = self.valueCount
        try self.count(1, at: event.place)
        guard depth <= Self.maximumDepth else {
            self.report(event.place, "it is nested more than \(Self.maximumDepth) deep", "write it flatter", path: path)
            throw Halt()
        }
        let tree: DocumentTree
        switch event.kind {
        case .scalar(let text, let isPlain):
            tree = .scalar(
                text: text, isNull: isPlain && ["", "~", "null", "Null", "NULL"].contains(text),
                truth: isPlain ? Self.truth(text) : nil, at: event.place)
        case .alias(let name):
            return try self.aliased(name, at: event.place, path: path).tree
        case .sequenceStart:
            tree = .sequence(try self.readItems(events, path: path, depth: depth), at: event.place)
        default:
            tree = .mapping(try self.readEntries(events, path: path, depth: depth), at: event.place)
        }
        // Known only from here on, so a value can never hold itself.
        if let anchor = event.anchor { self.anchors[anchor] = (tree, self.valueCount - before) }
        return tree
    }

    private mutating func readItems(
        _ events: DocumentEvents, path: String, depth: Int
    ) throws(Halt) -> [DocumentTree] {
        var items: [DocumentTree] = []
        while true {
            let event = try self.next(events)
            if case .sequenceEnd = event.kind { return items }
            items.append(try self.read(event, events, path: "\(path)[\(items.count)]", depth: depth + 1))
        }
    }

    private mutating func readEntries(
        _ events: DocumentEvents, path: String, depth: Int
    ) throws(Halt) -> [DocumentTree.Entry] {
        var entries: [DocumentTree.Entry] = []
        var first: [String: Place] = [:]
        while true {
            let event = try self.next(events)
            if case .mappingEnd = event.kind { return entries }
            let key = try self.readKey(event, events, path: path, depth: depth)
            let full = path.isEmpty ? key ?? "" : key.map { "\(path).\($0)" } ?? path
            let value = try self.read(try self.next(events), events, path: full, depth: depth + 1)
            guard let key else { continue }
            if let earlier = first[key] {
                let reason = "the key is already given in line \(earlier.line)"
                try self.reportOne(event.place, reason, "keep one of them", path: full)
                continue
            }
            first[key] = event.place
            entries.append(DocumentTree.Entry(key: key, place: event.place, value: value))
        }
    }

    /// A key; nil (and a problem) if it cannot be one. Never looks into what else stands in its place.
    private mutating func readKey(
        _ event: DocumentEvents.Event, _ events: DocumentEvents, path: String, depth: Int
    ) throws(Halt) -> String? {
        switch event.kind {
        case .scalar("<<", true):
            let reason = "merge keys (`<<`) are not supported"
            try self.reportOne(event.place, reason, "write the keys out where they belong", path: path)
            return nil
        case .scalar(let text, _):
            try self.count(1, at: event.place)
            if let anchor = event.anchor {
                let tree = DocumentTree.scalar(text: text, isNull: false, truth: nil, at: event.place)
                self.anchors[anchor] = (tree, 1)
            }
            return text
        case .alias(let name):
            if case .scalar(let text, _, _, _) = try self.aliased(name, at: event.place, path: path).tree {
                return text
            }
        default:
            _ = try self.read(event, events, path: path, depth: depth + 1)
        }
        try self.reportOne(event.place, "a key must be a plain word", "write `KEY: VALUE`", path: path)
        return nil
    }

    private mutating func aliased(
        _ name: String, at place: Place, path: String
    ) throws(Halt) -> (tree: DocumentTree, values: Int) {
        guard let known = self.anchors[name] else {
            self.report(place, "the alias `\(name)` is unknown", "write the value out", path: path)
            throw Halt()
        }
        try self.count(known.values, at: place)
        return known
    }

    private mutating func count(_ values: Int, at place: Place) throws(Halt) {
        self.valueCount += values
        guard self.valueCount > Self.maximumValues else { return }
        self.report(.start, "the document has more than \(Self.maximumValues) values", "use fewer aliases")
        throw Halt()
    }

    /// One of many mistakes: the document is read on, but not for ever.
    private mutating func reportOne(
        _ place: Place, _ reason: String, _ remedy: String, path: String
    ) throws(Halt) {
        self.report(place, reason, remedy, path: path)
        guard self.problems.count >= Self.maximumProblems else { return }
        self.report(place, "there are more mistakes after this one", "correct these first")
        throw Halt()
    }

    private mutating func report(_ place: Place, _ reason: String, _ remedy: String, path: String = "") {
        self.problems.append(Problem(place: place, path: path, reason: reason, remedy: remedy))
    }

    /// The words that YAML takes for true and false.
    private static func truth(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "true", "yes", "on": true
        case "false", "no", "off": false
        default: nil
        }
    }
}

/// The events of a document, one after the other, in constant memory.
private final class DocumentEvents {
    enum Kind {
        case scalar(String, isPlain: Bool)
        case alias(String)
        case sequenceStart
        case sequenceEnd
        case mappingStart
        case mappingEnd
        case documentStart
        case other
        case end
    }

    struct Event {
        var kind: Kind
        var anchor: String?
        var place: Place
    }

    struct Problem: Error {
        var place: Place
        var reason: String
        var remedy: String
    }

    private let bytes: UnsafeBufferPointer<UInt8>
    /// It holds pointers to itself, so it must not move.
    private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)

    /// `bytes` must outlive it.
    init(_ bytes: UnsafeBufferPointer<UInt8>) {
        self.bytes = bytes
        self.parser.initialize(to: yaml_parser_t())
        yaml_parser_initialize(self.parser)
        yaml_parser_set_encoding(self.parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(self.parser, bytes.baseAddress, bytes.count)
    }

    deinit {
        yaml_parser_delete(self.parser)
        self.parser.deallocate()
    }

    func next() -> Result<Event, Problem> {
        var event = yaml_event_t()
        guard yaml_parser_parse(self.parser, &event) == 1 else { return .failure(self.problem) }
        defer { yaml_event_delete(&event) }
        var anchor: UnsafeMutablePointer<yaml_char_t>?
        let kind: Kind
        switch event.type {
        case YAML_SCALAR_EVENT:
            let scalar = event.data.scalar
            anchor = scalar.anchor
            let text = String(
                decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
            kind = .scalar(text, isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE && scalar.tag == nil)
        case YAML_ALIAS_EVENT: kind = .alias(String(cString: event.data.alias.anchor))
        case YAML_SEQUENCE_START_EVENT:
            anchor = event.data.sequence_start.anchor
            kind = .sequenceStart
        case YAML_MAPPING_START_EVENT:
            anchor = event.data.mapping_start.anchor
            kind = .mappingStart
        case YAML_SEQUENCE_END_EVENT: kind = .sequenceEnd
        case YAML_MAPPING_END_EVENT: kind = .mappingEnd
        case YAML_DOCUMENT_START_EVENT: kind = .documentStart
        case YAML_STREAM_END_EVENT: kind = .end
        default: kind = .other
        }
        let mark = event.start_mark
        return .success(
            Event(
                kind: kind, anchor: anchor.map { String(cString: $0) },
                place: Place(line: Int(mark.line) + 1, column: Int(mark.column) + 1)))
    }

    private var problem: Problem {
        let said = self.parser.pointee.problem.map { String(cString: $0) } ?? "it cannot be read"
        if self.parser.pointee.error == YAML_READER_ERROR {
            let before = self.bytes.prefix(Int(self.parser.pointee.problem_offset))
            let line = before.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            let column = String(decoding: line.last.map(Array.init) ?? [], as: UTF8.self).unicodeScalars.count + 1
            return Problem(
                place: Place(line: line.count, column: column), reason: "this is not text: \(said)",
                remedy: "save the file as UTF-8 without control characters")
        }
        let during = self.parser.pointee.context.map { String(cString: $0) + " " } ?? ""
        let mark = self.parser.pointee.problem_mark
        let lines = self.bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let line = lines.indices.contains(Int(mark.line)) ? lines[Int(mark.line)] : self.bytes[0..<0]
        let isTab = line.prefix(Int(mark.column) + 1).contains(UInt8(ascii: "\t"))
        return Problem(
            place: Place(line: Int(mark.line) + 1, column: Int(mark.column) + 1),
            reason: "this is not YAML: \(during)\(said)",
            remedy: isTab
                ? "indent with spaces, not with tabs" : "check the indentation, the colons and the quotes before it")
    }
}
