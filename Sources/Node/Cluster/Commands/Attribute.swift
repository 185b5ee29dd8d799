import Basis

/// A word that people and programs leave in the cluster, and what it says. The cluster itself decides nothing by it.
public struct Attribute: Equatable, Sendable {
    /// Where it belongs, and its name.
    public var key: AttributeKey
    /// What it says, exactly as it was put; at most `valueBytesMaximum`.
    public var value: String
    /// When it goes by itself.
    public var lifetime: AttributeLifetime
    /// The entry that put it.
    public var version: LogIndex

    /// All fields.
    public init(key: AttributeKey, value: String, lifetime: AttributeLifetime, version: LogIndex) {
        self.key = key
        self.value = value
        self.lifetime = lifetime
        self.version = version
    }

    /// The longest value, in bytes of UTF-8.
    public static let valueBytesMaximum = 1024

    /// What is wrong with a value, as a sentence; nil when nothing is.
    public static func problem(ofValue value: String) -> String? {
        let count = value.utf8.count
        guard count > self.valueBytesMaximum else { return nil }
        return "the value has \(count) bytes, and \(self.valueBytesMaximum) is the most"
    }

    /// What it takes of the bytes that all of them may have.
    var bytes: Int { self.key.name.utf8.count + self.value.utf8.count }
}

/// What an attribute is about.
public enum AttributeScope: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The cluster as a whole.
    case cluster
    /// One node; goes with it.
    case node(NodeID)

    /// `cluster`, or the node's id.
    public var description: String {
        switch self {
        case .cluster: "cluster"
        case .node(let node): "node \(node)"
        }
    }
}

/// Tells attributes apart. Sorted by scope, then name.
public struct AttributeKey: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// What it is about.
    public var scope: AttributeScope
    /// At most `nameBytesMaximum` lower-case letters, digits, dashes and dots.
    public var name: String
    /// Both fields.
    public init(_ scope: AttributeScope, _ name: String) {
        self.scope = scope
        self.name = name
    }

    /// The longest name, in bytes.
    public static let nameBytesMaximum = 63

    /// What is wrong with the name, as a sentence that shows nothing of it; nil when nothing is.
    public var problem: String? {
        let bytes = self.name.utf8
        let isPlain = bytes.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
                UInt8(ascii: "."):
                true
            default: false
            }
        }
        guard isPlain, (1...Self.nameBytesMaximum).contains(bytes.count) else {
            return "a name has 1 to \(Self.nameBytesMaximum) lower-case letters, digits, dashes and dots"
        }
        return nil
    }

    /// By scope, then name.
    public static func < (left: AttributeKey, right: AttributeKey) -> Bool {
        (left.scope, left.name) < (right.scope, right.name)
    }

    /// The name, and what it is about.
    public var description: String { "\(self.name) of \(self.scope)" }
}

/// When an attribute goes by itself.
public enum AttributeLifetime: Equatable, Sendable {
    /// Never.
    case forever
    /// With this life of its node: once that is certainly over, or another boot of the machine is let in.
    case boot(Incarnation)
}

/// What must be so for a change to have an effect; looked at when it is applied, and only then. (Rule A1)
public enum AttributeExpectation: Equatable, Sendable {
    /// There is none of that name.
    case absent
    /// It says this, byte for byte.
    case value(String)
    /// It was put by this entry.
    case version(LogIndex)

    /// Whether what is there is what was expected.
    func holds(for present: Attribute?) -> Bool {
        switch self {
        case .absent: present == nil
        // Strings that only look alike are equal to Swift.
        case .value(let value): present.map { $0.value.utf8.elementsEqual(value.utf8) } ?? false
        case .version(let version): present?.version == version
        }
    }
}
