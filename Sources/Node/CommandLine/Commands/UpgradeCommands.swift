import API
import ArgumentParser
import Basis
import Reports

/// `holdfast upgrade …`.
struct UpgradeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upgrade", abstract: "Say which release each node runs, and end an upgrade for good.",
        subcommands: [Status.self, Finalize.self])

    /// `holdfast upgrade status`.
    struct Status: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say which release each node runs, and what keeps the upgrade from being finalized.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            let report = try await self.connection.client.upgrade()
            try self.print(report, text: UpgradeText.report(report, style: self.console.style))
        }
    }

    /// `holdfast upgrade finalize`.
    struct Finalize: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Rely on what every node can do from now on; the release before cannot be put back after that.",
            discussion: """
                Until then the cluster writes only what the release before reads, so each node can go back to it. \
                Refused unless every node was heard a moment ago to be able to do it.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions

        func run() async throws {
            let client = self.connection.client
            var request = MutationRequest(expectedIndex: self.options.index, dryRun: true)
            if !self.options.yes, !self.options.dryRun, self.console.isInteractive {
                try self.confirm("After this \(try await client.upgradeFinalize(request).sentence).")
            }
            request.dryRun = self.options.dryRun
            let result = try await client.upgradeFinalize(request)
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }
}

/// What keeps an upgrade from its end, as text.
enum UpgradeText {
    static func report(_ report: UpgradeReport, style: Style) -> String {
        var table = Table(["NODE", "VERSION", "FEATURE LEVEL", "REASON"])
        for node in report.nodes {
            table.add([
                .init(text: node.name, tone: .strong), .init(text: node.version ?? ""),
                .init(text: node.featureLevel.map { "\($0)" } ?? ""),
                .init(text: node.objection ?? "", tone: .warning),
            ])
        }
        let sentence =
            if report.highestLevel == report.featureLevel {
                "The cluster is at feature level \(report.featureLevel), which is all that its nodes can do."
            } else if report.nodes.contains(where: { $0.objection != nil }) {
                "The cluster is at feature level \(report.featureLevel). Level \(report.highestLevel) needs every node; until "
                    + "then each can go back to the release before."
            } else {
                "The cluster is at feature level \(report.featureLevel), and every node can do \(report.highestLevel): "
                    + "`holdfast upgrade finalize`, once the release before is not needed any more."
            }
        return (style.wrapped(sentence) + [""] + table.lines(style: style)).joined(separator: "\n") + "\n"
    }
}
