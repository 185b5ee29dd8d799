import Basis
import CommandLine
import Daemon
import Reports

extension Driver {
    /// The hooks of the command line; `volumeServer` is handed in because the mirror brings it.
    public static func hooks(
        volumeServer: @escaping @Sendable (VolumeServerCommandOptions) async throws -> Void
    ) -> CommandHooks {
        CommandHooks(
            initialize: { try Founding.initialize($0) }, join: { try Founding.join($0) },
            restore: { try Founding.restore($0) }, listen: { try Founding.listen($0) },
            daemon: { try await Daemon.run($0) }, volumeServer: volumeServer,
            guardProcess: { try Self.runGuard($0.arguments) })
    }
}
