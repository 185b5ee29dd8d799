/// One thing that happened, from the log.
public struct EventReport: Codable, Equatable, Sendable {
    /// A node, with the name that it had then.
    public struct Node: Codable, Equatable, Sendable {
        /// Its number, which no other node ever gets.
        public var id: UInt32
        /// Its name then.
        public var name: String
        /// All fields.
        public init(id: UInt32, name: String) {
            self.id = id
            self.name = name
        }
    }
    /// The log index that recorded it.
    public var index: UInt64
    /// Milliseconds since 1970 by the wall clock of the leader that recorded it; for people only.
    public var wallClockMilliseconds: UInt64
    /// What happened.
    public var sentence: String
    /// The rule that caused it: `L6`, `operator`, …. (Explained)
    public var rule: String
    /// The group that it is about.
    public var group: String?
    /// The name that the node which it is about had then.
    public var node: String?
    /// Its stable name for programs, such as `node.lost`; `told` for an event of an earlier build, which has nothing but a
    /// sentence. Later releases may have kinds that this one does not know.
    public var kind: String?
    /// How much it matters: `info`, `warning` or `error`.
    public var severity: String?
    /// The number of `node`.
    public var nodeID: UInt32?
    /// Further nodes that it names.
    public var otherNodes: [Node]?
    /// The volume that it is about.
    public var volume: String?
    /// The epoch that it belongs to.
    public var epoch: String?
    /// The resource that it is about.
    public var resource: String?
    /// Why, in the words of the planner, an agent or a volume server.
    public var reason: String?
    /// What a person wrote or signed.
    public var statement: String?
    /// The node on which a person asked for it.
    public var asker: Node?
    /// The fields that every event has, and whom it is about.
    public init(
        index: UInt64, wallClockMilliseconds: UInt64, sentence: String, rule: String, group: String? = nil,
        node: String? = nil
    ) {
        self.index = index
        self.wallClockMilliseconds = wallClockMilliseconds
        self.sentence = sentence
        self.rule = rule
        self.group = group
        self.node = node
    }
}

/// A page of events.
public struct EventsReport: Codable, Equatable, Sendable {
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// In the order of the log, oldest first.
    public var events: [EventReport]
    /// What to pass as `after` for the next page.
    public var nextAfter: UInt64
    /// How many events above the asked `after` are kept and older than the first of these.
    public var older: Int
    /// All fields.
    public init(apiVersion: Int = 1, events: [EventReport], nextAfter: UInt64, older: Int = 0) {
        self.apiVersion = apiVersion
        self.events = events
        self.nextAfter = nextAfter
        self.older = older
    }
}

/// Why a group is where it is.
public struct ExplainReport: Codable, Equatable, Sendable {
    /// What speaks for and against a node.
    public struct Candidate: Codable, Equatable, Sendable {
        /// The node.
        public var node: String
        /// It could run the group now.
        public var eligible: Bool
        /// Why, or why not.
        public var reason: String
        /// All fields.
        public init(node: String, eligible: Bool, reason: String) {
            self.node = node
            self.eligible = eligible
            self.reason = reason
        }
    }
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The group's name.
    public var group: String
    /// The answer in one sentence.
    public var sentence: String
    /// The chain of causes, the nearest first.
    public var reasons: [String]
    /// What speaks for and against each node, most preferred first.
    public var candidates: [Candidate]
    /// The last events about this group, oldest first.
    public var events: [EventReport]
    /// What an operator could do next.
    public var nextStep: String?
    /// How long a failure of its owner lasts, and what that time is made of.
    public var recovery: String?
    /// All fields.
    public init(
        apiVersion: Int = 1, group: String, sentence: String, reasons: [String] = [], candidates: [Candidate] = [],
        events: [EventReport] = [], nextStep: String? = nil, recovery: String? = nil
    ) {
        self.apiVersion = apiVersion
        self.group = group
        self.sentence = sentence
        self.reasons = reasons
        self.candidates = candidates
        self.events = events
        self.nextStep = nextStep
        self.recovery = recovery
    }
}
