import API
import ArgumentParser
import Reports

/// Options of commands that a person signs for.
struct SignatureOptions: ParsableArguments {
    @Flag(help: "Say what would be lost and what to type, but change nothing.")
    var dryRun = false

    @Option(help: "The statement that the command asks for, instead of typing it.")
    var statement: String?
}

extension ConversingCommand {
    /// Shows what the command would do, has the statement typed, and sends it.
    func sign(
        _ options: SignatureOptions, _ style: Style, _ send: (MutationRequest) async throws -> MutationResult,
        to: String? = nil
    ) async throws -> MutationResult {
        let asked = try await send(MutationRequest(to: to, dryRun: true))
        guard !options.dryRun, let wanted = asked.statement else { return asked }
        var statement = options.statement
        if statement == nil, self.console.isInteractive {
            self.console.writeError(AnswerText.result(asked, style: style))
            self.console.writeError("Type the following to sign for it:\n  \(wanted)\n> ")
            statement = self.console.readAnswer()
        }
        guard let statement else {
            throw APIFailure(
                .refused, "nothing was changed: \(asked.sentence)",
                remedy: "read what --dry-run says, then give --statement \"\(wanted)\"")
        }
        return try await send(MutationRequest(to: to, statement: statement))
    }
}

extension VolumeVerbs {
    /// `holdfast volume accept-loss`.
    struct AcceptLoss: ConversingCommand {
        static let configuration = CommandConfiguration(
            commandName: "accept-loss",
            abstract: "Let a volume start from a copy that lacks writes, when the complete copies are gone for good.",
            discussion: "It says first what would be lost, and asks for a typed statement.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var signature: SignatureOptions
        @Argument(help: "The volume.") var volume: String
        @Option(help: "The node whose copy is to count.") var node: String

        func run() async throws {
            let client = self.connection.client
            let report = try await client.status()
            let name = try Names.resolve(self.volume, among: report.volumes.map(\.name), kind: "volume")
            let copies = report.volumes.first { $0.name == name }?.replicas.map(\.node) ?? []
            let node = try Names.resolve(self.node, among: copies, kind: "copy of \(name) on")
            let result = try await self.sign(
                self.signature, self.console.style, { try await client.volumeAcceptLoss(name, $0) }, to: node)
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }

    /// `holdfast volume allow-repair`.
    struct AllowRepair: ConversingCommand {
        static let configuration = CommandConfiguration(
            commandName: "allow-repair",
            abstract: "Let the next start of a volume's group repair its file system.",
            discussion: "A repair is mirrored into every copy, so a person signs for it.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var signature: SignatureOptions
        @Argument(help: "The volume.") var volume: String

        func run() async throws {
            let client = self.connection.client
            let report = try await client.status()
            let name = try Names.resolve(self.volume, among: report.volumes.map(\.name), kind: "volume")
            let result = try await self.sign(
                self.signature, self.console.style, { try await client.volumeAllowRepair(name, $0) })
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }
}
