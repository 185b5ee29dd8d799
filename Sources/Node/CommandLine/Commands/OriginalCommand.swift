import API
import ArgumentParser
import Basis
import Reports

extension NodeCommand {
    /// `holdfast node original`.
    struct Original: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say which of several machines that say that they are a node is it: a copy was started too.",
            discussion: """
                `holdfast status` names the machines. The one that is named here gets another key and certificate, and runs groups \
                again; what the others have opens nothing from then on, whatever is restarted. Switch them off, or empty the state \
                directory there and bring them in as nodes of their own with `holdfast join`.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @Argument(help: "The node.") var node: String
        @Option(help: "The boot id of the machine that it is, or its beginning.") var boot: String?
        @Option(help: "Where that machine is heard from, if no other one is.") var address: String?

        func validate() throws {
            guard (self.boot != nil) != (self.address != nil) else {
                throw ValidationError("say which machine it is, with --boot or with --address.")
            }
        }

        func run() async throws {
            let client = self.connection.client
            let names = try await client.status().nodes.map(\.name)
            let name = try Names.resolve(self.node, among: names, kind: "node")
            var request = MutationRequest(
                expectedIndex: self.options.index, dryRun: true, machine: self.boot ?? self.address)
            let preview = try await client.nodeOriginal(name, request)
            try self.confirm("\(preview.sentence).", self.options)
            request.dryRun = self.options.dryRun
            let result = try await client.nodeOriginal(name, request)
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }
}
