import API
import ArgumentParser
import Basis
import FoundationEssentials
import Reports

/// `holdfast group …`.
struct GroupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "group", abstract: "Move, start and stop groups.",
        subcommands: [Move.self, Start.self, Stop.self, ConfirmStopped.self])

    /// `holdfast group move`.
    struct Move: ConversingCommand {
        static let configuration = CommandConfiguration(abstract: "Move a group to another node.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @OptionGroup var waiting: WaitOptions
        @Argument(help: "The group.") var group: String
        @Option(help: "The node to move it to; without it the best one.") var to: String?

        func run() async throws {
            let client = self.connection.client
            let report = try await client.status()
            let name = try Names.resolve(self.group, among: report.groups.map(\.name), kind: "group")
            let target = try self.to.map { try Names.resolve($0, among: report.nodes.map(\.name), kind: "node") }
            let owner = report.groups.first { $0.name == name }?.owner
            try self.confirm(
                "This stops \(name) on \(owner ?? "no node") and starts it on \(target ?? "the best other node").",
                self.options)
            let request = MutationRequest(
                to: target, expectedIndex: self.options.index, dryRun: self.options.dryRun)
            let result: MutationResult
            do {
                result = try await client.groupMove(name, request)
            } catch let failure as APIFailure where failure.code == .refused {
                throw await self.explained(failure, target, client)
            }
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
            guard self.waiting.wait, result.accepted else { return }
            try await Waiting(
                client: client, console: self.console, timeoutMilliseconds: self.waiting.timeoutMilliseconds,
                afterIndex: result.index
            ).until("the move of \(name)", volumes: { $0.volumes }) { report in
                Waiting.move(name, to: target, from: owner, in: report)
            }
        }

        /// Says how far the comparison of a copy on the target is, if that is what a move has to wait for.
        private func explained(_ failure: APIFailure, _ target: String?, _ client: APIClient) async -> APIFailure {
            var progress = ResyncProgress(console: self.console)
            var found: [VolumeReport] = []
            for look in 0..<2 {
                guard let report = try? await client.status() else { return failure }
                found = report.volumes.compactMap { volume in
                    guard failure.message.contains(volume.name) else { return nil }
                    var volume = volume
                    volume.replicas.removeAll { $0.node != target || $0.inSync || $0.resyncTotalBytes == 0 }
                    return volume.replicas.isEmpty ? nil : volume
                }
                if found.isEmpty { return failure }
                let lines = progress.lines(found, at: self.console.milliseconds())
                if look == 1 {
                    var failure = failure
                    failure.details += lines
                    failure.remedy =
                        "`holdfast volume wait \(found[0].name)` returns when it is done; move the group then"
                    return failure
                }
                try? await self.console.pause(1200)
            }
            return failure
        }
    }

    /// `holdfast group start`.
    struct Start: ConversingCommand {
        static let configuration = CommandConfiguration(abstract: "Let a stopped, parked or failed group run again.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @OptionGroup var waiting: WaitOptions
        @Argument(help: "The group.") var group: String
        @Flag(
            help: "Sign that nothing of a group that never ran runs where that is not proven; shows first what is not.")
        var declareAbsent = false
        @Option(help: "What you sign with --declare-absent, in your words; with --yes nothing is asked.")
        var statement: String?

        func run() async throws {
            let client = self.connection.client
            let name = try Names.resolve(
                self.group, among: try await client.status().groups.map(\.name), kind: "group")
            let result =
                self.declareAbsent
                ? try await self.sign(name, client)
                : try await client.groupStart(
                    name, MutationRequest(expectedIndex: self.options.index, dryRun: self.options.dryRun))
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
            guard self.waiting.wait, result.accepted else { return }
            try await Waiting(
                client: client, console: self.console, timeoutMilliseconds: self.waiting.timeoutMilliseconds,
                afterIndex: result.index
            ).until("the start of \(name)") { Waiting.group(name, .running, owner: nil, in: $0) }
        }

        /// Shows what is not proven, and takes the operator's word: typed, or with `--yes` and `--statement`.
        private func sign(_ name: String, _ client: APIClient) async throws -> MutationResult {
            let shown = try await client.groupDeclareAbsent(
                name, MutationRequest(expectedIndex: self.options.index, dryRun: true))
            if self.options.dryRun { return shown }
            var signed = self.statement
            if !self.options.yes || signed == nil {
                let remedy = "look there, then give --yes and --statement \"WHAT YOU SAW\""
                guard self.console.isInteractive else {
                    throw APIFailure(.refused, "\(shown.sentence); nobody has signed", remedy: remedy)
                }
                let wanted = "nothing of \(name) runs there"
                self.console.writeError(
                    "\(shown.sentence).\nIf it does, it will run twice. Look there; then type `\(wanted)`: ")
                guard self.console.readAnswer()?.trimmed == wanted else {
                    throw APIFailure(.error, "nothing was changed", remedy: "type the sentence as it stands there")
                }
                signed = signed ?? wanted
            }
            return try await client.groupDeclareAbsent(
                name, MutationRequest(statement: signed, expectedIndex: self.options.index))
        }
    }

    /// `holdfast group stop`.
    struct Stop: ConversingCommand {
        static let configuration = CommandConfiguration(abstract: "Stop a group until `group start`.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @OptionGroup var waiting: WaitOptions
        @Argument(help: "The group.") var group: String

        func run() async throws {
            let client = self.connection.client
            let name = try Names.resolve(
                self.group, among: try await client.status().groups.map(\.name), kind: "group")
            try self.confirm(
                "This stops \(name); it stays stopped until `holdfast group start \(name)`.", self.options)
            let result = try await client.groupStop(
                name, MutationRequest(expectedIndex: self.options.index, dryRun: self.options.dryRun))
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
            guard self.waiting.wait, result.accepted else { return }
            try await Waiting(
                client: client, console: self.console, timeoutMilliseconds: self.waiting.timeoutMilliseconds,
                afterIndex: result.index
            ).until("the stop of \(name)") { Waiting.group(name, .stopped, owner: nil, in: $0) }
        }
    }
}
