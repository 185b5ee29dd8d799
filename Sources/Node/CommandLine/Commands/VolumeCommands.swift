import API
import ArgumentParser
import Basis
import ClusterConfiguration
import Reports

/// `holdfast volume …`.
struct VolumeVerbs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "volume", abstract: "Look at mirrored volumes and compare their copies.",
        subcommands: [Status.self, Wait.self, Resync.self, AcceptLoss.self, AllowRepair.self])

    /// `holdfast volume status`.
    struct Status: ConversingCommand {
        static let configuration = CommandConfiguration(abstract: "Say how the copies of volumes stand.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @Flag(help: "Look again every second.") var watch = false
        @Argument(help: "The volume; without it all of them.") var volume: String?

        /// What `-o json` prints.
        struct Report: Codable {
            var apiVersion = 1
            var volumes: [VolumeReport]
        }

        func run() async throws {
            var progress = ResyncProgress(console: self.console)
            repeat {
                let report = try await self.connection.client.status()
                let name = try self.volume.map {
                    try Names.resolve($0, among: report.volumes.map(\.name), kind: "volume")
                }
                let volumes = report.volumes.filter { name == nil || $0.name == name }
                var page = VolumeText(volumes: volumes, style: self.console.style).render()
                guard self.watch else {
                    try self.print(Report(volumes: volumes), text: page)
                    return
                }
                if self.output.format == .text, self.console.outputIsTerminal {
                    let bars = progress.lines(volumes, at: self.console.milliseconds())
                    page += bars.isEmpty ? "" : "\n" + bars.joined(separator: "\n") + "\n"
                    self.console.showPage(page)
                } else {
                    try self.print(Report(volumes: volumes), text: page)
                }
                try await self.console.pause(1000)
            } while true
        }
    }

    /// `holdfast volume wait`.
    struct Wait: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Wait until every copy holds every write.",
            discussion: "The first comparison of new copies may take hours; on a terminal its progress is shown.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @Option(help: "Give up after this time (exit code 7), such as 10m.") var timeout = "24h"
        @Argument(help: "The volume; without it all of them.") var volume: String?

        /// What `-o json` prints.
        struct Report: Codable {
            var apiVersion = 1
            var volumes: [String]
            var sentence: String
        }

        func validate() throws {
            guard let span = Quantities.span(self.timeout), span > .zero else {
                throw ValidationError("`--timeout \(self.timeout)` is not a length of time; write it like 90s or 10m.")
            }
        }

        func run() async throws {
            let client = self.connection.client
            let known = try await client.status().volumes.map(\.name)
            let names = try self.volume.map { [try Names.resolve($0, among: known, kind: "volume")] } ?? known
            try await Waiting(
                client: client, console: self.console,
                timeoutMilliseconds: Quantities.span(self.timeout)?.milliseconds ?? 0, afterIndex: 0
            ).until("that every copy is in sync", volumes: { $0.volumes.filter { names.contains($0.name) } }) {
                report in
                for volume in report.volumes where names.contains(volume.name) {
                    if let open = volume.replicas.first(where: { !$0.inSync || $0.resyncTotalBytes > 0 }) {
                        let reason = open.reason.isEmpty ? "" : ": \(open.reason)"
                        return .notYet("\(volume.name) on \(open.node) is \(VolumeText.standing(open))\(reason)")
                    }
                }
                return .done
            }
            let sentence = "Every copy of \(Suggestion.list(names)) holds every write."
            try self.print(
                Report(volumes: names, sentence: sentence),
                text: names.isEmpty ? "There are no volumes.\n" : sentence + "\n")
        }
    }

    /// `holdfast volume resync`.
    struct Resync: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compare every block of a volume's copies with its owner again.",
            discussion: "Writes go on; blocks that agree are not sent.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var options: MutationOptions
        @OptionGroup var waiting: WaitOptions
        @Argument(help: "The volume.") var volume: String
        @Option(help: "The node whose copy to compare; without it all of them.") var node: String?

        func run() async throws {
            let client = self.connection.client
            let report = try await client.status()
            let name = try Names.resolve(self.volume, among: report.volumes.map(\.name), kind: "volume")
            let copies = report.volumes.first { $0.name == name }?.replicas.map(\.node) ?? []
            let target = try self.node.map { try Names.resolve($0, among: copies, kind: "copy of \(name) on") }
            let result = try await client.volumeResync(
                name, MutationRequest(to: target, expectedIndex: self.options.index, dryRun: self.options.dryRun))
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
            guard self.waiting.wait, result.accepted else { return }
            try await Waiting(
                client: client, console: self.console, timeoutMilliseconds: self.waiting.timeoutMilliseconds,
                afterIndex: result.index
            ).until("the resync of \(name)", volumes: { $0.volumes.filter { $0.name == name } }) { report in
                guard let volume = report.volumes.first(where: { $0.name == name }) else {
                    return .hopeless(
                        APIFailure(
                            .notFound, "the volume `\(name)` is gone from the configuration",
                            remedy: "see `holdfast plan`"))
                }
                let open = volume.replicas.filter { target == nil || $0.node == target }
                    .first { !$0.inSync || $0.resyncTotalBytes > 0 }
                guard let open else { return .done }
                return .notYet(
                    "\(open.node) is \(VolumeText.standing(open))" + (open.reason.isEmpty ? "" : ": \(open.reason)"))
            }
        }
    }
}
