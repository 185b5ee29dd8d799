import API
import ArgumentParser
import Basis
import ClusterConfiguration
import FoundationEssentials
import Glibc
import Host
import Reports

extension NodeReport.Role: ExpressibleByArgument {}

/// Who this machine will be.
struct IdentityOptions: ParsableArguments {
    @Option(help: "This node's name: lower-case letters, digits and dashes.") var name: String
    @Option(help: "The site it is in, such as a city.") var site: String
    @Option(help: "Where its daemon listens for the others: HOST:PORT, such as 10.0.0.1:7400.") var address: String
    @Option(help: "What it may do: member, witness (votes, and runs nothing), or observer (runs groups, no vote).")
    var role: NodeReport.Role = .member

    func validate() throws { try Self.check(name: self.name, site: self.site, address: self.address) }

    static func check(name: String, site: String, address: String) throws {
        for (option, value) in [("--name", name), ("--site", site)] where !NameSyntax.isValid(value) {
            let proposal = NameSyntax.proposal(for: value).map { " Try `\(option) \($0)`." } ?? ""
            throw ValidationError(
                "`\(option) \(value)` cannot be a name; use at most 63 lower-case letters, digits and dashes.\(proposal)"
            )
        }
        guard Quantities.hostAndPort(address) != nil else {
            throw ValidationError(
                "`--address \(address)` is not a host and a port; write it like --address 10.0.0.1:7400.")
        }
    }
}

/// What `init` and `join` print with `-o json`.
struct SetupReport: Codable {
    var apiVersion = 1
    var sentence: String
    var next: [String]

    var text: String { self.sentence + "\n" + self.next.map { "  next: \($0)\n" }.joined() }
}

/// `holdfast init`.
struct InitCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Make this machine the first node of a new cluster.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var state: StateOptions
    @OptionGroup var identity: IdentityOptions
    @Option(help: "The new cluster's name.") var cluster: String

    func validate() throws {
        guard NameSyntax.isValid(self.cluster) else {
            throw ValidationError(
                "`--cluster \(self.cluster)` cannot be a name; use at most 63 lower-case letters, digits and dashes.")
        }
        guard self.identity.role == .member else {
            throw ValidationError("The first node must be a member; let witnesses join later.")
        }
    }

    func run() async throws {
        let options = NodeInitOptions(
            cluster: self.cluster, name: self.identity.name, site: self.identity.site, address: self.identity.address,
            role: self.identity.role, directory: self.state.path)
        try await CommandEnvironment.current.hooks.initialize(options)
        let template = self.state.path + "/cluster.yaml"
        if !FileManager.default.fileExists(atPath: template) {
            let text = ConfigurationTemplate.text(cluster: self.cluster, node: self.identity.name)
            try? FileManager.default.createDirectory(
                atPath: self.state.path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            // What it will tell services may be secret.
            let mode: [FileAttributeKey: Any] = [.posixPermissions: 0o600]
            if !FileManager.default.createFile(atPath: template, contents: Data(text.utf8), attributes: mode) {
                throw APIFailure(
                    .error, "\(template) cannot be written: \(SystemText.error(errno).lowercased())",
                    remedy: "the cluster is there nevertheless; start its daemon with `holdfast daemon`")
            }
        }
        let report = SetupReport(
            sentence: "\(self.identity.name) is the first node of the cluster \(self.cluster).",
            next: [
                "start it with `systemctl enable --now holdfast` (or `holdfast daemon`)",
                "run `holdfast token` here, and `holdfast join TOKEN` on the next machine",
                "describe your services in \(template), then `holdfast apply \(template)`",
            ])
        try self.print(report, text: report.text)
    }
}

/// `holdfast join`.
struct JoinCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "join", abstract: "Make this machine a node of a cluster that is there.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var state: StateOptions
    @OptionGroup var identity: IdentityOptions
    @Argument(help: "The token that `holdfast token` printed.") var token: String
    @Flag(help: "Take the place of the lost node of this name.") var replace = false

    func run() async throws {
        let options = NodeJoinOptions(
            token: self.token, name: self.identity.name, site: self.identity.site, address: self.identity.address,
            role: self.identity.role, isReplacement: self.replace, directory: self.state.path)
        try await CommandEnvironment.current.hooks.join(options)
        let report = SetupReport(
            sentence: "\(self.identity.name) has joined as \(self.identity.role == .observer ? "an" : "a") "
                + "\(self.identity.role.rawValue).",
            next: [
                "start it with `systemctl enable --now holdfast` (or `holdfast daemon`)",
                "see it come up with `holdfast status --watch`",
            ])
        try self.print(report, text: report.text)
    }
}

/// `holdfast listen`.
struct ListenCommand: ConversingCommand {
    static let configuration = CommandConfiguration(
        commandName: "listen", abstract: "Say where this machine is reached now, while its daemon is down.",
        discussion: """
            For a machine whose address changed while it was off. Its daemon listens there when it is started, and tells the \
            cluster. While the daemon runs, `holdfast node set NAME --address HOST:PORT` on any node does it.
            """)

    @OptionGroup var output: OutputOptions
    @OptionGroup var state: StateOptions
    @OptionGroup var connection: ConnectionOptions
    @Argument(help: "HOST:PORT, an address of this machine.") var address: String

    func run() async throws {
        let address = try await CommandEnvironment.current.hooks.listen(
            ListenOptions(
                address: self.address, directory: self.state.path, runDirectory: self.connection.directory))
        let report = SetupReport(
            sentence: "The daemon of this machine listens at \(address) from now on.",
            next: ["start it with `systemctl start holdfast` (or `holdfast daemon`); it tells the others"])
        try self.print(report, text: report.text)
    }
}

/// `holdfast daemon`.
struct DaemonCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "daemon", abstract: "Run this node in the foreground; logs go to standard error.")

    @OptionGroup var state: StateOptions
    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        try await CommandEnvironment.current.hooks.daemon(
            DaemonOptions(directory: self.state.path, runDirectory: self.connection.directory))
    }
}

/// `holdfast volume-server`.
struct VolumeServerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "volume-server", abstract: "Serve one volume; started by the daemon.", shouldDisplay: false)

    @Argument(parsing: .captureForPassthrough) var arguments: [String] = []

    func run() async throws {
        try await CommandEnvironment.current.hooks.volumeServer(VolumeServerCommandOptions(arguments: self.arguments))
    }
}

/// `holdfast guard`.
struct GuardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "guard", abstract: "Stop everything when the lease ends; started by the daemon.",
        shouldDisplay: false)

    @Argument(parsing: .captureForPassthrough) var arguments: [String] = []

    func run() async throws {
        try await CommandEnvironment.current.hooks.guardProcess(GuardOptions(arguments: self.arguments))
    }
}
