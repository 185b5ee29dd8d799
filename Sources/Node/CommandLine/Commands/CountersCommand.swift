import API
import ArgumentParser
import Basis
import Reports

/// `holdfast counters`.
struct CountersCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "counters", abstract: "Say how often this machine's daemon has told what, since it began.",
        discussion: """
            Notes are what it wrote into its own log, events what happened in the cluster since it had caught up. What was never \
            told is left out. The names stay the same from release to release.
            """)

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        let report = try await self.connection.client.counters()
        try self.print(report, text: self.text(report))
    }

    private func text(_ report: CountersReport) -> String {
        var lines = ["The daemon on \(report.node) began \(Amounts.age(report.daemonSeconds)) ago."]
        for (head, counters) in [("NOTE", report.notes), ("EVENT", report.events)] where !counters.isEmpty {
            var table = Table([head, "SEVERITY", "COUNT"])
            for counter in counters {
                let tone: Style.Tone = ["warning": .warning, "error": .bad][counter.severity] ?? .plain
                table.add([
                    .init(text: counter.kind), .init(text: counter.severity, tone: tone),
                    .init(text: "\(counter.count)"),
                ])
            }
            lines += [""] + table.lines(style: self.console.style)
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
