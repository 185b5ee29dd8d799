/// The OCF agents of one machine.
public struct AgentsReport: Codable, Equatable, Sendable {
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The node that was looked at.
    public var node: String
    /// `ocf:PROVIDER:TYPE`, sorted.
    public var agents: [String]
    /// All fields.
    public init(apiVersion: Int = 1, node: String, agents: [String]) {
        self.apiVersion = apiVersion
        self.node = node
        self.agents = agents
    }
}

/// What one OCF agent says of itself.
public struct AgentReport: Codable, Equatable, Sendable {
    /// One thing that it may be told.
    public struct Parameter: Codable, Equatable, Sendable {
        /// The key.
        public var name: String
        /// It cannot do without.
        public var required: Bool
        /// What it takes when it is told nothing.
        public var standard: String?
        /// One line.
        public var summary: String
        /// All fields.
        public init(name: String, required: Bool, standard: String? = nil, summary: String) {
            self.name = name
            self.required = required
            self.standard = standard
            self.summary = summary
        }
    }
    /// One thing that it can do.
    public struct Action: Codable, Equatable, Sendable {
        /// `start`, `stop`, `monitor`, ….
        public var name: String
        /// The time that it should be given at least, in seconds.
        public var timeoutSeconds: Double?
        /// Both fields.
        public init(name: String, timeoutSeconds: Double?) {
            self.name = name
            self.timeoutSeconds = timeoutSeconds
        }
    }
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The node that was asked.
    public var node: String
    /// `ocf:PROVIDER:TYPE`.
    public var agent: String
    /// One line about it.
    public var summary: String
    /// In the agent's order.
    public var parameters: [Parameter]
    /// In the agent's order.
    public var actions: [Action]
    /// All fields.
    public init(
        apiVersion: Int = 1, node: String, agent: String, summary: String, parameters: [Parameter], actions: [Action]
    ) {
        self.apiVersion = apiVersion
        self.node = node
        self.agent = agent
        self.summary = summary
        self.parameters = parameters
        self.actions = actions
    }
}
