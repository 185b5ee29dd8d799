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
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The log index of the configuration in force when the plan was made: what `apply --index` compares with.
    public var basedOnIndex: UInt64
    /// How the configuration would change, one sentence each; empty without a new configuration.
    public var changes: [String]
    /// The steps, in order.
    public var actions: [Action]
    /// All fields.
    public init(apiVersion: Int = 1, basedOnIndex: UInt64, changes: [String] = [], actions: [Action]) {
        self.apiVersion = apiVersion
        self.basedOnIndex = basedOnIndex
        self.changes = changes
        self.actions = actions
    }
}
