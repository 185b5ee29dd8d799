import Reports

/// What the command line does not do itself. Errors are printed as they describe themselves; throw `APIFailure` for
/// an exit code other than 1.
public struct CommandHooks: Sendable {
    /// Makes this machine the first node of a new cluster.
    public var initialize: @Sendable (NodeInitOptions) async throws -> Void
    /// Makes this machine a node of a cluster that is there.
    public var join: @Sendable (NodeJoinOptions) async throws -> Void
    /// Makes this machine the first node of a cluster that begins with a backup, or says what that would be.
    public var restore: @Sendable (RestoreOptions) async throws -> RestoreReport
    /// Changes where the daemon of this machine listens; returns the address in its usual form.
    public var listen: @Sendable (ListenOptions) async throws -> String
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
        restore: @escaping @Sendable (RestoreOptions) async throws -> RestoreReport,
        listen: @escaping @Sendable (ListenOptions) async throws -> String,
        daemon: @escaping @Sendable (DaemonOptions) async throws -> Void,
        volumeServer: @escaping @Sendable (VolumeServerCommandOptions) async throws -> Void,
        guardProcess: @escaping @Sendable (GuardOptions) async throws -> Void
    ) {
        self.initialize = initialize
        self.join = join
        self.restore = restore
        self.listen = listen
        self.daemon = daemon
        self.volumeServer = volumeServer
        self.guardProcess = guardProcess
    }

    /// Hooks that refuse: for a build of the command line alone.
    public static let unavailable = CommandHooks(
        initialize: { _ in throw Self.missing("init") }, join: { _ in throw Self.missing("join") },
        restore: { _ in throw Self.missing("cluster restore") }, listen: { _ in throw Self.missing("listen") },
        daemon: { _ in throw Self.missing("daemon") }, volumeServer: { _ in throw Self.missing("volume-server") },
        guardProcess: { _ in throw Self.missing("guard") })

    private static func missing(_ command: String) -> APIFailure {
        APIFailure(.error, "this build has no `\(command)`", remedy: "use the complete `holdfast` binary")
    }
}
