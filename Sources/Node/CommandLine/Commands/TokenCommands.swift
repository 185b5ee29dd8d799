import API
import ArgumentParser
import Basis
import Reports

/// `holdfast token …`.
struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Print a one-time token with which another machine may join; list and revoke them.",
        subcommands: [CreateToken.self, ListTokens.self, RevokeToken.self], defaultSubcommand: CreateToken.self)
}

/// `holdfast token create`, and `holdfast token`.
struct CreateToken: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Print a one-time token with which another machine may join (the default).",
        discussion: "Works on every member: each keeps the key of the cluster's authority.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        let report = try await self.newToken(from: self.connection.client)
        // The hint goes to standard error, so that TOKEN=$(holdfast token) works.
        if self.output.format == .text, self.console.errorIsTerminal {
            self.console.writeError(
                "On the new machine, within \(Amounts.age(Double(report.validSeconds))):\n"
                    + "  holdfast join TOKEN --name NAME --site SITE --address HOST:PORT\n")
        }
        try self.print(report, text: report.token + "\n")
    }

}

extension ConversingCommand {
    /// A daemon that was started a moment ago gets a moment: this is the first command that a new cluster sees.
    func newToken(from client: APIClient) async throws -> TokenReport {
        let start = self.console.milliseconds()
        while true {
            do {
                return try await client.createToken()
            } catch let failure as APIFailure where failure.code == .error {
                guard self.console.milliseconds() - start < 5000 else { throw failure }
                try await self.console.pause(100)
            }
        }
    }
}

/// `holdfast token list`.
struct ListTokens: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Show the tokens of this node that are still good; the secrets are kept nowhere."
    )

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        let report = try await self.connection.client.tokens()
        var table = Table(["TOKEN", "VALID FOR", "ONLY FOR"])
        for token in report.tokens {
            table.add(
                [token.id, Amounts.age(Double(token.validSeconds)), token.node ?? ""].map { Table.Cell(text: $0) })
        }
        let lines = table.lines(style: self.console.style)
        try self.print(
            report,
            text: report.tokens.isEmpty
                ? "\(report.node) has no token that is still good.\n" : lines.joined(separator: "\n") + "\n")
    }
}

/// `holdfast token revoke`.
struct RevokeToken: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Void a token of this node that was not used yet.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "The token as `holdfast token list` names it.") var token: String

    func run() async throws {
        let client = self.connection.client
        let name = try Names.resolve(self.token, among: try await client.tokens().tokens.map(\.id), kind: "token")
        let result = try await client.revokeToken(name)
        try self.print(result, text: AnswerText.result(result, style: self.console.style))
    }
}
