import Basis

/// What the operator wants: the one versioned document of the cluster, `cluster.yaml` in structured form.
///
/// Nodes are not part of it: they enter the log by `init` and `join`. Groups and volumes name them.
public struct ClusterPolicy: Equatable, Sendable {
    /// The cluster's name; set by `init`, and never changed by `apply`.
    public var name: String
    /// Lease and detection times.
    public var timing: Timing
    /// The sites in which a node should lead, the most preferred first; empty where it does not matter. (Rule C11)
    public var leaderSites: [String]
    /// Mirrored block devices, sorted by name.
    public var volumes: [VolumePolicy]
    /// Units of failover, sorted by name.
    public var groups: [GroupPolicy]

    /// A policy from its parts; volumes and groups are sorted by name.
    public init(
        name: String, timing: Timing = .standard, volumes: [VolumePolicy] = [], groups: [GroupPolicy] = [],
        leaderSites: [String] = []
    ) {
        self.name = name
        self.leaderSites = leaderSites
        self.timing = timing
        self.volumes = volumes.sorted { $0.name < $1.name }
        self.groups = groups.sorted { $0.name < $1.name }
    }

    /// The group of this name.
    public func group(_ name: GroupName) -> GroupPolicy? {
        self.groups.place(of: name, by: \.name).map { self.groups[$0] }
    }
    /// The volume of this name.
    public func volume(_ name: VolumeName) -> VolumePolicy? {
        self.volumes.place(of: name, by: \.name).map { self.volumes[$0] }
    }
}

/// Lease and detection times. Relations between them (rule L13) are checked by `problems`.
public struct Timing: Equatable, Sendable {
    /// D: a renewal that a majority answered gives the lease until its send time plus this.
    public var leaseDuration: Span
    /// G: within this after the end of its lease everything of a node is surely dead.
    public var leaseGrace: Span
    /// p: how often a node renews.
    public var renewalInterval: Span
    /// Silence beyond this, reported by a majority, makes the leader suspect a node.
    public var detection: Span
    /// ρ: the bound on the error of clock rates, in parts per million.
    public var clockRateErrorPartsPerMillion: UInt64
    /// K: what the guard needs at most to kill everything of a node. At most `leaseGrace`.
    public var guardKill: Span
    /// R: what a restart of the daemon takes at most.
    public var daemonRestart: Span

    /// The defaults: about 2.5 s from silence to takeover, for round trips up to 300 ms.
    public static let standard = Timing(
        leaseDuration: .milliseconds(1750), leaseGrace: .milliseconds(750), renewalInterval: .milliseconds(200),
        detection: .milliseconds(700), clockRateErrorPartsPerMillion: 1000, guardKill: .milliseconds(500),
        daemonRestart: .milliseconds(1000))

    /// All times at once.
    public init(
        leaseDuration: Span, leaseGrace: Span, renewalInterval: Span, detection: Span,
        clockRateErrorPartsPerMillion: UInt64, guardKill: Span, daemonRestart: Span
    ) {
        self.leaseDuration = leaseDuration
        self.leaseGrace = leaseGrace
        self.renewalInterval = renewalInterval
        self.detection = detection
        self.clockRateErrorPartsPerMillion = clockRateErrorPartsPerMillion
        self.guardKill = guardKill
        self.daemonRestart = daemonRestart
    }

    /// T ≥ (D+G)(1+ρ)/(1−ρ): how long others wait after their last answer before a node is `lost`. (Rule L6)
    ///
    /// `grace` is the longest G that the node may still go by; never less than this policy's.
    public func wait(forLease duration: Span, grace: Span = .zero) -> Span {
        // (1+ρ)/(1−ρ) < 1+3ρ for every ρ below a third.
        (duration + max(grace, self.leaseGrace)).lengthened(partsPerMillion: 3 * self.clockRateErrorPartsPerMillion)
    }

    /// Every relation of rule L13 that does not hold, as sentences; empty when all hold.
    public var problems: [String] {
        var found: [String] = []
        if !(self.leaseDuration > self.renewalInterval * 3) {
            found.append(
                "lease (\(self.leaseDuration.words)) must exceed three renewals (\((self.renewalInterval * 3).words)), "
                    + "so that two lost renewals do no harm")
        }
        if !(self.daemonRestart + self.renewalInterval < self.leaseDuration) {
            found.append(
                "lease (\(self.leaseDuration.words)) must exceed daemonRestart + renewal "
                    + "(\((self.daemonRestart + self.renewalInterval).words)), so that an upgrade stops nothing")
        }
        if !(self.renewalInterval * 2 < self.detection) {
            found.append(
                "detection (\(self.detection.words)) must exceed two renewals (\((self.renewalInterval * 2).words)), "
                    + "or one lost packet would look like a dead node")
        }
        if !(self.detection < self.wait(forLease: self.leaseDuration)) {
            found.append(
                "detection (\(self.detection.words)) must be shorter than the wait before takeover "
                    + "(\(self.wait(forLease: self.leaseDuration).words))")
        }
        if self.guardKill > self.leaseGrace {
            found.append("guardKill (\(self.guardKill.words)) must fit into grace (\(self.leaseGrace.words))")
        }
        return found
    }
}

/// A mirrored block device.
public struct VolumePolicy: Equatable, Sendable {
    /// One copy: which node holds it and where.
    public struct Replica: Equatable, Sendable {
        /// The node's name.
        public var node: String
        /// A file (created at the right size when missing) or a block device.
        public var backing: String
        /// The address that this node's volume server listens on for its peers, `HOST:PORT`.
        public var address: String
        /// A copy from its parts.
        public init(node: String, backing: String, address: String) {
            self.node = node
            self.backing = backing
            self.address = address
        }
    }
    /// The volume's name.
    public var name: VolumeName
    /// The exported size, a multiple of 4096.
    public var sizeBytes: UInt64
    /// The copies, in the order written.
    public var replicas: [Replica]
    /// An upper bound for resync traffic; nil means none.
    public var resyncBytesPerSecond: UInt64?
    /// A volume from its parts.
    public init(name: VolumeName, sizeBytes: UInt64, replicas: [Replica], resyncBytesPerSecond: UInt64? = nil) {
        self.name = name
        self.sizeBytes = sizeBytes
        self.replicas = replicas
        self.resyncBytesPerSecond = resyncBytesPerSecond
    }
}

/// How another node may start a group before its old owner is known to have stopped.
public enum Takeover: String, Sendable, CaseIterable {
    /// Wait until the old owner's lease has certainly ended. SingleOwner holds for anything.
    case afterLease = "after-lease"
    /// Start at once on suspicion. Volumes stay safe by epoch; an address may answer twice for a moment.
    case immediate
}

/// A unit of failover: resources that live and move together.
public struct GroupPolicy: Equatable, Sendable {
    /// The group's name.
    public var name: GroupName
    /// Node names that may run it, most preferred first.
    public var nodes: [String]
    /// How it may start elsewhere.
    public var takeover: Takeover
    /// Move back by itself when a more preferred node is healthy again.
    public var failback: Bool
    /// Failed resources are restarted in place this many times within `restartWindow`, then the group moves.
    public var restartAttempts: Int
    /// The window in which restarts are counted.
    public var restartWindow: Span
    /// After this many moves within `moveWindow` the group parks. (NoFlap)
    public var maximumMoves: Int
    /// The window in which moves are counted.
    public var moveWindow: Span
    /// How long it waits at most for what a node that lost it cannot kill, while that node says so. (Rule L12.3)
    public var undeadWait = GroupPolicy.standardUndeadWait
    /// The default of `undeadWait`: a process that hangs in the kernel does nothing of its own any more.
    public static let standardUndeadWait = Span.seconds(60)
    /// In start order; stopped in reverse.
    public var resources: [ResourcePolicy]

    /// A group from its parts.
    public init(
        name: GroupName, nodes: [String], takeover: Takeover = .afterLease, failback: Bool = false,
        restartAttempts: Int = 3, restartWindow: Span = .seconds(600), maximumMoves: Int = 6,
        moveWindow: Span = .seconds(3600), resources: [ResourcePolicy]
    ) {
        self.name = name
        self.nodes = nodes
        self.takeover = takeover
        self.failback = failback
        self.restartAttempts = restartAttempts
        self.restartWindow = restartWindow
        self.maximumMoves = maximumMoves
        self.moveWindow = moveWindow
        self.resources = resources
    }

    /// The volumes that its `volume` resources promote, sorted.
    public var volumes: [VolumeName] {
        self.resources.compactMap(\.kind.openedVolume).sorted()
    }
}

/// One thing that is kept running.
public struct ResourcePolicy: Equatable, Sendable {
    /// Its name, unique within the group.
    public var name: ResourceName
    /// `exec`, `address`, `filesystem`, `volume`, or `ocf:PROVIDER:TYPE`.
    public var agent: String { didSet { self.decideKind() } }
    /// What the agent is told, sorted by key.
    public var parameters: [Parameter] { didSet { self.decideKind() } }
    /// What agent and parameters mean.
    public private(set) var kind: ResourceKind
    /// The time a start may take.
    public var startTimeout: Span
    /// The time a stop may take before everything of the group is killed.
    public var stopTimeout: Span
    /// The time between checks; zero means no checks.
    public var monitorInterval: Span
    /// The time a check may take before it counts as failed.
    public var monitorTimeout: Span
    /// The operator says that a kill ends all of it, though its agent may keep more than processes. (`killable: true`)
    public var isDeclaredKillable = false

    /// A key and its value.
    public struct Parameter: Equatable, Sendable {
        /// The key as written.
        public var key: String
        /// The value as text.
        public var value: String
        /// `value` is the path of a file on the node. What is in it is read there at each call and told to the agent alone:
        /// it is in no log, plan, event or message.
        public var isFile: Bool
        /// A key and its value.
        public init(_ key: String, _ value: String, isFile: Bool = false) {
            self.key = key
            self.value = value
            self.isFile = isFile
        }
    }

    /// A resource from its parts; parameters are sorted by key.
    public init(
        name: ResourceName, agent: String, parameters: [Parameter] = [], startTimeout: Span = .seconds(60),
        stopTimeout: Span = .seconds(60), monitorInterval: Span = .seconds(5), monitorTimeout: Span = .seconds(20)
    ) {
        self.name = name
        self.agent = agent
        self.parameters = parameters.sorted { $0.key < $1.key }
        self.kind = ResourceKind(agent: agent, parameters: parameters)
        self.startTimeout = startTimeout
        self.stopTimeout = stopTimeout
        self.monitorInterval = monitorInterval
        self.monitorTimeout = monitorTimeout
    }

    private mutating func decideKind() { self.kind = ResourceKind(agent: self.agent, parameters: self.parameters) }

    /// The value of a parameter.
    public func parameter(_ key: String) -> String? { self.parameters.first { $0.key == key }?.value }
}

extension ResourcePolicy {
    /// Whether what runs under one may go on under the other: all but the times agree.
    package func runsTheSame(as other: ResourcePolicy) -> Bool {
        self.name == other.name && self.agent == other.agent && self.parameters == other.parameters
    }

    /// How many resources at the start may go on.
    package static func commonStart(_ left: [ResourcePolicy], _ right: [ResourcePolicy]) -> Int {
        zip(left, right).prefix { $0.runsTheSame(as: $1) }.count
    }
}
