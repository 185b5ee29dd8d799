import API
import ArgumentParser
import Basis
import ClusterConfiguration
import FoundationEssentials
import Host
import Reports

extension NodeCommand {
    /// `holdfast node shutdown`.
    struct ShutDown: ConversingCommand {
        static let configuration = CommandConfiguration(
            commandName: "shutdown",
            abstract: "Move or stop what this node runs, in order, before its daemon or its machine ends.",
            discussion: """
                The unit holdfast.service runs it when it is stopped, so a reboot, a poweroff and `systemctl stop holdfast` \
                are planned moves. What no other node may run is stopped. Groups come back when the daemon is started \
                again. Returns 7 when something still runs after --timeout.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @Option(help: "How long to wait, such as 80s.") var timeout = "80s"
        @Option(
            name: .customLong("unless-restarting"),
            help: "Do nothing when systemd is about to start this unit again: a restart stops no service.")
        var unit: String?

        func validate() throws {
            guard let span = Quantities.span(self.timeout), span > .zero else {
                throw ValidationError("`--timeout \(self.timeout)` is not a length of time; write it like 90s or 10m.")
            }
        }

        func run() async throws {
            let limit = Quantities.span(self.timeout)?.milliseconds ?? 80_000
            if let unit = self.unit, ServiceManager.isRestarting(unit) {
                return try self.print(
                    MutationResult(accepted: false, sentence: "\(unit) is being restarted: what runs here goes on"),
                    text: "\(unit) is being restarted: what runs here goes on.\n")
            }
            let client = self.connection.client
            let report = try await client.status()
            let name = report.servedBy
            let owned = report.groups.filter { $0.owner == name }.map(\.name)
            let effect = owned.isEmpty ? "runs no group now" : "runs \(Suggestion.list(owned)), which will move or stop"
            try self.confirm("\(name) \(effect).", self.options)
            let start = self.console.milliseconds()
            while true {
                let result = try await client.nodeShutDown(name, MutationRequest(dryRun: self.options.dryRun))
                if result.accepted || self.options.dryRun {
                    return try self.print(result, text: "\(result.sentence).\n")
                }
                guard self.console.milliseconds() - start < limit else {
                    throw APIFailure(
                        .timeout, "\(name) is not empty after \(self.timeout): \(result.sentence)",
                        remedy:
                            "what still runs is killed at the end of the lease; see `holdfast status` on another node")
                }
                try await self.console.pause(100)
            }
        }
    }
}
