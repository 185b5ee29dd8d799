import API
import ArgumentParser
import Basis
import Reports

/// `holdfast agent …`.
struct AgentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent", abstract: "Look at the OCF agents of this machine.",
        subcommands: [List.self, Describe.self])

    /// `holdfast agent list`.
    struct List: ConversingCommand {
        static let configuration = CommandConfiguration(abstract: "Name every OCF agent that is installed here.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            let report = try await self.connection.client.agents()
            let none = "There is no OCF agent on \(report.node). Next: install resource-agents.\n"
            try self.print(
                report, text: report.agents.isEmpty ? none : report.agents.map { $0 + "\n" }.joined())
        }
    }

    /// `holdfast agent describe`.
    struct Describe: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what an OCF agent may be told, and what times it recommends.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @Argument(help: "The agent, such as ocf:heartbeat:Dummy.") var agent: String

        func run() async throws {
            let report = try await self.connection.client.agent(self.agent)
            try self.print(report, text: self.text(report))
        }

        private func text(_ report: AgentReport) -> String {
            let about = report.summary.isEmpty ? "" : ": \(report.summary)"
            var lines = ["\(report.agent) on \(report.node)\(about)"]
            var parameters = Table(["PARAMETER", "REQUIRED", "DEFAULT", "MEANING"])
            for parameter in report.parameters {
                parameters.add([
                    .init(text: parameter.name), .init(text: parameter.required ? "yes" : ""),
                    .init(text: parameter.standard ?? ""), .init(text: parameter.summary),
                ])
            }
            var actions = Table(["ACTION", "AT LEAST"])
            for action in report.actions {
                actions.add([
                    .init(text: action.name), .init(text: action.timeoutSeconds.map { Amounts.age($0) } ?? ""),
                ])
            }
            if !report.parameters.isEmpty { lines += [""] + parameters.lines(style: self.console.style) }
            if !report.actions.isEmpty { lines += [""] + actions.lines(style: self.console.style) }
            return lines.joined(separator: "\n") + "\n"
        }
    }
}
