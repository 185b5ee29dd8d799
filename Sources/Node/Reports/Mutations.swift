/// A new configuration to plan or apply.
public struct ApplyRequest: Codable, Equatable, Sendable {
    /// The whole document.
    public var text: String
    /// What to call it in error messages.
    public var path: String
    /// Refuse with `conflict` unless the configuration in force has this log index.
    public var expectedIndex: UInt64?
    /// Check and plan, but change nothing.
    public var dryRun: Bool
    /// Groups, volumes and copies that are no longer in the document may go; unless it is true they are a refusal.
    public var allowRemoval: Bool?
    /// All fields.
    public init(
        text: String, path: String = "cluster.yaml", expectedIndex: UInt64? = nil, dryRun: Bool = false,
        allowRemoval: Bool? = nil
    ) {
        self.text = text
        self.path = path
        self.expectedIndex = expectedIndex
        self.dryRun = dryRun
        self.allowRemoval = allowRemoval
    }
}

/// A question for a plan.
public struct PlanRequest: Codable, Equatable, Sendable {
    /// A new configuration; nil asks what the cluster is about to do now.
    public var text: String?
    /// What to call it in error messages.
    public var path: String
    /// All fields.
    public init(text: String? = nil, path: String = "cluster.yaml") {
        self.text = text
        self.path = path
    }
}

/// The body of every other request that changes something.
public struct MutationRequest: Codable, Equatable, Sendable {
    /// The target node of a move or a transfer of leadership; the replica to compare for a resync; the node that a
    /// statement is about.
    public var to: String?
    /// What an operator signs, where something is signed.
    public var statement: String?
    /// Refuse with `conflict` unless the configuration in force has this log index.
    public var expectedIndex: UInt64?
    /// Say what would happen, but change nothing.
    public var dryRun: Bool
    /// What should be different about a node.
    public var node: NodeChangeRequest?
    /// Do it although fewer failures are survived afterwards; unless it is true that is a refusal.
    public var allowWorse: Bool?
    /// How long something is to hold.
    public var milliseconds: UInt64?
    /// Which of several machines is meant: where it is heard from, or its boot id or the beginning of that.
    public var machine: String?
    /// All fields.
    public init(
        to: String? = nil, statement: String? = nil, expectedIndex: UInt64? = nil, dryRun: Bool = false,
        node: NodeChangeRequest? = nil, allowWorse: Bool? = nil, milliseconds: UInt64? = nil, machine: String? = nil
    ) {
        self.machine = machine
        self.milliseconds = milliseconds
        self.node = node
        self.allowWorse = allowWorse
        self.to = to
        self.statement = statement
        self.expectedIndex = expectedIndex
        self.dryRun = dryRun
    }
}

/// The answer to a request that changes something; refusals are `ErrorReport`s.
public struct MutationResult: Codable, Equatable, Sendable {
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// It is committed; false for a dry run.
    public var accepted: Bool
    /// The log index of the commit; zero for a dry run or when nothing had to change.
    public var index: UInt64
    /// What was decided.
    public var sentence: String
    /// How the configuration changed, one sentence each.
    public var changes: [String]
    /// What follows from it.
    public var actions: [PlanReport.Action]
    /// What does no harm yet but should be looked at.
    public var warnings: [String]
    /// What a person must type to sign for it, if it needs a signature.
    public var statement: String?
    /// What a person should know who signs for it, one sentence each.
    public var facts: [String]?
    /// What goes down.
    public var interruptions: [PlanReport.Interruption] = []
    /// What is no longer there.
    public var removals: [String] = []
    /// What becomes of the votes, if the change is about them.
    public var survival: SurvivalReport?
    /// Groups that the change touches: `--wait` waits for these.
    public var touched: [String] = []
    /// All fields.
    public init(
        apiVersion: Int = 1, accepted: Bool, index: UInt64 = 0, sentence: String, changes: [String] = [],
        actions: [PlanReport.Action] = [], warnings: [String] = [], statement: String? = nil
    ) {
        self.apiVersion = apiVersion
        self.accepted = accepted
        self.index = index
        self.sentence = sentence
        self.changes = changes
        self.actions = actions
        self.warnings = warnings
        self.statement = statement
    }
}

/// The configuration in force.
public struct PolicyReport: Codable, Equatable, Sendable {
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The document in canonical form.
    public var text: String
    /// Its log index.
    public var index: UInt64
    /// All fields.
    public init(apiVersion: Int = 1, text: String, index: UInt64) {
        self.apiVersion = apiVersion
        self.text = text
        self.index = index
    }
}

/// The join tokens of the answering node that are still good.
public struct TokensReport: Codable, Equatable, Sendable {
    /// One of them; the secret is kept nowhere.
    public struct Token: Codable, Equatable, Sendable {
        /// What `holdfast token revoke` calls it.
        public var id: String
        /// How long it is still valid.
        public var validSeconds: UInt64
        /// The only node that it can let in, once it was used for one.
        public var node: String?
        /// All fields.
        public init(id: String, validSeconds: UInt64, node: String? = nil) {
            self.id = id
            self.validSeconds = validSeconds
            self.node = node
        }
    }
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The node that made them, and alone takes them.
    public var node: String
    /// Oldest first.
    public var tokens: [Token]
    /// All fields.
    public init(apiVersion: Int = 1, node: String, tokens: [Token]) {
        self.apiVersion = apiVersion
        self.node = node
        self.tokens = tokens
    }
}

/// A one-time join token.
public struct TokenReport: Codable, Equatable, Sendable {
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// What to pass to `holdfast join`.
    public var token: String
    /// How long it is valid.
    public var validSeconds: UInt64
    /// All fields.
    public init(apiVersion: Int = 1, token: String, validSeconds: UInt64) {
        self.apiVersion = apiVersion
        self.token = token
        self.validSeconds = validSeconds
    }
}
