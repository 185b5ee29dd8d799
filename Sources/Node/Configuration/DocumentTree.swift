/// A place in the document, both from 1; columns count Unicode scalars.
struct Place: Hashable, Comparable, Sendable {
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
