/// What a cluster has agreed on, as one node knows it: what `holdfast cluster backup` writes, and `holdfast cluster restore` reads.
public struct BackupReport: Codable, Equatable, Sendable {
    /// The version of this form. (docs/formats.md)
    public var version: UInt32
    /// The cluster.
    public var cluster: String
    /// The node that answered.
    public var servedBy: String
    /// The last entry that is in it.
    public var index: UInt64
    /// The wall clock of that node, in milliseconds since 1970.
    public var takenMilliseconds: UInt64
    /// The release that made it.
    public var release: String
    /// What the cluster had agreed that all nodes can do.
    public var featureLevel: UInt32
    /// CRC-32C of what `state` says.
    public var checksum: UInt32
    /// The replicated state, as in a snapshot, in Base64.
    public var state: String
    /// All fields.
    public init(
        version: UInt32, cluster: String, servedBy: String, index: UInt64, takenMilliseconds: UInt64, release: String,
        featureLevel: UInt32, checksum: UInt32, state: String
    ) {
        self.version = version
        self.cluster = cluster
        self.servedBy = servedBy
        self.index = index
        self.takenMilliseconds = takenMilliseconds
        self.release = release
        self.featureLevel = featureLevel
        self.checksum = checksum
        self.state = state
    }
}

/// What `holdfast cluster restore` would do, or has done.
public struct RestoreReport: Codable, Equatable, Sendable {
    /// The cluster.
    public var cluster: String
    /// The last entry that is in the backup.
    public var index: UInt64
    /// When it was taken, in milliseconds since 1970.
    public var takenMilliseconds: UInt64
    /// The nodes of the earlier cluster whose names other machines may take, without the one that this machine takes; sorted.
    public var nodes: [String]
    /// Its groups, sorted: none is started.
    public var groups: [String]
    /// Its volumes, sorted: each waits for a signature.
    public var volumes: [String]
    /// All fields.
    public init(
        cluster: String, index: UInt64, takenMilliseconds: UInt64, nodes: [String], groups: [String], volumes: [String]
    ) {
        self.cluster = cluster
        self.index = index
        self.takenMilliseconds = takenMilliseconds
        self.nodes = nodes
        self.groups = groups
        self.volumes = volumes
    }
}
