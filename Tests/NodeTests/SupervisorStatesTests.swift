import Basis
import Foundation
import Testing

@testable import Cluster
@testable import Mirror
@testable import Raft

/// docs/states.md is printed from the tables that the states are checked by.
@Suite struct `The page of states` {
    @Test func `shows the tables as they are`() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let file = root.appendingPathComponent("docs/states.md")
        let page = Self.page
        if ProcessInfo.processInfo.environment["REWRITE"] == "1" {
            try page.write(to: file, atomically: true, encoding: .utf8)
        }
        #expect(
            try String(contentsOf: file, encoding: .utf8) == page,
            "docs/states.md is stale: run this test with REWRITE=1 and review the difference")
    }

    @Test func `no table has a step twice for the same cause, or a step that stays`() {
        self.check(Role.self)
        self.check(ClusterState.Standing.self)
        self.check(GroupRunner.Goal.self)
        self.check(GroupRunner.ResourceState.self)
        self.check(Volume.Opening.Stage.self)
        self.check(Volume.Peer.Phase.self)
        self.check(Volume.Peer.Standing.self)
    }

    private func check<State: SteppedState>(_ state: State.Type) {
        var seen: Set<[String]> = []
        for step in State.steps {
            #expect(step.from != step.to, "\(State.self): \(step.from)")
            #expect(
                seen.insert([step.from.rawValue, step.to.rawValue, step.cause]).inserted, "\(State.self): \(step)")
        }
        // A state that no step leads to or from is none.
        for name in State.Name.allCases {
            #expect(State.steps.contains { $0.from == name || $0.to == name }, "\(State.self): \(name.rawValue)")
        }
    }

    private static var page: String {
        """
        # States

        The states of the cores, and every step that they may take. Each step is checked against these tables in debug builds,
        where another one ends the process. A step to the same state is none. This page is printed by a test:
        `REWRITE=1 swift test --filter "The page of states"`.

        """
            + self.section(
                "A node in the log", "`Role` in `Sources/Raft/Core/Role.swift` (rules C1 to C7)", Role.self)
            + self.section(
                "A node in the applied state",
                "`ClusterState.Standing` in `Sources/Node/Cluster/State` (rules L4 to L8, E3)",
                ClusterState.Standing.self)
            + self.section(
                "A group on its node", "`GroupRunner.Goal` in `Sources/Node/Cluster/Groups` (rules L11, L12, L15)",
                GroupRunner.Goal.self)
            + self.section(
                "A resource of such a group", "`GroupRunner.ResourceState` in the same place",
                GroupRunner.ResourceState.self)
            + self.section(
                "A volume that is being opened", "`Volume.Opening.Stage` in `Sources/Mirror/Volume` (rules V1, V2)",
                Volume.Opening.Stage.self)
            + self.section(
                "A replica as the owner sees it", "`Volume.Peer.Phase` in the same place (rules V3, V5)",
                Volume.Peer.Phase.self)
            + self.section(
                "Whether the owner waits for a replica", "`Volume.Peer.Standing` in the same place (rules V3, V4)",
                Volume.Peer.Standing.self)
    }

    /// A drawing, and a table with a row for each step.
    private static func section<State: SteppedState>(_ title: String, _ place: String, _ state: State.Type) -> String {
        func word(_ name: State.Name) -> String {
            name.rawValue.replacingOccurrences(of: " ", with: "_").replacingOccurrences(of: "-", with: "_")
        }
        var rows: [(from: State.Name, to: State.Name, causes: [String])] = []
        for step in State.steps {
            if let place = rows.firstIndex(where: { $0.from == step.from && $0.to == step.to }) {
                rows[place].causes.append(step.cause)
            } else {
                rows.append((step.from, step.to, [step.cause]))
            }
        }
        let drawing = rows.map { "    \(word($0.from)) --> \(word($0.to))" }
        let table = rows.map { "| \($0.from.rawValue) | \($0.to.rawValue) | \($0.causes.joined(separator: "; or ")) |" }
        return
            (["", "## \(title)", "", "\(place).", "", "```mermaid", "stateDiagram-v2"] + drawing
            + ["```", "", "| from | to | what leads to it |", "| --- | --- | --- |"] + table).joined(separator: "\n")
            + "\n"
    }
}
