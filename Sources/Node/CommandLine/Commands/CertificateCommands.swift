import API
import ArgumentParser
import Basis
import Reports

/// `holdfast certificates …`.
struct CertificatesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "certificates", abstract: "Show the certificates of the nodes, and renew them before their time.",
        subcommands: [List.self, Renew.self, Rotate.self], defaultSubcommand: List.self)

    /// `holdfast certificates list`, and `holdfast certificates`.
    struct List: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show which certificate each node has, and when it is renewed (the default).",
            discussion: "They renew themselves when a third of their year is left. No link looks at their dates.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            let report = try await self.connection.client.certificates()
            try self.print(report, text: CertificatesText.report(report, style: self.console.style))
        }
    }

    /// `holdfast certificates renew`.
    struct Renew: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Get another certificate for this node now, with a new key.",
            discussion: "Nothing is interrupted: connections that are there go on, and new ones use it.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions

        func run() async throws {
            let result = try await self.connection.client.certificatesRenew()
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }
}

extension CertificatesCommand {
    /// `holdfast certificates rotate`.
    struct Rotate: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put another authority in the place of the cluster's, so that copied keys open nothing any more.",
            discussion: """
                Every node trusts the new authority first, then gets a certificate of it, then the present one is dropped. \
                No connection is interrupted. A node that is away is waited for, and named by `holdfast certificates`; \
                with --without it is locked out unless it comes before the end, and has to join anew.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @Flag(name: .shortAndLong, help: "Do not ask for confirmation. (It is only asked on a terminal.)") var yes =
            false
        @Flag(help: "Say what would happen, but change nothing.") var dryRun = false
        @Option(help: "Do not wait for this node any more; may be given several times.") var without: [String] = []
        @Flag(help: "The new authority does not come after all; possible until every node trusts it.") var cancel =
            false

        func validate() throws {
            if self.cancel, !self.without.isEmpty {
                throw ValidationError("--cancel and --without exclude each other.")
            }
        }

        func run() async throws {
            let client = self.connection.client
            let names = try await client.status().nodes.map(\.name)
            var request = RotateRequest(
                without: try self.without.map { try Names.resolve($0, among: names, kind: "node") },
                isCancelled: self.cancel, dryRun: true)
            if !self.yes, !self.dryRun, self.console.isInteractive {
                try self.confirm("After this \(try await client.certificatesRotate(request).sentence).")
            }
            request.dryRun = self.dryRun
            let result = try await client.certificatesRotate(request)
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }
}

/// Certificates as text.
enum CertificatesText {
    static func report(_ report: CertificatesReport, style: Style) -> String {
        var table = Table(["NODE", "CERTIFICATE", "AUTHORITY", "ITS KEY", "RENEWED ON", "ENDS ON", "TROUBLE"])
        for node in report.nodes {
            table.add([
                .init(text: node.name, tone: .strong), .init(text: self.short(node.fingerprint) ?? "unknown"),
                .init(text: self.short(node.authority) ?? ""),
                .init(text: node.keepsAuthorityKey == true ? "kept" : ""),
                .init(text: node.renewsSeconds.map { Validity.day($0) } ?? ""),
                .init(text: node.endsSeconds.map { Validity.day($0) } ?? (node.fingerprint == nil ? "" : "never")),
                .init(text: node.trouble ?? "", tone: .warning),
            ])
        }
        let notes = report.notes.flatMap { [""] + style.wrapped($0) }
        return (table.lines(style: style) + notes).joined(separator: "\n") + "\n"
    }

    /// Enough of a fingerprint to tell it from others.
    private static func short(_ fingerprint: String?) -> String? { fingerprint.map { String($0.prefix(12)) } }
}
