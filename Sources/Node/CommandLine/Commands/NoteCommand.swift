import API
import ArgumentParser
import Reports

/// `holdfast note`.
struct NoteCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "note", abstract: "Write something among the events, for whoever looks for a cause later.",
        discussion: """
            A disk was exchanged, a switch restarted, a provider called: what the cluster cannot know stands then between what it \
            saw. `holdfast events` shows it on every node, with the time and the node where it was written.
            """)
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions
    @OptionGroup var options: MutationOptions
    @Option(help: "The node that it is about.") var node: String?
    @Argument(help: "The text, in quotation marks; at most 400 characters are kept.") var text: String

    func run() async throws {
        let client = self.connection.client
        let node = try await self.about(client)
        let result = try await client.note(
            MutationRequest(
                to: node, statement: self.text, expectedIndex: self.options.index, dryRun: self.options.dryRun))
        try self.print(result, text: AnswerText.result(result, style: self.console.style))
    }

    private func about(_ client: APIClient) async throws -> String? {
        guard let node = self.node else { return nil }
        return try Names.resolve(node, among: try await client.status().nodes.map(\.name), kind: "node")
    }
}
