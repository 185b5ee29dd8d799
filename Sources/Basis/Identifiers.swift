/// One machine in the cluster, numbered by the log when it joins. Zero is never assigned.
public struct NodeID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number.
    public let rawValue: UInt32
    /// Wraps a number.
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }
    /// Orders by number.
    public static func < (left: NodeID, right: NodeID) -> Bool { left.rawValue < right.rawValue }
    /// `n1`, `n2`, ….
    public var description: String { "n\(self.rawValue)" }
}

/// A Raft term. (Raft §5.1)
public struct Term: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number.
    public let rawValue: UInt64
    /// Wraps a number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// Before the first election.
    public static let zero = Term(0)
    /// The term after this one.
    public var next: Term { Term(self.rawValue + 1) }
    /// Orders by number.
    public static func < (left: Term, right: Term) -> Bool { left.rawValue < right.rawValue }
    /// The bare number.
    public var description: String { "\(self.rawValue)" }
}

/// A position in the replicated log; the first entry has index 1. (Raft §5.3)
public struct LogIndex: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number.
    public let rawValue: UInt64
    /// Wraps a number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// Before the first entry.
    public static let zero = LogIndex(0)
    /// The index after this one.
    public var next: LogIndex { LogIndex(self.rawValue + 1) }
    /// The index before this one; zero stays zero.
    public var previous: LogIndex { LogIndex(self.rawValue == 0 ? 0 : self.rawValue - 1) }
    /// Orders by number.
    public static func < (left: LogIndex, right: LogIndex) -> Bool { left.rawValue < right.rawValue }
    /// The bare number.
    public var description: String { "\(self.rawValue)" }
}

/// One life of a node: the log index at which it was admitted. Ends with `lost` or `returned`. (Rule L8)
public struct Incarnation: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The log index of the admission; zero means never admitted.
    public let rawValue: UInt64
    /// Wraps a number.
    public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    /// Never admitted.
    public static let none = Incarnation(0)
    /// Orders by number.
    public static func < (left: Incarnation, right: Incarnation) -> Bool { left.rawValue < right.rawValue }
    /// The bare number.
    public var description: String { "\(self.rawValue)" }
}

/// The fencing token of an assignment: recovery generation, then log index. Only grows. (Rule E1)
public struct Epoch: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Raised by each recovery from majority loss, because such a recovery may use log indexes again.
    public let generation: UInt32
    /// The log index of the assignment.
    public let index: UInt64
    /// Combines both parts.
    public init(generation: UInt32, index: UInt64) {
        self.generation = generation
        self.index = index
    }
    /// Before the first assignment.
    public static let none = Epoch(generation: 0, index: 0)
    /// Orders by generation, then index.
    public static func < (left: Epoch, right: Epoch) -> Bool {
        (left.generation, left.index) < (right.generation, right.index)
    }
    /// Above this one, and below each that is assigned once this one has ended: the entry that ends it lies between them.
    public var next: Epoch { Epoch(generation: self.generation, index: self.index + 1) }
    /// `1207`, or `2.1207` after a recovery.
    public var description: String {
        self.generation == 0 ? "\(self.index)" : "\(self.generation).\(self.index)"
    }
}

/// What the nodes of a cluster agree to follow: it changes when a lost majority is left behind. (Rule R1)
public struct Generation: Hashable, Sendable, CustomStringConvertible {
    /// Grows with each recovery; the higher one counts.
    public let number: UInt32
    /// Random: tells two recoveries apart that were begun on two sides. Where both have one number the higher of these counts, so
    /// that one side ends the other.
    public let recovery: UInt64
    /// Combines both parts.
    public init(number: UInt32, recovery: UInt64) {
        self.number = number
        self.recovery = recovery
    }
    /// That of a cluster that never lost its majority.
    public static let first = Generation(number: 0, recovery: 0)
    /// Whether the other one has left this one behind.
    public func isBefore(_ other: Generation) -> Bool {
        (self.number, self.recovery) < (other.number, other.recovery)
    }
    /// `2 (00c0ffee…)`, with the sixteen digits of the recovery.
    public var description: String { "\(self.number) (\(self.recovery.hexadecimal(digits: 16)))" }
}

/// A group's name: the unit of failover.
public struct GroupName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The name as written in the configuration.
    public let rawValue: String
    /// Wraps a name.
    public init(_ rawValue: String) { self.rawValue = rawValue }
    /// Orders by name.
    public static func < (left: GroupName, right: GroupName) -> Bool { left.rawValue < right.rawValue }
    /// The name.
    public var description: String { self.rawValue }
}

/// A resource's name, unique within its group.
public struct ResourceName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The name as written in the configuration.
    public let rawValue: String
    /// Wraps a name.
    public init(_ rawValue: String) { self.rawValue = rawValue }
    /// Orders by name.
    public static func < (left: ResourceName, right: ResourceName) -> Bool { left.rawValue < right.rawValue }
    /// The name.
    public var description: String { self.rawValue }
}

/// A mirrored volume's name.
public struct VolumeName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The name as written in the configuration.
    public let rawValue: String
    /// Wraps a name.
    public init(_ rawValue: String) { self.rawValue = rawValue }
    /// Orders by name.
    public static func < (left: VolumeName, right: VolumeName) -> Bool { left.rawValue < right.rawValue }
    /// The name.
    public var description: String { self.rawValue }
}
