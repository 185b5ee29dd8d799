import API
import ArgumentParser
import Basis
import FoundationEssentials
import Reports

/// `holdfast status`.
struct StatusCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Say whether services are safe, and how everything stands.",
        discussion: """
            Answers from any node, without quorum too, and says how old the answer is. With --consistent a majority of voters is \
            asked first: the answer has everything that anybody was told before.
            """)

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions
    @Flag(help: "Look again every second.") var watch = false
    @Flag(help: "Wait for what a majority of voters has confirmed; without one exit with 5.") var consistent = false
    @Flag(help: "Exit with 8 when degraded, 9 when down, 5 without quorum.") var check = false
    @Flag(name: .shortAndLong, help: "Show every resource.") var verbose = false

    func run() async throws {
        repeat {
            let client = self.connection.client
            let report = self.consistent ? try await client.consistentStatus() : try await client.status()
            let page = StatusText(report: report, style: self.console.style, isVerbose: self.verbose).render()
            if self.watch, self.output.format == .text, self.console.outputIsTerminal {
                self.console.showPage(page)
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
        commandName: "events", abstract: "Show what happened last, the newest at the end.",
        discussion: "With -o json every event is one line. The log keeps the last 500.")

    private static let usualLimit = 20

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions
    @Flag(name: .shortAndLong, help: "Show what happens from now on; with --limit that many from before first.")
    var follow = false
    @Option(help: "Only events with a log index above this.") var after: UInt64 = 0
    @Option(help: "The newest so many (default: 20).") var limit: Int?

    func validate() throws {
        guard let limit = self.limit else { return }
        guard (1...10_000).contains(limit) else {
            throw ValidationError("`--limit \(limit)` is out of range; use 1 to 10000.")
        }
    }

    func run() async throws {
        let client = self.connection.client
        let limit = self.limit ?? (self.follow && self.after == 0 ? 0 : Self.usualLimit)
        let page = try await client.events(after: self.after, limit: max(1, limit), latest: true, waitSeconds: 0)
        let shown = limit == 0 ? [] : page.events
        let older = page.older + page.events.count - shown.count
        if older > 0, !self.follow, self.output.format == .text {
            self.console.write(
                "\(Amounts.count(older, "older event")): `holdfast events --limit \(older + shown.count)`\n")
        }
        try self.show(shown)
        var after = max(self.after, page.nextAfter)
        while self.follow {
            let page = try await client.events(after: after, limit: 1000, latest: false, waitSeconds: 20)
            try self.show(page.events)
            after = max(after, page.nextAfter)
        }
    }

    private func show(_ events: [EventReport]) throws {
        for event in events {
            switch self.output.format {
            case .text: self.console.write(AnswerText.event(event))
            case .json: self.console.write(String(decoding: try APICoding.encode(event), as: UTF8.self) + "\n")
            }
        }
    }
}
