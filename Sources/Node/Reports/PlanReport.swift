/// What the cluster would do: the planner's answer on a fork of the live state.
public struct PlanReport: Codable, Equatable, Sendable {
    /// One step of a plan.
    public struct Action: Codable, Equatable, Sendable {
        /// What would be done.
        public var sentence: String
        /// Why: the rule or the failure.
        public var reason: String
        /// What must happen first; nil when it can be done at once.
        public var waitsFor: String?
        /// All fields.
        public init(sentence: String, reason: String, waitsFor: String? = nil) {
            self.sentence = sentence
            self.reason = reason
            self.waitsFor = waitsFor
        }
    }
    /// A group that is down for a while, or for good.
    public struct Interruption: Codable, Equatable, Sendable {
        /// The group.
        public var group: String
        /// Where it runs now.
        public var node: String
        /// It is stopped and does not come back.
        public var isFinal: Bool
        /// What happens, and how long it may take.
        public var sentence: String
        /// If every timeout of its stops and starts is used up, in seconds.
        public var longestSeconds: Double
        /// All fields.
        public init(group: String, node: String, isFinal: Bool, sentence: String, longestSeconds: Double) {
            self.group = group
            self.node = node
            self.isFinal = isFinal
            self.sentence = sentence
            self.longestSeconds = longestSeconds
        }
    }
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The log index of the configuration in force when the plan was made: what `apply --index` compares with.
    public var basedOnIndex: UInt64
    /// How the configuration would change, one sentence each; empty without a new configuration.
    public var changes: [String]
    /// The steps, in order.
    public var actions: [Action]
    /// What goes down, in the order of groups.
    public var interruptions: [Interruption]
    /// What would no longer be there: `apply` wants to be told that this is meant.
    public var removals: [String]
    /// What does no harm yet but should be looked at.
    public var warnings: [String]
    /// All fields.
    public init(
        apiVersion: Int = 1, basedOnIndex: UInt64, changes: [String] = [], actions: [Action],
        interruptions: [Interruption] = [], removals: [String] = [], warnings: [String] = []
    ) {
        self.apiVersion = apiVersion
        self.basedOnIndex = basedOnIndex
        self.changes = changes
        self.actions = actions
        self.interruptions = interruptions
        self.removals = removals
        self.warnings = warnings
    }
}
