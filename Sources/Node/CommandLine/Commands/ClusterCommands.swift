import API
import ArgumentParser
import Basis
import Reports

/// `holdfast cluster …`.
struct ClusterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster",
        abstract:
            "Go on without a majority that is lost for good, bring back who was left behind; back a cluster up, and restore it.",
        subcommands: [Recover.self, Rejoin.self, Backup.self, Restore.self])

    /// `holdfast cluster recover`.
    struct Recover: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Leave a majority of voters behind that is lost for good.",
            discussion: """
                --preview, and the bare command, shows how the survivors stand and what could be lost, and changes \
                nothing. --execute forms a new generation of those that answer. Every node that does not answer is \
                to be named with --dead, and must be off: nothing can stop it from running what it ran. Comes back one \
                of them, it is refused, and takes part again only after `holdfast cluster rejoin`, with an empty log.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @Flag(help: "Say how the nodes stand and what could be lost, and change nothing; the default.") var preview =
            false
        @Flag(help: "Do it.") var execute = false
        @Option(name: .customLong("dead"), help: "A node that is given up. May be repeated.") var dead: [String] = []
        @Flag(help: "Start the groups at once, although nobody can prove that those given up run nothing.")
        var startAlthoughUnproven = false
        @Option(help: "The statement that the command asks for, instead of typing it.") var statement: String?
        @Flag(name: .shortAndLong, help: "Do not ask before the statement.") var yes = false

        func validate() throws {
            guard !self.preview || !self.execute else { throw ValidationError("Give either --preview or --execute.") }
            guard !self.execute || !self.dead.isEmpty else {
                throw ValidationError("Say who is given up: --dead NAME; `--preview` shows who does not answer.")
            }
        }

        func run() async throws {
            let client = self.connection.client
            let report = try await client.recovery()
            guard self.execute else {
                return try self.print(report, text: RecoveryText.report(report, style: self.console.style))
            }
            let names = report.nodes.map(\.name)
            let dead = try self.dead.map { try Names.resolve($0, among: names, kind: "node") }
            var request = RecoveryRequest(dead: dead, startsGroups: self.startAlthoughUnproven)
            let asked = try await client.recover(request)
            if !self.yes, self.statement == nil, self.console.isInteractive {
                self.console.writeError(RecoveryText.report(report, style: self.console.style))
                try self.confirm("\(asked.sentence). This cannot be taken back.")
            }
            request.statement = try self.signed(asked)
            let result = try await client.recover(request)
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }

        private func signed(_ asked: MutationResult) throws -> String {
            let wanted = asked.statement ?? ""
            var statement = self.statement
            if statement == nil, self.console.isInteractive {
                self.console.writeError("Type the following to sign for it:\n  \(wanted)\n> ")
                statement = self.console.readAnswer()
            }
            if let statement { return statement }
            throw APIFailure(
                .refused, "nothing was changed: \(asked.sentence)",
                remedy: "read what --preview says, then give --statement \"\(wanted)\"")
        }
    }

    /// `holdfast cluster rejoin`.
    struct Rejoin: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let this node, which a recovery left behind, come back with an empty log.",
            discussion: "Its log is kept aside. What its copies hold that the others lack is overwritten.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @Flag(name: .shortAndLong, help: "Do not ask.") var yes = false

        func run() async throws {
            if !self.yes {
                try self.confirm(
                    "What this node alone knows is set aside, and what its copies alone hold is overwritten.")
            }
            let result = try await self.connection.client.rejoin()
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }
}

/// What a recovery would do, as text.
enum RecoveryText {
    static func report(_ report: RecoveryReport, style: Style) -> String {
        var table = Table(["NODE", "ANSWERS", "VOTES", "GENERATION", "LOG ENDS AT", "COMMITTED"])
        for node in report.nodes {
            let end = node.lastTerm.map { "\($0)/\(node.lastIndex ?? 0)" } ?? ""
            table.add([
                .init(text: node.name),
                .init(text: node.answers ? "yes" : "no", tone: node.answers ? .good : .bad),
                .init(text: node.votes ? "yes" : "no"),
                .init(text: node.generation.map { "\($0)" } ?? ""), .init(text: end),
                .init(text: node.committedIndex.map { "\($0)" } ?? ""),
            ])
        }
        var lines = table.lines(style: style)
        if let objection = report.objection {
            lines += [""] + style.wrapped("Nothing to recover here: \(objection).")
            if let remedy = report.remedy { lines += style.wrapped("Next: \(remedy).") }
            return lines.joined(separator: "\n") + "\n"
        }
        lines += [""] + report.consequences.flatMap { style.wrapped("- \($0)") }
        if let chosen = report.chosen {
            lines += style.wrapped(
                "- the log of \(chosen) becomes the cluster's; the survivors wait \(Amounts.age(report.waitSeconds)) first, so "
                    + "that every lease that they renewed is over")
        }
        if let command = report.command {
            lines += ["", "To go on, once those that do not answer are certainly off:", "  \(command)"]
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
