/// How the survivors of a lost majority stand, and what going on without it could cost. (Rules R2 to R5)
public struct RecoveryReport: Codable, Equatable, Sendable {
    /// One node.
    public struct Node: Codable, Equatable, Sendable {
        /// Its name.
        public var name: String
        /// It answered just now.
        public var answers: Bool
        /// The generation that it follows; nil if it did not answer.
        public var generation: UInt32?
        /// The term of the last entry of its log.
        public var lastTerm: UInt64?
        /// The index of that entry.
        public var lastIndex: UInt64?
        /// The last entry that it knows to be committed.
        public var committedIndex: UInt64?
        /// It votes.
        public var votes: Bool
        /// All fields.
        public init(
            name: String, answers: Bool, generation: UInt32? = nil, lastTerm: UInt64? = nil, lastIndex: UInt64? = nil,
            committedIndex: UInt64? = nil, votes: Bool
        ) {
            self.name = name
            self.answers = answers
            self.generation = generation
            self.lastTerm = lastTerm
            self.lastIndex = lastIndex
            self.committedIndex = committedIndex
            self.votes = votes
        }
    }
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The node that answered.
    public var servedBy: String
    /// The generation in force.
    public var generation: UInt32
    /// Why nothing can be recovered here; nil if it can.
    public var objection: String?
    /// What to do about that.
    public var remedy: String?
    /// All nodes, sorted by name.
    public var nodes: [Node]
    /// The node whose log would be the cluster's.
    public var chosen: String?
    /// Seconds for which the survivors wait before they begin: leases that they renewed end meanwhile.
    public var waitSeconds: Double
    /// What could be lost, and what becomes of the groups and volumes; a sentence each.
    public var consequences: [String]
    /// What to type to go on.
    public var command: String?
    /// All fields.
    public init(
        servedBy: String, generation: UInt32, objection: String? = nil, remedy: String? = nil, nodes: [Node],
        chosen: String? = nil, waitSeconds: Double = 0, consequences: [String] = [], command: String? = nil
    ) {
        self.apiVersion = 1
        self.servedBy = servedBy
        self.generation = generation
        self.objection = objection
        self.remedy = remedy
        self.nodes = nodes
        self.chosen = chosen
        self.waitSeconds = waitSeconds
        self.consequences = consequences
        self.command = command
    }
}

/// An order to leave a lost majority behind.
public struct RecoveryRequest: Codable, Equatable, Sendable {
    /// The nodes that are given up, by name.
    public var dead: [String]
    /// What is signed; nil asks what to sign.
    public var statement: String?
    /// Start the groups although nodes that were only seen to be off could be a majority.
    public var startsGroups: Bool
    /// All fields.
    public init(dead: [String], statement: String? = nil, startsGroups: Bool = false) {
        self.dead = dead
        self.statement = statement
        self.startsGroups = startsGroups
    }
}
