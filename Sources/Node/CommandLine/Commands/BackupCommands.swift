import API
import ArgumentParser
import Basis
import FoundationEssentials
import Host
import Reports

extension ClusterCommand {
    /// `holdfast cluster backup`.
    struct Backup: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write all that the cluster has agreed on into a file.",
            discussion: """
                Configuration, attributes, and the names of nodes and volumes; no data of volumes, and no key. The configuration \
                may hold secrets: only root can read the file. `holdfast cluster restore` begins a new cluster with it.
                """)
        /// What it prints with `-o json`.
        struct Report: Codable {
            var apiVersion = 1
            var file: String
            var cluster: String
            var index: UInt64
            var bytes: Int
        }
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @Argument(help: "The file to write.", completion: .file()) var file: String
        @Flag(help: "Take what this node has, without asking a majority: where none is left.") var stale = false
        @Flag(help: "Replace the file if it is there.") var overwrite = false

        func run() async throws {
            if !self.overwrite, FileManager.default.fileExists(atPath: self.file) {
                throw APIFailure(
                    .refused, "\(self.file) is there already", remedy: "name another file, or give --overwrite")
            }
            let backup = try await self.connection.client.backup(isStale: self.stale)
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            let bytes = [UInt8](try encoder.encode(backup)) + [10]
            do {
                try Files.replace(self.file, with: bytes, mode: 0o600, isDurable: true)
            } catch {
                throw APIFailure(
                    .error, "\(self.file) cannot be written: \(SystemText.error(error.code).lowercased())",
                    remedy: "name a file in a directory that is there, on a file system with room")
            }
            let report = Report(file: self.file, cluster: backup.cluster, index: backup.index, bytes: bytes.count)
            try self.print(
                report,
                text: "\(self.file) has what \(backup.cluster) had agreed on up to entry \(backup.index) "
                    + "(\(Amounts.bytes(UInt64(bytes.count)))).\n")
        }
    }

    /// `holdfast cluster restore`.
    struct Restore: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make this machine the first node of a cluster that begins anew with a backup.",
            discussion: """
                For when every machine of the earlier cluster is lost, or none is to go on. Certificates are new, so no machine of \
                the earlier one takes part: others take their places with `holdfast join --replace`. No group runs before it is \
                started, and no volume is used before you have signed for one of its copies with `holdfast volume accept-loss`.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var state: StateOptions
        @Argument(help: "The file that `holdfast cluster backup` wrote.", completion: .file()) var file: String
        @Option(help: "This node's name: that of a node of the earlier cluster, or a new one.") var name: String
        @Option(help: "The site it is in, such as a city.") var site: String
        @Option(help: "Where its daemon listens for the others: HOST:PORT, such as 10.0.0.1:7400.") var address: String
        @Flag(help: "Say what would happen, but change nothing.") var dryRun = false
        @Flag(name: .shortAndLong, help: "Do not ask for confirmation. (It is only asked on a terminal.)") var yes =
            false

        func validate() throws { try IdentityOptions.check(name: self.name, site: self.site, address: self.address) }

        func run() async throws {
            let hooks = CommandEnvironment.current.hooks
            var options = RestoreOptions(
                file: self.file, name: self.name, site: self.site, address: self.address, directory: self.state.path,
                isDryRun: true)
            var report = try await hooks.restore(options)
            if self.dryRun { return try self.print(report, text: self.sentence(report, "would begin") + "\n") }
            if !self.yes {
                try self.confirm(
                    "\(self.sentence(report, "begins")) The machines of the earlier cluster must be off, and stay off: nothing can "
                        + "stop them from here.")
            }
            options.isDryRun = false
            report = try await hooks.restore(options)
            let setup = SetupReport(sentence: self.sentence(report, "begins"), next: self.next(report))
            try self.print(setup, text: setup.text)
        }

        private func sentence(_ report: RestoreReport, _ begins: String) -> String {
            let taken = Amounts.instant(milliseconds: report.takenMilliseconds)
            return
                "The cluster \(report.cluster) \(begins) anew on \(self.name), with what it had agreed on up to entry "
                + "\(report.index), as of \(taken)."
        }

        private func next(_ report: RestoreReport) -> [String] {
            var steps = ["start it with `systemctl enable --now holdfast` (or `holdfast daemon`)"]
            if !report.nodes.isEmpty {
                steps.append(
                    "run `holdfast token` here, and `holdfast join TOKEN --replace` on the machine that takes the place of "
                        + report.nodes.joined(separator: ", of "))
            }
            steps += report.volumes.map {
                "see what each copy of \($0) holds with `holdfast volume accept-loss \($0) --node NODE --dry-run`, and sign for one"
            }
            steps += report.groups.map { "start \($0) with `holdfast group start \($0)`" }
            return steps
        }
    }
}
