import ArgumentParser
import Foundation

/// `holdfast status`.
struct StatusCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Say whether services are safe, and how everything stands.",
        discussion: "Answers from any node, without quorum too, and says how old the answer is.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions
    @Flag(help: "Look again every second.") var watch = false
    @Flag(help: "Exit with 8 when degraded, 9 when down, 5 without quorum.") var check = false
    @Flag(name: .shortAndLong, help: "Show every resource.") var verbose = false

    func run() async throws {
        repeat {
            let report = try await self.connection.client.status()
            let page = StatusText(report: report, style: self.console.style, isVerbose: self.verbose).render()
            if self.watch, self.output.format == .text, self.console.outputIsTerminal {
                self.console.write("\u{1B}[H\u{1B}[J" + page)
            } else {
                try self.print(report, text: page)
            }
            if !self.watch {
                try self.judge(report)
                return
            }
            try await self.console.pause(1000)
        } while true
    }

    private func judge(_ report: StatusReport) throws {
        guard self.check else { return }
        switch report.health {
        case .healthy: return
        case .degraded: throw ExitCode(FailureCode.degraded.exitCode)
        case .down: throw ExitCode(FailureCode.down.exitCode)
        case .noQuorum: throw ExitCode(FailureCode.noQuorum.exitCode)
        }
    }
}

/// `holdfast explain`.
struct ExplainCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Say why a group is where it is, and why not elsewhere.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "The group.") var group: String

    func run() async throws {
        let client = self.connection.client
        let group = try Names.resolve(
            self.group, among: try await client.status().groups.map(\.name), kind: "group")
        let report = try await client.explain(group)
        try self.print(report, text: AnswerText.explain(report, style: self.console.style))
    }
}

/// `holdfast events`.
struct EventsCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "Show what happened, from the log.",
        discussion: "With -o json every event is one line.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions
    @Flag(name: .shortAndLong, help: "Go on showing new events.") var follow = false
    @Option(help: "Only events with a log index above this.") var after: UInt64 = 0
    @Option(help: "At most this many events at once.") var limit: Int = 100

    func validate() throws {
        guard (1...10_000).contains(self.limit) else {
            throw ValidationError("`--limit \(self.limit)` is out of range; use 1 to 10000.")
        }
    }

    func run() async throws {
        let client = self.connection.client
        var after = self.after
        var wait: Double = 0
        while true {
            let page = try await client.events(after: after, limit: self.limit, waitSeconds: wait)
            for event in page.events {
                switch self.output.format {
                case .text: self.console.write(AnswerText.event(event))
                case .json: self.console.write(String(decoding: try APICoding.encode(event), as: UTF8.self) + "\n")
                }
            }
            after = max(after, page.nextAfter)
            guard self.follow else { return }
            wait = 20
        }
    }
}
