/// How the cluster stands, as the node that answers knows it.
public struct StatusReport: Codable, Equatable, Sendable {
    /// An overall judgement; the words are those of the command line.
    public enum Health: String, Codable, Sendable, CaseIterable {
        /// Every group runs and every promised failure can be survived.
        case healthy
        /// Services run, but something is missing.
        case degraded
        /// At least one group that should run does not.
        case down
        /// No majority of voters answers: nothing can be decided.
        case noQuorum
    }
    /// The version of this form; grows when a field changes its meaning.
    public var apiVersion: Int
    /// The cluster's name.
    public var cluster: String
    /// The overall judgement.
    public var health: Health
    /// The judgement as one sentence: `3 of 3 nodes up, any one may fail`.
    public var healthSentence: String
    /// Why the health is not better, worst first; empty when healthy.
    public var reasons: [String]
    /// The node that answered.
    public var servedBy: String
    /// The age of the answer: seconds since this node last heard from a leader with a majority.
    public var servedAgeSeconds: Double
    /// The leader's node name, if one is known.
    public var leader: String?
    /// The consensus term.
    public var term: UInt64
    /// The last committed log index that this node knows.
    public var commitIndex: UInt64
    /// The log index of the applied configuration: what `apply --index` compares with.
    public var policyIndex: UInt64
    /// A majority of voters answers.
    public var hasQuorum: Bool
    /// How many more nodes may fail, whichever they are, before services stop.
    public var survivesFailures: Int
    /// Seconds within which every group runs again after one failure, all start timeouts used up. (BoundedRecovery)
    public var boundSeconds: Double?
    /// Seconds after which every group usually runs again: as `boundSeconds`, with the time that its last start took.
    public var usualSeconds: Double?
    /// What does no harm yet but should be looked at.
    public var warnings: [String]
    /// Facts that limit a promise and need no action.
    public var notes: [String]
    /// The nodes, sorted by name.
    public var nodes: [NodeReport]
    /// The groups, sorted by name.
    public var groups: [GroupReport]
    /// The volumes, sorted by name.
    public var volumes: [VolumeReport]
    /// All fields.
    public init(
        apiVersion: Int = 1, cluster: String, health: Health, healthSentence: String, reasons: [String] = [],
        servedBy: String, servedAgeSeconds: Double, leader: String? = nil, term: UInt64, commitIndex: UInt64,
        policyIndex: UInt64 = 0, hasQuorum: Bool, survivesFailures: Int, boundSeconds: Double? = nil,
        usualSeconds: Double? = nil, warnings: [String] = [], notes: [String] = [], nodes: [NodeReport],
        groups: [GroupReport], volumes: [VolumeReport]
    ) {
        self.apiVersion = apiVersion
        self.cluster = cluster
        self.health = health
        self.healthSentence = healthSentence
        self.reasons = reasons
        self.servedBy = servedBy
        self.servedAgeSeconds = servedAgeSeconds
        self.leader = leader
        self.term = term
        self.commitIndex = commitIndex
        self.policyIndex = policyIndex
        self.hasQuorum = hasQuorum
        self.survivesFailures = survivesFailures
        self.boundSeconds = boundSeconds
        self.usualSeconds = usualSeconds
        self.warnings = warnings
        self.notes = notes
        self.nodes = nodes
        self.groups = groups
        self.volumes = volumes
    }
}
