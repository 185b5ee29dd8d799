import Basis

/// Something that happened, told once: the one value from which events, explanations, counters and alerts speak. It keeps all
/// that it needs to be understood for ever. `sentence` has the words.
public struct ClusterEvent: Equatable, Sendable {
    /// The log entry that caused it. (Explained)
    public var index: LogIndex
    /// Milliseconds since 1970 by the leader's wall clock, for people.
    public var wallMilliseconds: UInt64
    /// What it was.
    public var happening: Happening
    /// Where a person asked for it; nil when nobody did.
    public var asker: NamedNode?

    /// All fields.
    public init(index: LogIndex, wallMilliseconds: UInt64, happening: Happening, asker: NamedNode? = nil) {
        self.index = index
        self.wallMilliseconds = wallMilliseconds
        self.happening = happening
        self.asker = asker
    }

    /// The group that it is about, if any.
    public var group: GroupName? { self.happening.group }
    /// The rule or the wish behind it.
    public var rule: EventRule { self.happening.rule }
}

/// A node as it was called when something happened: it may have another name since, or be gone.
public struct NamedNode: Equatable, Sendable {
    /// Its id, which no other node ever gets.
    public var id: NodeID
    /// Its name then.
    public var name: String

    /// All fields.
    public init(_ id: NodeID, _ name: String) {
        self.id = id
        self.name = name
    }
}

/// What an event rests on: a rule of docs/protocols.md by its name, or one of the words below.
public struct EventRule: RawRepresentable, Equatable, Sendable {
    /// `L6`, `operator`, ….
    public let rawValue: String
    /// Wraps a name.
    public init(rawValue: String) { self.rawValue = rawValue }
    init(_ name: String) { self.rawValue = name }

    /// A person wanted it.
    static let `operator` = EventRule("operator")
    /// A person put a configuration into force.
    static let apply = EventRule("apply")
    /// The planner decided it.
    static let plan = EventRule("plan")
    /// The group is taken over without waiting for the end of a lease.
    static let immediate = EventRule("immediate")
    /// What the group's `restart` says of failures.
    static let restart = EventRule("restart")
    /// A group that moves again and again is left alone.
    static let noFlap = EventRule("NoFlap")
}

/// Words of a person, an agent or the planner: one line, cleaned before they are kept.
public struct KeptWords: Equatable, Sendable {
    /// What is kept of them, in Unicode scalars, and of a whole sentence.
    static let lengthMaximum = 1000
    /// The line.
    public let text: String

    /// Cleans `text`.
    public init(_ text: String) { self.text = ForeignText.line(text, limit: Self.lengthMaximum) }
}

extension ClusterState {
    /// A node with the name that it has now.
    func named(_ id: NodeID) -> NamedNode { NamedNode(id, self.name(of: id)) }

    /// Tells what the entry being applied has done.
    mutating func note(_ happening: Happening, at index: LogIndex) {
        // What a person asked for says where that was: who may ask there is root of that machine.
        let asker = happening.isAsked ? self.touched.asker.flatMap { self.node($0) } : nil
        self.events.append(
            ClusterEvent(
                index: index, wallMilliseconds: self.wallMilliseconds, happening: happening,
                asker: asker.map { NamedNode($0.id, $0.about.name) }))
        if self.events.count > Self.eventsMaximum { self.events.removeFirst(self.events.count - Self.eventsMaximum) }
    }
}
