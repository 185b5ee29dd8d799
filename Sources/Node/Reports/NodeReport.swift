/// One node in `StatusReport`.
public struct NodeReport: Codable, Equatable, Sendable {
    /// What a node may do.
    public enum Role: String, Codable, Sendable, CaseIterable {
        /// Runs services and votes.
        case member
        /// Votes and keeps the log, runs nothing.
        case witness
        /// Runs services and never votes.
        case observer
    }
    /// How the log sees a node.
    public enum State: String, Codable, Sendable, CaseIterable {
        /// Admitted, and answering.
        case up
        /// Silent for a majority; its lease is being waited for.
        case suspected
        /// Its lease has certainly ended.
        case lost
        /// Known to the log, never heard of since.
        case never
    }
    /// The node's name.
    public var name: String
    /// The site it is in.
    public var site: String
    /// What it may do.
    public var role: Role
    /// How the log sees it.
    public var state: State
    /// Where its daemon listens, `HOST:PORT`.
    public var address: String?
    /// Its current life: the log index of its admission; zero means none.
    public var incarnation: UInt64
    /// Seconds until its lease ends; only known for the node that answers.
    public var leaseRemainingSeconds: Double?
    /// Seconds since the answering node heard from it; nil for itself and when never heard.
    public var lastHeardSeconds: Double?
    /// It leads.
    public var isLeader: Bool
    /// An operator keeps groups away from it.
    public var drained: Bool
    /// Log entries that it still has to apply, as the leader knows it.
    public var appliedIndexLag: UInt64?
    /// Why it is in this state, as a sentence; empty when there is nothing to say.
    public var reason: String
    /// Seconds for which it has been in this state.
    public var sinceSeconds: Double?
    /// What operators put on it; nil without any.
    public var labels: [String: String]?
    /// What it runs of the product; nil from a build that does not say it, and while it is not heard.
    public var programs: ProgramsReport?
    /// All fields.
    public init(
        name: String, site: String, role: Role, state: State, address: String? = nil, incarnation: UInt64,
        leaseRemainingSeconds: Double? = nil, lastHeardSeconds: Double? = nil, isLeader: Bool = false,
        drained: Bool = false, appliedIndexLag: UInt64? = nil, reason: String, sinceSeconds: Double? = nil,
        labels: [String: String]? = nil, programs: ProgramsReport? = nil
    ) {
        self.programs = programs
        self.labels = labels
        self.name = name
        self.site = site
        self.role = role
        self.state = state
        self.address = address
        self.incarnation = incarnation
        self.leaseRemainingSeconds = leaseRemainingSeconds
        self.lastHeardSeconds = lastHeardSeconds
        self.isLeader = isLeader
        self.drained = drained
        self.appliedIndexLag = appliedIndexLag
        self.reason = reason
        self.sinceSeconds = sinceSeconds
    }
}

/// What a node runs of the product.
public struct ProgramsReport: Codable, Equatable, Sendable {
    /// A process that outlives the daemon that started it.
    public struct Helper: Codable, Equatable, Sendable {
        /// What it is, as `--version` says it; nil from a build that does not say it.
        public var version: String?
        /// It runs the very file that the daemon runs; else it is of a release before, or of a later one.
        public var isPresent: Bool
        /// Both fields.
        public init(version: String?, isPresent: Bool) {
            self.version = version
            self.isPresent = isPresent
        }
    }
    /// What the daemon is, as `--version` says it.
    public var version: String
    /// The highest feature level that it can do.
    public var featureLevel: UInt32
    /// The guard; nil on a witness.
    public var `guard`: Helper?
    /// The volume servers, by volume.
    public var volumeServers: [String: Helper]
    /// All fields.
    public init(version: String, featureLevel: UInt32, guard: Helper? = nil, volumeServers: [String: Helper] = [:]) {
        self.version = version
        self.featureLevel = featureLevel
        self.guard = `guard`
        self.volumeServers = volumeServers
    }
}
