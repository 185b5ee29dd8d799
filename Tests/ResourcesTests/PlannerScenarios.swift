import Basis
import Foundation
import Resources
import ScenarioKit
import Testing

/// Plays `Scenarios/planner_*.txt`: a cluster in words, and what the planner would do.
///
///     node NAME [witness] [standing=up|suspected|lost|never] [admitted=N] [drained] [pausing]
///     group NAME nodes=A,B [owner=A] [epoch=N] [last=A] [takeover=immediate] [failback] [releasing] [stopped]
///           [unsettled]
///           [target=B] [moves=N] [maximum=N] [unreported=A,B] [unlisted]
///     ban GROUP NODE words…        it failed there
///     lacks GROUP NODE words…      no usable copy of the data there
///     found GROUP NODE words…      what a search there met
///     occupied GROUP NODE words…   another group holds a directory there
///     awaits GROUP words…          another group holds what it wants
///     parked GROUP words…
///     plan
@Suite struct `The planner` {
    static let files = ScenarioFile.files(
        in: URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Scenarios").path
    ).filter { $0.contains("/planner_") }

    @Test(arguments: files) func `decides as written down in`(file: String) throws {
        var world = PlannerWorld()
        try ScenarioFile(path: file).run { try world.perform($0) }
    }

    @Test func `has scenarios to play`() { #expect(Self.files.count >= 8) }
}

private struct PlannerWorld {
    var nodes: [Observation.Node] = []
    var groups: [Observation.Group] = []
    var policies: [GroupPolicy] = []

    struct BadDirective: Error { let text: String }

    mutating func perform(_ directive: ScenarioFile.Directive) throws -> [String] {
        let words = directive.arguments
        switch directive.command {
        case "node": try self.addNode(directive)
        case "group": try self.addGroup(directive)
        case "ban": try self.change(words) { $0.bans.append(.init(node: words[1], reason: $1)) }
        case "lacks": try self.change(words) { $0.withoutData.append(.init(node: words[1], reason: $1)) }
        case "found": try self.change(words) { $0.findings.append(.init(node: words[1], reason: $1)) }
        case "occupied": try self.change(words) { $0.occupied.append(.init(node: words[1], reason: $1)) }
        case "awaits": try self.change([words[0], ""] + words.dropFirst()) { $0.awaits = $1 }
        case "parked": try self.change([words[0], ""] + words.dropFirst()) { $0.parked = $1 }
        case "plan":
            let plan = Planner.plan(
                policy: ClusterPolicy(name: "prod", groups: self.policies),
                observation: Observation(nodes: self.nodes, groups: self.groups))
            return plan.actions.isEmpty ? ["nothing to do"] : plan.actions.map(\.sentence)
        default: throw BadDirective(text: "line \(directive.line): \(directive.command)")
        }
        return []
    }

    private mutating func addNode(_ directive: ScenarioFile.Directive) throws {
        guard let name = directive.arguments.first else { throw BadDirective(text: "node without a name") }
        let node = Observation.Node(
            name: name, isMember: !directive.arguments.contains("witness"),
            standing: directive.options["standing"].flatMap(Observation.Standing.init) ?? .up,
            isDrained: directive.arguments.contains("drained"), isToPause: directive.arguments.contains("pausing"),
            admittedAt: directive.options["admitted"].flatMap { UInt64($0) } ?? 1)
        self.nodes.removeAll { $0.name == name }
        self.nodes.append(node)
    }

    private mutating func addGroup(_ directive: ScenarioFile.Directive) throws {
        guard let word = directive.arguments.first else { throw BadDirective(text: "group without a name") }
        let name = GroupName(word)
        var group = Observation.Group(name: name)
        group.isWanted = !directive.arguments.contains("stopped")
        group.isUnsettled = directive.arguments.contains("unsettled")
        group.isReleasing = directive.arguments.contains("releasing")
        group.owner = directive.options["owner"]
        group.epochIndex = directive.options["epoch"].flatMap { UInt64($0) } ?? 0
        group.lastOwner = directive.options["last"] ?? group.owner
        group.target = directive.options["target"]
        group.recentMoves = directive.options["moves"].flatMap { Int($0) } ?? 0
        group.unreported = directive.options["unreported"]?.split(separator: ",").map(String.init) ?? []
        self.groups.removeAll { $0.name == name }
        self.groups.append(group)
        self.policies.removeAll { $0.name == name }
        if directive.arguments.contains("unlisted") { return }
        self.policies.append(
            GroupPolicy(
                name: name, nodes: directive.options["nodes"]?.split(separator: ",").map(String.init) ?? [],
                takeover: directive.options["takeover"].flatMap(Takeover.init) ?? .afterLease,
                failback: directive.arguments.contains("failback"),
                maximumMoves: directive.options["maximum"].flatMap { Int($0) } ?? 6, resources: []))
    }

    private mutating func change(_ words: [String], _ body: (inout Observation.Group, String) -> Void) throws {
        guard let place = self.groups.firstIndex(where: { $0.name.rawValue == words[0] }) else {
            throw BadDirective(text: "no group \(words[0])")
        }
        body(&self.groups[place], words.dropFirst(2).joined(separator: " "))
    }
}
