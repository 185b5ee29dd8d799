import API
import ArgumentParser
import Basis
import ClusterConfiguration
import FoundationEssentials
import Glibc
import Host
import Reports

/// Reads a document from a file, or from standard input for `-`.
private func document(at path: String) throws -> String {
    // One byte more than is read of a document shows that it is too long.
    let limit = (1 << 20) + 1
    switch path == "-" ? Files.bytes(from: STDIN_FILENO, limit: limit) : Files.bytes(path, limit: limit) {
    case .success(let bytes):
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw APIFailure(.usage, "\(path) is not text", remedy: "save it as UTF-8")
        }
        return text
    case .failure(let error) where error.code == ENOENT:
        throw APIFailure(
            .notFound, "there is no file \(path)",
            remedy: "check the path; `holdfast policy` prints the configuration in force")
    case .failure(let error):
        throw APIFailure(
            .error, "\(path) cannot be read: \(SystemText.error(error.code))", remedy: "check its permissions")
    }
}

/// `holdfast check`.
struct CheckCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check a configuration file, against the cluster too where one runs.",
        discussion: """
            Finds every mistake of the file. If a daemon answers on this machine it is asked too: for nodes, for agents and \
            their parameters, and for what cannot be changed while the cluster runs.
            """)

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions
    @Flag(help: "Look at the file alone, as for a cluster that is not this machine's.") var offline = false
    @Argument(help: "The file, or - for standard input.") var file: String

    /// What `-o json` prints.
    struct Report: Codable {
        var apiVersion = 1
        var file: String
        var problems: [String]
    }

    func run() async throws {
        let text = try document(at: self.file)
        let outcome = ConfigurationReader.read(text, path: self.file)
        guard outcome.errors.isEmpty else {
            throw APIFailure(
                .usage, "\(self.file) has \(Amounts.count(outcome.errors.count, "mistake"))",
                remedy: "correct it and check it again", details: outcome.diagnostics.map(\.description))
        }
        var warnings = outcome.warnings.map(\.description)
        if let known = try await self.askCluster(text) { warnings = known }
        try self.print(
            Report(file: self.file, problems: warnings),
            text: (warnings + ["\(self.file) has no mistakes. Next: `holdfast plan \(self.file)`."])
                .joined(separator: "\n") + "\n")
    }

    /// The cluster's warnings; nil when no daemon answers here. Throws what it refuses.
    private func askCluster(_ text: String) async throws -> [String]? {
        guard !self.offline, FileManager.default.fileExists(atPath: self.connection.socketPath) else { return nil }
        do {
            return try await self.connection.client.plan(PlanRequest(text: text, path: self.file)).warnings
        } catch let failure as APIFailure where [.error, .timeout, .permission].contains(failure.code) {
            return nil
        }
    }
}

/// `holdfast plan`.
struct PlanCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Say what would happen, now or with a new configuration.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "The new configuration, or - for standard input; without it: what the cluster is about to do.")
    var file: String?
    @Option(help: "Refuse unless the configuration in force has this log index.")
    var index: UInt64?

    func run() async throws {
        let text = try self.file.map { try document(at: $0) }
        let report = try await self.connection.client.plan(PlanRequest(text: text, path: self.file ?? "cluster.yaml"))
        if let index = self.index, index != report.basedOnIndex {
            throw APIFailure(
                .conflict, "the configuration is at index \(report.basedOnIndex), not \(index)",
                remedy: "run `holdfast policy` to see what is in force, and plan again without --index")
        }
        try self.print(report, text: AnswerText.plan(report, style: self.console.style))
    }
}

/// `holdfast apply`.
struct ApplyCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Put a configuration into force.",
        discussion: "`plan FILE` prints the index that makes --index refuse when somebody else was faster.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var options: MutationOptions
    @OptionGroup var waiting: WaitOptions
    @Flag(help: "Let groups, volumes and copies go that are no longer in the file.") var allowRemoval = false
    @Argument(help: "The configuration, or - for standard input.") var file: String

    func run() async throws {
        let client = self.connection.client
        let text = try document(at: self.file)
        let index = try await self.ask(client, text)
        let result = try await client.apply(
            ApplyRequest(
                text: text, path: self.file, expectedIndex: index, dryRun: self.options.dryRun,
                allowRemoval: self.allowRemoval))
        try self.print(result, text: AnswerText.result(result, style: self.console.style))
        guard self.waiting.wait, result.accepted else { return }
        try await Waiting(
            client: client, console: self.console, timeoutMilliseconds: self.waiting.timeoutMilliseconds,
            afterIndex: result.index
        ).untilApplied(result)
    }

    /// On a terminal what goes down and what vanishes is shown, and asked for. The index that the answer was given for.
    private func ask(_ client: APIClient, _ text: String) async throws -> UInt64? {
        guard !self.options.yes, !self.options.dryRun, self.console.isInteractive, self.file != "-" else {
            return self.options.index
        }
        let plan = try await client.plan(PlanRequest(text: text, path: self.file))
        if !plan.changes.isEmpty, plan.removals.isEmpty || self.allowRemoval {
            try self.confirm(AnswerText.question(plan, style: self.console.errorStyle), self.options)
        }
        return self.options.index ?? plan.basedOnIndex
    }
}

/// `holdfast policy`.
struct PolicyCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Print the configuration in force.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        let report = try await self.connection.client.policy()
        try self.print(report, text: report.text)
    }
}
