/// What `holdfast init` was told.
public struct NodeInitOptions: Equatable, Sendable {
    /// The new cluster's name.
    public var cluster: String
    /// This node's name.
    public var name: String
    /// This node's site.
    public var site: String
    /// Where its daemon listens, `HOST:PORT`.
    public var address: String
    /// What it may do.
    public var role: NodeReport.Role
    /// The state directory.
    public var directory: String

    /// All fields.
    public init(
        cluster: String, name: String, site: String, address: String, role: NodeReport.Role, directory: String
    ) {
        self.cluster = cluster
        self.name = name
        self.site = site
        self.address = address
        self.role = role
        self.directory = directory
    }
}

/// What `holdfast join` was told.
public struct NodeJoinOptions: Equatable, Sendable {
    /// The one-time token.
    public var token: String
    /// This node's name.
    public var name: String
    /// This node's site.
    public var site: String
    /// Where its daemon listens, `HOST:PORT`.
    public var address: String
    /// What it may do.
    public var role: NodeReport.Role
    /// It takes the place of the lost node of its name. (Rule J3)
    public var isReplacement: Bool
    /// The state directory.
    public var directory: String

    /// All fields.
    public init(
        token: String, name: String, site: String, address: String, role: NodeReport.Role, isReplacement: Bool = false,
        directory: String
    ) {
        self.isReplacement = isReplacement
        self.token = token
        self.name = name
        self.site = site
        self.address = address
        self.role = role
        self.directory = directory
    }
}

/// What `holdfast listen` was told.
public struct ListenOptions: Equatable, Sendable {
    /// Where the daemon is to listen, `HOST:PORT`.
    public var address: String
    /// The state directory.
    public var directory: String
    /// The run directory.
    public var runDirectory: String

    /// All fields.
    public init(address: String, directory: String, runDirectory: String) {
        self.address = address
        self.directory = directory
        self.runDirectory = runDirectory
    }
}

/// What `holdfast daemon` was told.
public struct DaemonOptions: Equatable, Sendable {
    /// The state directory.
    public var directory: String
    /// The run directory.
    public var runDirectory: String

    /// All fields.
    public init(directory: String, runDirectory: String) {
        self.directory = directory
        self.runDirectory = runDirectory
    }
}

/// What `holdfast volume-server` was told: the words after it, for the volume server to read.
public struct VolumeServerCommandOptions: Equatable, Sendable {
    /// The words.
    public var arguments: [String]

    /// All fields.
    public init(arguments: [String]) {
        self.arguments = arguments
    }
}

/// What `holdfast guard` was told: the words after it, for the guard to read.
public struct GuardOptions: Equatable, Sendable {
    /// The words.
    public var arguments: [String]

    /// All fields.
    public init(arguments: [String]) {
        self.arguments = arguments
    }
}

/// What `holdfast cluster restore` is told.
public struct RestoreOptions: Equatable, Sendable {
    /// The backup.
    public var file: String
    /// This node's name: of a node of the earlier cluster, or a new one.
    public var name: String
    /// This node's site.
    public var site: String
    /// Where its daemon listens, `HOST:PORT`.
    public var address: String
    /// The state directory.
    public var directory: String
    /// Only say what it would be.
    public var isDryRun: Bool

    /// All fields.
    public init(file: String, name: String, site: String, address: String, directory: String, isDryRun: Bool) {
        self.file = file
        self.name = name
        self.site = site
        self.address = address
        self.directory = directory
        self.isDryRun = isDryRun
    }
}
