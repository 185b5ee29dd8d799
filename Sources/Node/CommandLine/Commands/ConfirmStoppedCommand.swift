import API
import ArgumentParser
import Reports

extension GroupCommand {
    /// `holdfast group confirm-stopped`.
    struct ConfirmStopped: ConversingCommand {
        static let configuration = CommandConfiguration(
            commandName: "confirm-stopped",
            abstract: "Sign that nothing of a group is left on a node that could not stop it.",
            discussion: """
                A node whose agent cannot stop what a kill does not end (a route, an export, a target) keeps the group, and
                no other node starts it, until its stop succeeds. Look there yourself, or turn the machine off. If something
                of the group is still in use on it, the group will be active twice.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @Option(help: "The node that could not stop it.") var on: String
        @Option(help: "What makes it certain; it is kept with the event.") var statement: String
        @Argument(help: "The group.") var group: String

        func run() async throws {
            let client = self.connection.client
            let report = try await client.status()
            let name = try Names.resolve(self.group, among: report.groups.map(\.name), kind: "group")
            let node = try Names.resolve(self.on, among: report.nodes.map(\.name), kind: "node")
            try self.confirm(
                "This signs that nothing of \(name) is left on \(node). If that is wrong, it will be active on two nodes.",
                self.options)
            let result = try await client.groupConfirmStopped(
                name,
                MutationRequest(
                    to: node, statement: self.statement, expectedIndex: self.options.index, dryRun: self.options.dryRun)
            )
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }
}
