import API
import ArgumentParser
import Basis
import ClusterConfiguration
import Reports

/// Options of commands that may leave the cluster with less.
struct WorseOptions: ParsableArguments {
    @Flag(help: "Do it although fewer failures are survived afterwards.")
    var allowWorse = false
}

extension NodeCommand {
    /// `holdfast node set`.
    struct Set: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change what a node may do, its site, its address or its labels, while everything runs.",
            discussion: """
                A new address must be one of that machine. The node is found at its old one until it listens at the new one.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @OptionGroup var worse: WorseOptions
        @Argument(help: "The node.") var node: String
        @Option(help: "What it may do: member, witness (votes, and runs nothing), or observer (runs groups, no vote).")
        var role: NodeReport.Role?
        @Option(help: "The site it is in.") var site: String?
        @Option(help: "Where its peers reach it: HOST:PORT.") var address: String?
        @Option(name: .customLong("label"), help: "A label, NAME=VALUE; NAME= takes it off. May be repeated.")
        var labels: [String] = []

        func validate() throws {
            guard self.role != nil || self.site != nil || self.address != nil || !self.labels.isEmpty else {
                throw ValidationError("Say what should be different: --role, --site, --address or --label.")
            }
            if let wrong = self.labels.first(where: { !$0.contains("=") || $0.hasPrefix("=") }) {
                throw ValidationError("`--label \(wrong)` is not NAME=VALUE.")
            }
        }

        func run() async throws {
            let client = self.connection.client
            let report = try await client.status()
            let name = try Names.resolve(self.node, among: report.nodes.map(\.name), kind: "node")
            var labels: [String: String] = [:]
            for label in self.labels {
                let parts = label.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                labels[String(parts[0])] = String(parts[1])
            }
            var request = MutationRequest(
                expectedIndex: self.options.index, dryRun: true,
                node: NodeChangeRequest(
                    role: self.role, site: self.site, address: self.address, labels: labels.isEmpty ? nil : labels),
                allowWorse: self.worse.allowWorse)
            try await self.ask(client, request, self.options) { try await $0.nodeSet(name, $1) }
            request.dryRun = self.options.dryRun
            let result = try await client.nodeSet(name, request)
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }

    /// `holdfast node remove`.
    struct Remove: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take a node out of the cluster for good; its certificate opens nothing any more.",
            discussion: """
                The configuration must not name it any more. It loses its vote first, then its lease; when it has neither it \
                is no node any more, and may be switched off. `--cancel` keeps it, as long as it is one.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @OptionGroup var worse: WorseOptions
        @OptionGroup var waiting: WaitOptions
        @Argument(help: "The node.") var node: String
        @Flag(help: "Keep a node that is to leave and has not left yet.") var cancel = false

        func run() async throws {
            let client = self.connection.client
            let report = try await client.status()
            let name = try Names.resolve(self.node, among: report.nodes.map(\.name), kind: "node")
            var request = MutationRequest(
                expectedIndex: self.options.index, dryRun: true, allowWorse: self.worse.allowWorse)
            if self.cancel {
                request.dryRun = self.options.dryRun
                let result = try await client.nodeKeep(name, request)
                return try self.print(result, text: AnswerText.result(result, style: self.console.style))
            }
            try await self.ask(client, request, self.options) { try await $0.nodeRemove(name, $1) }
            request.dryRun = self.options.dryRun
            let result = try await client.nodeRemove(name, request)
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
            guard self.waiting.wait, result.accepted else { return }
            try await Waiting(
                client: client, console: self.console, timeoutMilliseconds: self.waiting.timeoutMilliseconds,
                afterIndex: result.index
            ).until("the removal of \(name)") { report in
                guard let left = report.nodes.first(where: { $0.name == name }) else { return .done }
                return .notYet("\(name) is \(left.state.rawValue)" + (left.reason.isEmpty ? "" : ": \(left.reason)"))
            }
        }
    }
}

extension ConversingCommand {
    /// Shows on a terminal what a change of the nodes does to the votes, and asks.
    fileprivate func ask(
        _ client: APIClient, _ request: MutationRequest, _ options: MutationOptions,
        _ forecast: (APIClient, MutationRequest) async throws -> MutationResult
    ) async throws {
        guard !options.yes, !options.dryRun, self.console.isInteractive else { return }
        let result = try await forecast(client, request)
        try self.confirm(
            result.sentence + (result.survival.map { "; \($0.sentence)" } ?? "") + ".", options)
    }
}
