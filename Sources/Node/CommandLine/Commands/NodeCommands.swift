import API
import ArgumentParser
import Basis
import ClusterConfiguration
import Reports

/// `holdfast node …`.
struct NodeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node", abstract: "Take nodes out of service and back, add, change, replace and remove them.",
        subcommands: [
            Drain.self, Undrain.self, ExpectPause.self, Original.self, ShutDown.self, Add.self, Set.self, Replace.self,
            Remove.self,
        ])

    /// `holdfast node expect-pause`.
    struct ExpectPause: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Say that a node will be silent for a while, such as at the end of a migration: nothing is taken over.",
            discussion: """
                Its lease ends as ever, so what it runs may be stopped there and started again; but nobody else starts it \
                before that time is over. A node that dies instead is taken over from as late as that. If it leads, another \
                one will. It ends by itself, with the node's next life, and with --cancel.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @Option(name: .customLong("for"), help: "How long at most, such as 20s; up to 5m.") var length: String?
        @Flag(help: "It is over, or will not come.") var cancel = false
        @Argument(help: "The node.") var node: String

        func validate() throws {
            guard (self.length != nil) != self.cancel else {
                throw ValidationError("say how long with `--for 20s`, or that it is over with --cancel.")
            }
            guard let length = self.length else { return }
            guard let span = Quantities.span(length), span > .zero else {
                throw ValidationError("`--for \(length)` is not a length of time; write it like 20s or 2m.")
            }
        }

        func run() async throws {
            let client = self.connection.client
            let names = try await client.status().nodes.map(\.name)
            let name = try Names.resolve(self.node, among: names, kind: "node")
            let result = try await client.nodeExpectPause(
                name,
                MutationRequest(
                    expectedIndex: self.options.index, dryRun: self.options.dryRun,
                    milliseconds: self.length.flatMap { Quantities.span($0)?.milliseconds } ?? 0))
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }

    /// `holdfast node drain`.
    struct Drain: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move every group away from a node and keep them away, for maintenance.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @OptionGroup var waiting: WaitOptions
        @Argument(help: "The node.") var node: String

        func run() async throws {
            let client = self.connection.client
            let report = try await client.status()
            let name = try Names.resolve(self.node, among: report.nodes.map(\.name), kind: "node")
            let owned = report.groups.filter { $0.owner == name }.map(\.name)
            let effect = owned.isEmpty ? "runs no group now" : "runs \(Suggestion.list(owned)), which will move"
            try self.confirm(
                "\(name) \(effect). Groups stay away until `holdfast node undrain \(name)`.", self.options)
            let result = try await client.nodeDrain(
                name, MutationRequest(expectedIndex: self.options.index, dryRun: self.options.dryRun))
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
            guard self.waiting.wait, result.accepted else { return }
            try await Waiting(
                client: client, console: self.console, timeoutMilliseconds: self.waiting.timeoutMilliseconds,
                afterIndex: result.index
            ).until("the drain of \(name)", volumes: { $0.volumes }) { report in
                guard let left = report.groups.first(where: { $0.owner == name }) else { return .done }
                return .notYet(
                    "\(left.name) is \(left.state.rawValue) on \(name)"
                        + (left.reason.isEmpty ? "" : ": \(left.reason)"))
            }
        }
    }

    /// `holdfast node undrain`.
    struct Undrain: ConversingCommand {
        static let configuration = CommandConfiguration(abstract: "Let groups come to a drained node again.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @Argument(help: "The node.") var node: String

        func run() async throws {
            let client = self.connection.client
            let name = try Names.resolve(
                self.node, among: try await client.status().nodes.map(\.name), kind: "node")
            let result = try await client.nodeUndrain(
                name, MutationRequest(expectedIndex: self.options.index, dryRun: self.options.dryRun))
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }
}

/// `holdfast leader …`.
struct LeaderCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leader", abstract: "Hand leadership over.", subcommands: [Transfer.self])

    /// `holdfast leader transfer`.
    struct Transfer: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Hand leadership to another voter. Services do not notice.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @OptionGroup var waiting: WaitOptions
        @Option(help: "The node to lead; without it the best one.") var to: String?

        func run() async throws {
            let client = self.connection.client
            let report = try await client.status()
            let target = try self.to.map { try Names.resolve($0, among: report.nodes.map(\.name), kind: "node") }
            let leader = report.leader
            try self.confirm(
                "\(leader ?? "No node") leads now; \(target ?? "the best other voter") will.", self.options)
            let result = try await client.leaderTransfer(
                MutationRequest(to: target, expectedIndex: self.options.index, dryRun: self.options.dryRun))
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
            guard self.waiting.wait, result.accepted else { return }
            var waiting = Waiting(
                client: client, console: self.console, timeoutMilliseconds: self.waiting.timeoutMilliseconds,
                afterIndex: result.index)
            // A leader gives a transfer up after an election timeout, for a target that is behind or away just then.
            waiting.askAgain = { _ = try await client.leaderTransfer(MutationRequest(to: target)) }
            try await waiting.until("the transfer of leadership") { report in
                guard let now = report.leader else { return .notYet("there is no leader") }
                let done = target.map { $0 == now } ?? (now != leader)
                return done ? .done : .notYet("\(now) leads")
            }
        }
    }
}
