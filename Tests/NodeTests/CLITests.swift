import Basis
import Foundation
import Resources
import ScenarioKit
import Synchronization
import Testing

@testable import API
@testable import ClusterConfiguration
@testable import CommandLine
@testable import Reports

/// A console that remembers what was written, and whose time passes only while a command pauses.
final class RecordedConsole: Sendable {
    struct State {
        var output = ""
        var errors = ""
        var answers: [String] = []
        var milliseconds: UInt64 = 0
    }
    let state = Mutex(State())

    func console(isTerminal: Bool = false, variables: [String: String] = [:]) -> Console {
        Console(
            write: { text in self.state.withLock { $0.output += text } },
            writeError: { text in self.state.withLock { $0.errors += text } },
            readAnswer: { self.state.withLock { $0.answers.isEmpty ? nil : $0.answers.removeFirst() } },
            outputIsTerminal: isTerminal, errorIsTerminal: isTerminal, isInteractive: isTerminal,
            allowsColor: variables["NO_COLOR"] == nil, variables: variables,
            pause: { milliseconds in
                try Task.checkCancellation()
                self.state.withLock { $0.milliseconds += milliseconds }
            },
            milliseconds: { self.state.withLock { $0.milliseconds } })
    }
}

/// Remembers what the hooks were asked.
final class RecordedHooks: Sendable {
    let calls = Mutex<[String]>([])
    var hooks: CommandHooks {
        CommandHooks(
            initialize: { options in self.record("\(options)") }, join: { options in self.record("\(options)") },
            restore: { options in
                self.record("\(options)")
                return RestoreReport(
                    cluster: "prod", index: 1208, takenMilliseconds: 1_700_000_000_000, nodes: ["osk-1", "wit-1"],
                    groups: ["orders"], volumes: ["pgdata"])
            },
            listen: { options in
                self.record("\(options)")
                return options.address
            },
            daemon: { options in self.record("\(options)") }, volumeServer: { options in self.record("\(options)") },
            guardProcess: { options in self.record("\(options)") })
    }
    private func record(_ call: String) { self.calls.withLock { $0.append(call) } }
}

@Suite struct CLITests {
    static var folder: String { "\(#filePath)".replacing("CLITests.swift", with: "Scenarios") }

    @Test(arguments: ScenarioFile.files(in: folder).filter { $0.contains("/cli_") })
    func `every command prints what its scenario says`(path: String) async throws {
        try await ServedAPI.run { api in
            // A scenario runs synchronously, so it gets a thread that may block.
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                Thread.detachNewThread {
                    let runner = ScenarioRunner(api: api)
                    continuation.resume(with: Result { try ScenarioFile(path: path).run { runner.perform($0) } })
                }
            }
        }
    }

    private func run(
        _ words: [String], console: Console, hooks: CommandHooks = .unavailable
    ) async -> Int32 {
        await HoldfastCommand.run(words, hooks: hooks, console: console)
    }

    @Test func `colours appear on a terminal only, and not with NO_COLOR`() async throws {
        try await ServedAPI.run { api in
            let run = (api.socketPath as NSString).deletingLastPathComponent
            for (isTerminal, variables, colored) in [
                (false, [:], false), (true, [:], true), (true, ["NO_COLOR": "1"], false),
            ] as [(Bool, [String: String], Bool)] {
                let recorded = RecordedConsole()
                let console = recorded.console(isTerminal: isTerminal, variables: variables)
                #expect(await self.run(["status", "--run", run], console: console) == 0)
                #expect(recorded.state.withLock { $0.output.contains("\u{1B}[") } == colored)
            }
        }
    }

    @Test func `the run directory comes from the environment unless it is given`() async throws {
        try await ServedAPI.run { api in
            let run = (api.socketPath as NSString).deletingLastPathComponent
            let recorded = RecordedConsole()
            let console = recorded.console(variables: ["HOLDFAST_RUN": run])
            #expect(await self.run(["token"], console: console) == 0)
            #expect(recorded.state.withLock { $0.output } == "hf1-abc\n")
        }
    }

    @Test func `json output has a version and can be read back`() async throws {
        try await ServedAPI.run { api in
            let run = (api.socketPath as NSString).deletingLastPathComponent
            for words in [
                ["status"], ["plan"], ["policy"], ["token"], ["explain", "orders"], ["group", "stop", "orders"],
                ["node", "drain", "osk-1"], ["leader", "transfer"], ["volume", "status"],
                ["volume", "resync", "pgdata"], ["counters"], ["attribute", "list"], ["upgrade", "status"],
                ["upgrade", "finalize"], ["certificates", "list"], ["certificates", "renew"],
                ["certificates", "rotate"],
                ["node", "expect-pause", "osk-1", "--for", "9s"], ["node", "original", "osk-1", "--boot", "1f2e"],
                ["attribute", "get", "app.primary"],
                ["attribute", "put", "x", "1"], ["attribute", "delete", "app.primary"], ["status", "--consistent"],
            ] {
                let recorded = RecordedConsole()
                #expect(await self.run(words + ["--run", run, "-o", "json"], console: recorded.console()) == 0)
                let text = recorded.state.withLock { $0.output }
                let value = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
                #expect((value?["apiVersion"] as? NSNumber)?.intValue == 1, "\(words)")
            }
            let recorded = RecordedConsole()
            let words = ["group", "stop", "nothing", "--run", run, "-o", "json"]
            #expect(await self.run(words, console: recorded.console()) == 3)
            let text = recorded.state.withLock { $0.output }
            #expect(try APICoding.decode(ErrorReport.self, from: Data(text.utf8)).code == .notFound)
        }
    }

    @Test func `a command that makes no sense fails in json where json is asked for`() async throws {
        for words in [
            ["status", "--nonsense", "-o", "json"], ["group", "move", "--output=json"], ["stauts", "-o", "json"],
            ["events", "--limit", "0", "--output", "json"],
        ] {
            let recorded = RecordedConsole()
            #expect(await self.run(words, console: recorded.console()) == 2)
            let (output, errors) = recorded.state.withLock { ($0.output, $0.errors) }
            let report = try APICoding.decode(ErrorReport.self, from: Data(output.utf8))
            #expect(report.code == .usage && !report.message.isEmpty && !report.remedy.isEmpty, "\(words)")
            #expect(errors.isEmpty)
        }
        let recorded = RecordedConsole()
        #expect(await self.run(["status", "--nonsense"], console: recorded.console()) == 2)
        #expect(recorded.state.withLock { $0.output.isEmpty && $0.errors.hasPrefix("error: ") })
    }

    @Test func `a table is cut to the width of a terminal, and to nothing else`() {
        var table = Table(["NODE", "STATE", "REASON"])
        table.add([.init(text: "tok-1"), .init(text: "up"), .init(text: "")])
        table.add([.init(text: "osk-1"), .init(text: "suspected"), .init(text: "a majority hears nothing from it")])
        let whole = table.lines(style: Style(isOn: false))
        for width in 1...60 {
            let lines = table.lines(style: Style(isOn: false, width: width))
            for (line, full) in zip(lines, whole) {
                #expect(line.count <= width)
                if full.count <= width { #expect(line == full) } else { #expect(line.hasSuffix("…")) }
            }
        }
        let coloured = table.lines(style: Style(isOn: true, width: 20))
        #expect(coloured.allSatisfy { !$0.contains("\u{1B}") || $0.contains("\u{1B}[0m") })
    }

    @Test func `a sentence breaks between words where the terminal ends, and nowhere else`() {
        let text = "group orders is waiting: only tok-1 holds every write, and it should be up"
        #expect(Style(isOn: false).wrapped(text, indent: "  ") == ["  " + text])
        for width in 20...90 {
            let lines = Style(isOn: false, width: width).wrapped(text, indent: "  ")
            #expect(lines.allSatisfy { $0.count <= width })
            let words = lines.flatMap { $0.split(separator: " ") }
            #expect(words == text.split(separator: " "))
        }
        let style = Style(isOn: true, width: 30)
        #expect(style.wrapped(style.paint("Warning:", .warning) + " a b c d e f g h").count == 1)
    }

    @Test func `a page that does not fit keeps its first lines on the screen`() {
        let recorded = RecordedConsole()
        var console = recorded.console(isTerminal: true)
        console.rows = { 5 }
        console.showPage((1...8).map { "line \($0)\n" }.joined())
        let shown = recorded.state.withLock { $0.output }
        #expect(shown == "\u{1B}[H\u{1B}[Jline 1\nline 2\nline 3\n… 5 more lines: the window is too small\n")
        recorded.state.withLock { $0.output = "" }
        console.showPage("one\ntwo\n")
        #expect(recorded.state.withLock { $0.output } == "\u{1B}[H\u{1B}[Jone\ntwo\n")
    }

    @Test func `set-up commands hand their options to the hooks`() async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "hf-\(UUID().uuidString.prefix(8))")
        defer { try? FileManager.default.removeItem(at: directory) }
        let hooks = RecordedHooks()
        let recorded = RecordedConsole()
        let console = recorded.console(variables: ["HOLDFAST_DIRECTORY": directory.path, "HOLDFAST_RUN": "/r"])
        let identity = ["--name", "tok-1", "--site", "tokyo", "--address", "10.0.0.1:7400"]
        #expect(await self.run(["init", "--cluster", "prod"] + identity, console: console, hooks: hooks.hooks) == 0)
        let template = try String(contentsOf: directory.appendingPathComponent("cluster.yaml"), encoding: .utf8)
        #expect(ConfigurationReader.read(template).policy?.name == "prod")
        let attributes = try FileManager.default.attributesOfItem(
            atPath: directory.appendingPathComponent("cluster.yaml").path)
        #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
        #expect(
            await self.run(["join", "T"] + identity + ["--role", "witness"], console: console, hooks: hooks.hooks) == 0)
        #expect(await self.run(["daemon"], console: console, hooks: hooks.hooks) == 0)
        #expect(await self.run(["guard", "--pid", "7", "-x"], console: console, hooks: hooks.hooks) == 0)
        #expect(await self.run(["volume-server", "data", "--epoch", "3"], console: console, hooks: hooks.hooks) == 0)
        let calls = hooks.calls.withLock { $0 }
        #expect(calls.count == 5)
        #expect(calls[2] == "DaemonOptions(directory: \"\(directory.path)\", runDirectory: \"/r\")")
        #expect(calls[3] == "GuardOptions(arguments: [\"--pid\", \"7\", \"-x\"])")
        #expect(calls[4] == "VolumeServerCommandOptions(arguments: [\"data\", \"--epoch\", \"3\"])")
    }

    @Test func `a restore says what it begins with, asks, and says what to do next`() async {
        let hooks = RecordedHooks()
        let recorded = RecordedConsole()
        let words = [
            "cluster", "restore", "prod.backup", "--name", "tok-1", "--site", "tokyo", "--address", "10.0.0.1:7400",
        ]
        #expect(await self.run(words + ["--dry-run"], console: recorded.console(), hooks: hooks.hooks) == 0)
        #expect(hooks.calls.withLock { $0.allSatisfy { $0.contains("isDryRun: true") } })
        // Who does not say yes has changed nothing.
        #expect(await self.run(words, console: recorded.console(isTerminal: true), hooks: hooks.hooks) == 1)
        #expect(hooks.calls.withLock { $0.allSatisfy { $0.contains("isDryRun: true") } })
        #expect(await self.run(words + ["--yes"], console: recorded.console(), hooks: hooks.hooks) == 0)
        #expect(hooks.calls.withLock { $0.last?.contains("isDryRun: false") } == true)
        let said = recorded.state.withLock { $0.output }
        #expect(
            said.contains(
                "prod would begin anew on tok-1, with what it had agreed on up to entry 1208, as of 2023-11-14"))
        #expect(said.contains("--replace` on the machine that takes the place of osk-1, of wit-1"))
        #expect(said.contains("holdfast volume accept-loss pgdata") && said.contains("holdfast group start orders"))
        #expect(recorded.state.withLock { $0.errors.contains("must be off, and stay off") })
    }

    @Test func `internal commands are hidden from help`() async {
        let recorded = RecordedConsole()
        #expect(await self.run(["--help"], console: recorded.console()) == 0)
        let help = recorded.state.withLock { $0.output }
        #expect(help.contains("status") && !help.contains("volume-server") && !help.contains("guard"))
    }

    @Test func `ages, sizes and instants read well`() {
        #expect(
            [0, 0.14, 9.96, 119, 121, 7300, 200_000].map(Amounts.age) == [
                "0.0 s", "0.1 s", "9 s", "119 s", "2 min", "2 h", "2 d",
            ])
        #expect(
            [0, 999, 1000, 1_234_567, 999_999_999, 40_000_000_000].map(Amounts.bytes) == [
                "0 B", "999 B", "1.0 kB", "1.2 MB", "1.0 GB", "40 GB",
            ])
        #expect(Amounts.age(.infinity) == "?")
        #expect(Amounts.instant(milliseconds: 1_700_000_000_042) == "2023-11-14 22:13:20.042 UTC")
        #expect(
            ProgressBar.text(label: "a", done: 450_000_000, total: 1_000_000_000, bytesPerSecond: 50_000_000, width: 10)
                == "a [####......] 45 %  450 MB of 1.0 GB, 50 MB/s, 11 s left")
    }
}

/// Performs the directives of a scenario of the command line.
final class ScenarioRunner {
    private let api: ServedAPI
    private var isTerminal = false
    private var answers: [String] = []

    init(api: ServedAPI) { self.api = api }

    func perform(_ directive: ScenarioFile.Directive) -> [String] {
        switch directive.command {
        case "cluster": return self.set(directive.arguments)
        case "impact":
            let words = directive.arguments
            self.api.backend.with { state in
                state.interruptions =
                    words.contains("restart")
                    ? [
                        PlanReport.Interruption(
                            group: "orders", node: "tok-1", isFinal: false,
                            sentence: "db of orders is down on tok-1 until db has started: at most 2 min",
                            longestSeconds: 120)
                    ] : []
                state.removals = words.contains("removal") ? ["the group sales"] : []
            }
            return []
        case "terminal":
            self.isTerminal = directive.arguments == ["on"]
            return []
        case "answer":
            self.answers = directive.arguments
            return []
        case "calls":
            let calls = self.api.backend.with { state in
                defer { state.calls = [] }
                return state.calls
            }
            return calls
        case "holdfast": return self.holdfast(directive)
        default: return ["unknown directive"]
        }
    }

    private func set(_ states: [String]) -> [String] {
        var reports = states.map { name -> StatusReport in
            var report = name == "troubled" ? StatusReport.troubled : .sample
            switch name {
            case "mixed":
                report.nodes[0].programs?.version = "1.3.0"
                report.nodes[0].programs?.guard = .init(version: "1.2.0", isPresent: false)
                report.nodes[0].programs?.volumeServers = [
                    "logs": .init(version: "1.3.0", isPresent: false), "pgdata": .init(version: nil, isPresent: false),
                    "wal": .init(version: "1.3.0", isPresent: true),
                ]
                report.nodes[2].programs = nil
            case "growing": report.volumes[0].growsToBytes = 3 << 30
            case "leaving": report.groups[0].movingTo = "osk-1"
            case "moved": report.groups[0].owner = "osk-1"
            case "stopped": report.groups[0].state = .stopped
            case "given-up":
                report.groups[0].state = .waiting
                report.groups[0].hasGivenUp = true
                report.groups[0].reason =
                    "tok-1 failed: db exit code 1; osk-1 lacks writes of pgdata, which tok-1 holds"
            case "other-failed":
                var other = report.groups[0]
                other.name = "sales"
                other.state = .failed
                report.groups.append(other)
            case "going":
                report.groups[0].state = .stopping
                report.groups[0].nodes = []
                report.groups[0].reason = "it is no longer in the configuration"
            case "failed":
                report.health = .down
                report.healthSentence = "orders does not run"
                report.groups[0].state = .failed
                report.groups[0].reason = "db: exit code 1"
            case "alone":
                report.health = .noQuorum
                report.healthSentence = "1 of 3 nodes up, 2 needed"
                report.hasQuorum = false
                report.leader = nil
                report.servedAgeSeconds = 12
            case "empty":
                report.groups = []
                report.volumes = []
            default: break
            }
            return report
        }
        let first = reports.removeFirst()
        let later = reports
        self.api.backend.with { state in
            state.status = first
            state.later = later
        }
        return []
    }

    private func holdfast(_ directive: ScenarioFile.Directive) -> [String] {
        let run = (self.api.socketPath as NSString).deletingLastPathComponent
        let file = run + "/cluster.yaml"
        try? Data(directive.input.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: file))
        var words = directive.arguments.map { $0 == "FILE" ? file : $0 }
        if !words.contains("--run"), words.first != "check" { words += ["--run", run] }
        let recorded = RecordedConsole()
        recorded.state.withLock { $0.answers = self.answers }
        let console = recorded.console(isTerminal: self.isTerminal, variables: ["NO_COLOR": "1"])
        let done = DispatchSemaphore(value: 0)
        let code = Mutex<Int32>(-1)
        let arguments = words
        withExtendedLifetime(recorded) {
            let result = ResultBox()
            Task.detached {
                let exitCode = await HoldfastCommand.run(arguments, hooks: .unavailable, console: console)
                result.code.withLock { $0 = exitCode }
                done.signal()
            }
            done.wait()
            code.withLock { $0 = result.code.withLock { $0 } }
        }
        let (output, errors) = recorded.state.withLock { ($0.output, $0.errors) }
        var lines = output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        lines += errors.split(separator: "\n").map { "! " + $0.replacingOccurrences(of: "\u{1B}", with: "ESC") }
        let exitCode = code.withLock { $0 }
        if exitCode != 0 { lines.append("exit \(exitCode)") }
        return lines.map { $0.replacingOccurrences(of: file, with: "FILE").replacingOccurrences(of: run, with: "RUN") }
    }

    private final class ResultBox: Sendable {
        let code = Mutex<Int32>(-1)
    }
}
