import API
import ArgumentParser
import Basis
import Reports

/// `holdfast attribute …`.
struct AttributeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attribute", abstract: "Leave words in the cluster, and read them, on any node.",
        discussion: """
            A small map that every node has: who is the primary of a database, which schema is in force, where a machine stands. \
            Holdfast decides nothing by it. What was put is read by everybody who asks afterwards, wherever; and a put can be \
            made to fail if somebody else was faster. An attribute is of the cluster, or with --node of a node.
            """,
        subcommands: [List.self, Get.self, Put.self, Delete.self])

    /// What an attribute is of.
    struct Scope: ParsableArguments {
        @Option(help: "It is of this node, and goes with it; without it it is of the cluster.") var node: String?

        /// As the API calls it.
        func word(_ client: APIClient) async throws -> String {
            guard let node = self.node else { return "cluster" }
            let known = try await client.status().nodes.map(\.name)
            return "node:" + (try Names.resolve(node, among: known, kind: "node"))
        }
    }

    /// How old an answer may be.
    struct Age: ParsableArguments {
        @Flag(help: "Show what this node has, however old it is, also without a majority; says how old it may be.")
        var stale = false
    }

    /// `holdfast attribute list`.
    struct List: ConversingCommand {
        static let configuration = CommandConfiguration(abstract: "Show all attributes, or those of a node.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var age: Age
        @Option(help: "Only those of this node.") var node: String?

        func run() async throws {
            let client = self.connection.client
            var scope: String?
            if self.node != nil {
                var given = Scope()
                given.node = self.node
                scope = try await given.word(client)
            }
            let report = try await client.attributes(scope: scope, isStale: self.age.stale)
            try self.print(report, text: AttributeText.list(report, style: self.console.style))
        }
    }

    /// `holdfast attribute get`.
    struct Get: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what an attribute says.",
            discussion: """
                Without --stale it is no older than what anybody was told before, and without a majority there is no answer \
                (exit code 5). A value is printed as one line in which nothing can harm a terminal; -o json has it as it was \
                put, with its version. One that is not there is exit code 3.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var scope: Scope
        @OptionGroup var age: Age
        @Argument(help: "The attribute.") var name: String

        func run() async throws {
            let client = self.connection.client
            let report = try await client.attribute(
                try await self.scope.word(client), self.name, isStale: self.age.stale)
            if let note = AttributeText.age(report), self.output.format == .text {
                self.console.writeError(note + "\n")
            }
            try self.print(report, text: report.attributes.map { AttributeText.value($0) + "\n" }.joined())
        }
    }

    /// `holdfast attribute put`.
    struct Put: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put an attribute, or only if it is what you expect.",
            discussion: """
                With one of --if-absent, --if-value and --if-version it is compared and set in one step: whoever comes second \
                gets exit code 4 and is told what is there (with -o json in `present`). After exit code 5 or 7 it may still \
                take effect: read it before you put it again.
                """)
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var scope: Scope
        @OptionGroup var expectation: Expectation
        @Flag(help: "Only if there is none of that name.") var ifAbsent = false
        @Flag(help: "With --node: it goes when that machine reboots or is lost.") var untilBoot = false
        @Argument(help: "Lower-case letters, digits, dashes and dots; at most 63.") var name: String
        @Argument(help: "What it says; at most 1024 bytes.") var value: String

        func validate() throws {
            guard !self.ifAbsent || !self.expectation.isGiven else {
                throw ValidationError("--if-absent leaves nothing to compare; give one condition alone.")
            }
            guard !self.untilBoot || self.scope.node != nil else {
                throw ValidationError("--until-boot wants --node: the cluster as a whole does not reboot.")
            }
        }

        func run() async throws {
            let client = self.connection.client
            var request = self.expectation.request
            request.value = self.value
            if self.untilBoot { request.lifetime = "boot" }
            if self.ifAbsent { request.ifAbsent = true }
            let result = try await client.attributePut(try await self.scope.word(client), self.name, request)
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }

    /// `holdfast attribute delete`.
    struct Delete: ConversingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete an attribute, or only if it is what you expect.",
            discussion: "One that is not there is exit code 3, one that is not what you expect exit code 4.")
        @OptionGroup var output: OutputOptions
        @OptionGroup var connection: ConnectionOptions
        @OptionGroup var scope: Scope
        @OptionGroup var expectation: Expectation
        @Argument(help: "The attribute.") var name: String

        func run() async throws {
            let client = self.connection.client
            let result = try await client.attributeDelete(
                try await self.scope.word(client), self.name, self.expectation.request)
            try self.print(result, text: AnswerText.result(result, style: self.console.style))
        }
    }

    /// What must be so for a change to have an effect.
    struct Expectation: ParsableArguments {
        @Option(help: "Only if it says this.") var ifValue: String?
        @Option(help: "Only if it has this version: nobody has put it since.") var ifVersion: UInt64?

        var isGiven: Bool { self.ifValue != nil || self.ifVersion != nil }
        var request: AttributeRequest { AttributeRequest(ifValue: self.ifValue, ifVersion: self.ifVersion) }

        func validate() throws {
            guard self.ifValue == nil || self.ifVersion == nil else {
                throw ValidationError("--if-version says more than --if-value; give one of them.")
            }
        }
    }
}

/// Attributes as text.
enum AttributeText {
    static func list(_ report: AttributesReport, style: Style) -> String {
        var lines = [self.age(report)].compactMap { $0 }
        guard !report.attributes.isEmpty else {
            return (lines + ["There are no attributes."]).joined(separator: "\n") + "\n"
        }
        var table = Table(["OF", "NAME", "VERSION", "LASTS", "VALUE"])
        for attribute in report.attributes {
            table.add([
                .init(text: attribute.scope), .init(text: attribute.name), .init(text: "\(attribute.version)"),
                .init(text: attribute.lifetime == "boot" ? "until the next boot" : ""),
                .init(text: self.value(attribute)),
            ])
        }
        lines += table.lines(style: style)
        return lines.joined(separator: "\n") + "\n"
    }

    /// As one line. What the value says is somebody else's text; its bound lets a value of the greatest length pass.
    static func value(_ attribute: AttributeReport) -> String { ForeignText.line(attribute.value, limit: 8192) }

    /// How old an answer may be, where that was not to be made sure of.
    static func age(_ report: AttributesReport) -> String? {
        report.ageSeconds.map { seconds in
            "This is what \(report.servedBy) has; it last heard a leader \(Amounts.age(seconds)) ago, and what was put since is "
                + "missing."
        }
    }
}
