import ArgumentParser
import Foundation

/// Reads a document from a file, or from standard input for `-`.
private func document(at path: String) throws -> String {
    guard path == "-" || FileManager.default.fileExists(atPath: path) else {
        throw APIFailure(
            .notFound, "there is no file \(path)",
            remedy: "check the path; `holdfast policy` prints the configuration in force")
    }
    do {
        let data =
            path == "-"
            ? try FileHandle.standardInput.readToEnd() ?? Data() : try Data(contentsOf: URL(fileURLWithPath: path))
        guard let text = String(data: data, encoding: .utf8) else {
            throw APIFailure(.usage, "\(path) is not text", remedy: "save it as UTF-8")
        }
        return text
    } catch let failure as APIFailure {
        throw failure
    } catch {
        throw APIFailure(
            .error, "\(path) cannot be read: \((error as NSError).localizedDescription)",
            remedy: "check its permissions")
    }
}

/// `holdfast check`.
struct CheckCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Check a configuration file without asking the cluster.",
        discussion: "Finds every mistake except references to nodes, which `plan` checks.")

    @OptionGroup var output: OutputOptions
    @Argument(help: "The file, or - for standard input.") var file: String

    /// What `-o json` prints.
    struct Report: Codable {
        var apiVersion = 1
        var file: String
        var problems: [String]
    }

    func run() async throws {
        let outcome = ConfigurationReader.read(try document(at: self.file), path: self.file)
        guard outcome.errors.isEmpty else {
            throw APIFailure(
                .usage, "\(self.file) has \(Amounts.count(outcome.errors.count, "mistake"))",
                remedy: "correct it and check it again", details: outcome.diagnostics.map(\.description))
        }
        let warnings = outcome.warnings.map(\.description)
        try self.print(
            Report(file: self.file, problems: warnings),
            text: (warnings + ["\(self.file) has no mistakes. Next: `holdfast plan \(self.file)`."])
                .joined(separator: "\n") + "\n")
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

    func run() async throws {
        let text = try self.file.map { try document(at: $0) }
        let report = try await self.connection.client.plan(PlanRequest(text: text, path: self.file ?? "cluster.yaml"))
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
    @Argument(help: "The configuration, or - for standard input.") var file: String

    func run() async throws {
        let client = self.connection.client
        let text = try document(at: self.file)
        let result = try await client.apply(
            ApplyRequest(text: text, path: self.file, expectedIndex: self.options.index, dryRun: self.options.dryRun))
        try self.print(result, text: AnswerText.result(result, style: self.console.style))
        guard self.waiting.wait, result.accepted else { return }
        let index = result.index
        try await Waiting(
            client: client, console: self.console, timeoutMilliseconds: self.waiting.timeoutMilliseconds,
            afterIndex: result.index
        ).until("what the configuration asks for") { report in
            guard report.policyIndex >= index else { return .notYet("\(report.servedBy) has not applied it yet") }
            // A node that has not applied it yet says how things were before.
            for node in report.nodes where report.groups.contains(where: { $0.owner == node.name }) {
                guard report.commitIndex - (node.appliedIndexLag ?? 0) < index else { continue }
                return .notYet("\(node.name) has not applied it yet")
            }
            let busy: [GroupReport.State] = [.starting, .stopping, .moving, .waiting]
            guard let group = report.groups.first(where: { busy.contains($0.state) }) else { return .done }
            return .notYet("\(group.name) is \(group.state.rawValue): \(group.reason)")
        }
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
