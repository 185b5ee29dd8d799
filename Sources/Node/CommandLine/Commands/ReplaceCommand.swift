import API
import ArgumentParser
import Basis
import Reports

extension NodeCommand {
    /// `holdfast node add`.
    struct Add: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print what to type on a new machine, so that it joins the cluster.",
            discussion: "With a one-time token in it, as `holdfast token` prints. Nothing changes before that is typed."
        )
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @Argument(help: "The name of the new node.") var node: String
        @Option(help: "The site that it is in.") var site: String
        @Option(help: "Where its peers reach it: HOST:PORT.") var address: String
        @Option(help: "What it may do: member, witness (votes, and runs nothing), or observer (runs groups, no vote).")
        var role = NodeReport.Role.member

        func validate() throws { try IdentityOptions.check(name: self.node, site: self.site, address: self.address) }

        func run() async throws {
            let report = try await self.connection.client.status()
            if let known = report.nodes.first(where: { $0.name == self.node }) {
                throw APIFailure(
                    .refused, "there is a node \(self.node) already; it is \(known.state.rawValue)",
                    remedy:
                        "if its machine is destroyed, `holdfast node replace \(self.node)`; else choose another name")
            }
            try report.refuse(self.address, for: self.node)
            let token = try await self.newToken(from: self.connection.client)
            try self.printJoin(
                token, ["--name", self.node, "--site", self.site, "--address", self.address], role: self.role)
        }
    }

    /// `holdfast node replace`.
    struct Replace: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print what to type on a new machine, so that it takes the place of a node that is lost.",
            discussion: """
                The node keeps its name, its site and its role; its machine, its log and its copies are new. Nothing changes \
                before that is typed; then the old machine is no part of the cluster any more.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @Argument(help: "The node.") var node: String
        @Option(help: "Where peers reach the new machine, if not where the old one was: HOST:PORT.") var address:
            String?

        func validate() throws {
            if let address = self.address { try IdentityOptions.check(name: "n", site: "s", address: address) }
        }

        func run() async throws {
            let client = self.connection.client
            let report = try await client.status()
            let name = try Names.resolve(self.node, among: report.nodes.map(\.name), kind: "node")
            guard let old = report.nodes.first(where: { $0.name == name }) else { return }
            guard old.state == .lost || old.state == .never else {
                throw APIFailure(
                    .refused, "\(name) is \(old.state.rawValue): it is replaced once its life has certainly ended",
                    remedy: "switch its machine off, and ask again when `holdfast status` says that it is lost")
            }
            guard let address = self.address ?? old.address else {
                throw APIFailure(
                    .refused, "where \(name) was is not known here", remedy: "say where it will be: --address HOST:PORT"
                )
            }
            try report.refuse(address, for: name)
            let token = try await self.newToken(from: client)
            try self.printJoin(
                token, ["--name", name, "--site", old.site, "--address", address, "--replace"], role: old.role)
        }
    }
}

extension StatusReport {
    /// Refuses an address at which another node is reached: it would be reached there instead.
    fileprivate func refuse(_ address: String, for node: String) throws {
        guard let other = self.nodes.first(where: { $0.name != node && $0.address == address }) else { return }
        throw APIFailure(
            .refused, "\(other.name) is reached at \(address)",
            remedy: "give the new machine another address, or move \(other.name) first: "
                + "`holdfast node set \(other.name) --address HOST:PORT`")
    }
}

/// What `holdfast node add` and `holdfast node replace` print as JSON.
private struct JoinReport: Encodable {
    let apiVersion = 1
    /// What to type on the new machine.
    let command: [String]
    /// The secret in it.
    let token: String
    /// How long it is valid.
    let validSeconds: UInt64
}

extension ConversingCommand {
    /// The command for the new machine, with the token in it.
    fileprivate func printJoin(_ token: TokenReport, _ words: [String], role: NodeReport.Role) throws {
        let command =
            ["holdfast", "join", token.token] + words + (role == .member ? [] : ["--role", role.rawValue])
        let text = """
            On the new machine, within \(Amounts.age(Double(token.validSeconds))), and only once:
              \(command.joined(separator: " "))
              systemctl start holdfast

            """
        try self.print(
            JoinReport(command: command, token: token.token, validSeconds: token.validSeconds), text: text)
    }
}
