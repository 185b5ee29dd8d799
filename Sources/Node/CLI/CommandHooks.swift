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
    /// The state directory.
    public var directory: String
}

/// What `holdfast daemon` was told.
public struct DaemonOptions: Equatable, Sendable {
    /// The state directory.
    public var directory: String
    /// The run directory.
    public var runDirectory: String
}

/// What `holdfast volume-server` was told: the words after it, for the volume server to read.
public struct VolumeServerCommandOptions: Equatable, Sendable {
    /// The words.
    public var arguments: [String]
}

/// What `holdfast guard` was told: the words after it, for the guard to read.
public struct GuardOptions: Equatable, Sendable {
    /// The words.
    public var arguments: [String]
}

/// What the command line does not do itself. Errors are printed as they describe themselves; throw `APIFailure` for
/// an exit code other than 1.
public struct CommandHooks: Sendable {
    /// Makes this machine the first node of a new cluster.
    public var initialize: @Sendable (NodeInitOptions) async throws -> Void
    /// Makes this machine a node of a cluster that is there.
    public var join: @Sendable (NodeJoinOptions) async throws -> Void
    /// Runs the daemon in the foreground until it is told to stop.
    public var daemon: @Sendable (DaemonOptions) async throws -> Void
    /// Runs one volume server.
    public var volumeServer: @Sendable (VolumeServerCommandOptions) async throws -> Void
    /// Runs the guard.
    public var guardProcess: @Sendable (GuardOptions) async throws -> Void

    /// Hooks that do the work.
    public init(
        initialize: @escaping @Sendable (NodeInitOptions) async throws -> Void,
        join: @escaping @Sendable (NodeJoinOptions) async throws -> Void,
        daemon: @escaping @Sendable (DaemonOptions) async throws -> Void,
        volumeServer: @escaping @Sendable (VolumeServerCommandOptions) async throws -> Void,
        guardProcess: @escaping @Sendable (GuardOptions) async throws -> Void
    ) {
        self.initialize = initialize
        self.join = join
        self.daemon = daemon
        self.volumeServer = volumeServer
        self.guardProcess = guardProcess
    }

    /// Hooks that refuse: for a build of the command line alone.
    public static let unavailable = CommandHooks(
        initialize: { _ in throw Self.missing("init") }, join: { _ in throw Self.missing("join") },
        daemon: { _ in throw Self.missing("daemon") }, volumeServer: { _ in throw Self.missing("volume-server") },
        guardProcess: { _ in throw Self.missing("guard") })

    private static func missing(_ command: String) -> APIFailure {
        APIFailure(.error, "this build has no `\(command)`", remedy: "use the complete `holdfast` binary")
    }
}
