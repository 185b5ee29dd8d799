import API
import ArgumentParser
import Basis
import FoundationEssentials
import Reports

/// What a running command needs from outside.
struct CommandEnvironment: Sendable {
    var hooks: CommandHooks
    var console: Console
    @TaskLocal static var current = CommandEnvironment(hooks: .unavailable, console: .standard())
}

/// The command line of Holdfast: one binary, its parts as subcommands.
public struct HoldfastCommand: AsyncParsableCommand {
    /// Name, help and subcommands.
    public static let configuration = CommandConfiguration(
        commandName: "holdfast",
        abstract: "Keeps services running when a server, a network or a whole site goes down.",
        discussion: """
            Names of groups, nodes and volumes may be shortened as long as they stay unique.
            Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 conflict, 5 no quorum, 6 refused by a safety rule, \
            7 timeout, 8 degraded, 9 down, 10 permission.
            """,
        version: HoldfastCommand.version,
        groupedSubcommands: [
            CommandGroup(
                name: "Look",
                subcommands: [
                    StatusCommand.self, ExplainCommand.self, EventsCommand.self, CountersCommand.self,
                    AgentCommand.self,
                ]),
            CommandGroup(
                name: "Configure",
                subcommands: [CheckCommand.self, PlanCommand.self, ApplyCommand.self, PolicyCommand.self]),
            CommandGroup(
                name: "Act",
                subcommands: [
                    GroupCommand.self, NodeCommand.self, LeaderCommand.self, VolumeVerbs.self, NoteCommand.self,
                    AttributeCommand.self, ClusterCommand.self, UpgradeCommand.self, CertificatesCommand.self,
                ]),
            CommandGroup(
                name: "Set up",
                subcommands: [
                    InitCommand.self, TokenCommand.self, JoinCommand.self, ListenCommand.self, DaemonCommand.self,
                ]),
            CommandGroup(name: "Internal", subcommands: [VolumeServerCommand.self, GuardCommand.self]),
        ])

    /// The version of this build.
    public static let version = Release.present.version

    /// A command line without arguments.
    public init() {}

    /// Runs the command line of this process and returns its exit code.
    public static func run(hooks: CommandHooks) async -> Int32 {
        await self.run(Array(CommandLine.arguments.dropFirst()), hooks: hooks, console: .standard())
    }

    /// Runs a command line and returns its exit code; everything it says goes to `console`.
    public static func run(_ arguments: [String], hooks: CommandHooks, console: Console) async -> Int32 {
        let environment = CommandEnvironment(hooks: hooks, console: console)
        return await CommandEnvironment.$current.withValue(environment) {
            var asJSON = self.asksForJSON(arguments)
            do {
                try self.checkHelp(arguments)
                var command = try self.parseAsRoot(arguments)
                asJSON = (command as? any ConversingCommand).map { $0.output.format == .json } ?? asJSON
                if var asynchronous = command as? any AsyncParsableCommand {
                    try await asynchronous.run()
                } else {
                    try command.run()
                }
                return 0
            } catch {
                return self.report(error, arguments: arguments, asJSON: asJSON, console: console)
            }
        }
    }

    /// `help` of something that is not there is a mistake, not a general help.
    private static func checkHelp(_ arguments: [String]) throws {
        guard arguments.first == "help" else { return }
        var commands = self.configuration.groupedSubcommands.flatMap(\.subcommands)
        for word in arguments.dropFirst() where !word.hasPrefix("-") {
            let known = commands.compactMap { $0.configuration.commandName ?? "\($0)".lowercased() }
            guard let index = known.firstIndex(of: word) else {
                throw APIFailure(
                    .usage, "there is no command `\(word)`",
                    remedy: Suggestion.remedy(
                        for: word, among: known.sorted(), otherwise: "see `holdfast help`"))
            }
            commands =
                commands[index].configuration.subcommands
                + commands[index].configuration.groupedSubcommands
                .flatMap(\.subcommands)
        }
    }

    private static func report(
        _ error: any Error, arguments: [String], asJSON: Bool, console: Console
    ) -> Int32 {
        if let failure = error as? APIFailure { return self.report(failure, asJSON: asJSON, console: console) }
        if let exit = error as? ExitCode { return exit.rawValue }
        let code = self.exitCode(for: error)
        if code == .success {
            console.write(self.fullMessage(for: error) + "\n")
            return 0
        }
        if code == .validationFailure, asJSON {
            let suggestion = self.suggestion(for: arguments).map { "did you mean `holdfast \($0)`?" }
            let failure = APIFailure(
                .usage, self.message(for: error),
                remedy: suggestion ?? "see `holdfast help`, or --help of the subcommand")
            return self.report(failure, asJSON: true, console: console)
        }
        if code == .validationFailure {
            let message = self.fullMessage(for: error)
            let lowered = message.hasPrefix("Error: ") ? "error: " + message.dropFirst(7) : message
            let suggestion = self.suggestion(for: arguments).map { "  next: did you mean `holdfast \($0)`?\n" } ?? ""
            console.writeError(lowered + "\n" + suggestion)
            return FailureCode.usage.exitCode
        }
        return self.report(APIFailure(.error, "\(error)", remedy: ""), asJSON: asJSON, console: console)
    }

    private static func report(_ failure: APIFailure, asJSON: Bool, console: Console) -> Int32 {
        if asJSON, let text = try? APICoding.encode(failure.report, pretty: true) {
            console.write(String(decoding: text, as: UTF8.self) + "\n")
        } else {
            console.writeError(self.text(failure, style: console.errorStyle))
        }
        return failure.code.exitCode
    }

    /// Whether `-o json` is among words that could not be parsed as a whole.
    private static func asksForJSON(_ arguments: [String]) -> Bool {
        let words = arguments.prefix { $0 != "--" }
        if words.contains(where: { ["--output=json", "-o=json", "-ojson"].contains($0) }) { return true }
        return zip(words, words.dropFirst()).contains { ["-o", "--output"].contains($0) && $1 == "json" }
    }

    /// A subcommand that was probably meant by the first word.
    private static func suggestion(for arguments: [String]) -> String? {
        let subcommands = self.configuration.groupedSubcommands.flatMap(\.subcommands)
        let known = subcommands.compactMap { $0.configuration.commandName }
        guard let word = arguments.first, !word.hasPrefix("-"), !known.contains(word),
            let nearest = Suggestion.nearest(to: word, among: known)
        else { return nil }
        return nearest
    }

    private static func text(_ failure: APIFailure, style: Style) -> String {
        var lines = failure.details
        lines.append(style.paint("error:", .bad) + " " + failure.message)
        if !failure.remedy.isEmpty { lines.append("  next: \(failure.remedy)") }
        return lines.joined(separator: "\n") + "\n"
    }
}
