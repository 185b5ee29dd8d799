import API
import ArgumentParser
import Basis
import ClusterConfiguration
import FoundationEssentials
import Reports

/// How a command prints.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case text
    case json
}

/// A command that prints in both formats.
protocol ConversingCommand: AsyncParsableCommand {
    var output: OutputOptions { get }
}

/// Options of every command that prints.
struct OutputOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "How to print: text, or json with a version field.")
    var output: OutputFormat = .text

    var format: OutputFormat { self.output }
}

/// Options of every command that asks the daemon.
struct ConnectionOptions: ParsableArguments {
    @Option(help: "The run directory of the daemon (default: $HOLDFAST_RUN or /run/holdfast).")
    var run: String?

    var directory: String {
        self.run ?? CommandEnvironment.current.console.variables["HOLDFAST_RUN"] ?? "/run/holdfast"
    }
    var socketPath: String { self.directory + "/api.sock" }
    var client: APIClient { APIClient(socketPath: self.socketPath) }
}

/// Options of every command that keeps state on this machine.
struct StateOptions: ParsableArguments {
    @Option(help: "The state directory (default: $HOLDFAST_DIRECTORY or /var/lib/holdfast).")
    var directory: String?

    var path: String {
        self.directory ?? CommandEnvironment.current.console.variables["HOLDFAST_DIRECTORY"] ?? "/var/lib/holdfast"
    }
}

/// Options of every command that changes something.
struct MutationOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Do not ask for confirmation. (It is only asked on a terminal.)")
    var yes = false

    @Flag(help: "Say what would happen, but change nothing.")
    var dryRun = false

    @Option(help: "Refuse unless the configuration in force has this log index.")
    var index: UInt64?
}

/// Options of every command whose effect takes time.
struct WaitOptions: ParsableArguments {
    @Flag(help: "Wait until it is done.")
    var wait = false

    @Option(help: "With --wait: give up after this time (exit code 7), such as 90s or 10m.")
    var timeout: String = "2m"

    func validate() throws {
        guard let span = Quantities.span(self.timeout), span > .zero else {
            throw ValidationError("`--timeout \(self.timeout)` is not a length of time; write it like 90s or 10m.")
        }
    }

    var timeoutMilliseconds: UInt64 { Quantities.span(self.timeout)?.milliseconds ?? 120_000 }
}

extension ConversingCommand {
    var console: Console { CommandEnvironment.current.console }

    /// Prints a value in the chosen format.
    func print(_ value: some Encodable, text: @autoclosure () -> String) throws {
        switch self.output.format {
        case .json:
            self.console.write(String(decoding: try APICoding.encode(value, pretty: true), as: UTF8.self) + "\n")
        case .text: self.console.write(text())
        }
    }

    /// Asks the operator on a terminal, where `--yes` was not given; throws if the answer is not yes.
    func confirm(_ effect: String, _ options: MutationOptions) throws {
        if !options.yes, !options.dryRun { try self.confirm(effect) }
    }

    /// Asks the operator on a terminal; throws if the answer is not yes.
    func confirm(_ effect: String) throws {
        guard self.console.isInteractive else { return }
        self.console.writeError("\(effect)\nContinue? [y/N] ")
        let answer = self.console.readAnswer()?.lowercased().trimmed ?? ""
        guard ["y", "yes"].contains(answer) else {
            throw APIFailure(.error, "nothing was changed", remedy: "answer `y`, or give --yes")
        }
    }
}

/// Finds what a possibly shortened name means.
enum Names {
    /// The only known name that is `word` or begins with it. Throws `APIFailure` if there is none or more than one.
    static func resolve(_ word: String, among known: [String], kind: String) throws -> String {
        if known.contains(word) { return word }
        let matches = known.filter { $0.hasPrefix(word) }.sorted()
        if matches.count == 1, !word.isEmpty { return matches[0] }
        if matches.count > 1, !word.isEmpty {
            throw APIFailure(
                .usage, "`\(word)` may be \(matches.joined(separator: " or "))", remedy: "write more of the name")
        }
        let remedy = Suggestion.remedy(
            for: word, among: known.sorted(), otherwise: "the configuration has none; see `holdfast plan --help`")
        throw APIFailure(.notFound, "there is no \(kind) `\(word)`", remedy: remedy)
    }
}
