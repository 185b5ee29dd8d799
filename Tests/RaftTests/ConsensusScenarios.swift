import Basis
import Foundation
import Raft
import ScenarioKit
import Testing

/// Runs the files in `Scenarios`. Nodes are n1, n2, …; lists are `n1,n2`; nothing is delivered unless asked.
///
///     settings trailing= chunk= inflight= batch= lag=    before `cluster`
///     cluster N [learners=] [witnesses=] [empty=]        N nodes, of which those in `empty` know of no cluster
///     timeout n1                  time passes until n1's deadline, and n1 alone notices
///     elect n1                    the same, and everything is delivered until n1 leads
///     wait MS | tick n1 | live MS time passes unnoticed | n1 notices | time passes and everything works
///     deliver [from=] [to=] [kind=]   what is on the wire now, once, showing it; `drop` loses it
///     run                         everything, until the wire is empty, showing only what happens
///     stash [from=] [to=] [kind=] | replay       keeps copies of what is on the wire | sends them (again)
///     propose n1 TEXT | read n1 ID | transfer n1 [to=] | change n1 voters= [learners=] [witnesses=]
///     recover n1 TEXT [learners=]  n1 goes on without the majority
///     compact n1 | fail-disk n1 | crash n1 [torn=ENTRIES] | restart n1 [commit=]
///     keep n1                                    what n1 writes beside its log is on disk; `release` does it too
///     hold n1 | persist n1 [COUNT] | release n1  the disk of n1 answers only when asked | asks | answers again
///     cut n1 n2 | cut n1>n2 | isolate n1 | mend  loses what is sent between them, in one direction, all; none
///     state [n1] | log n1 | progress n1 | wire
struct ConsensusScenario {
    private var cluster = ScenarioCluster()

    mutating func perform(_ directive: ScenarioFile.Directive) throws -> [String] {
        self.cluster.output = []
        switch directive.command {
        case "settings", "cluster", "crash", "restart", "hold", "keep", "persist", "release", "compact":
            try self.machine(directive)
        case "timeout", "elect", "wait", "tick", "live": try self.time(directive)
        case "deliver", "drop", "run", "stash", "replay", "cut", "isolate", "mend": try self.network(directive)
        case "propose", "read", "transfer", "change", "fail-disk", "recover": try self.ask(directive)
        case "state", "log", "progress", "wire": try self.show(directive)
        default: throw ScenarioCluster.Misuse(description: "unknown command \(directive.command)")
        }
        return self.cluster.output
    }

    private func nodes(_ text: String?) -> [NodeID] {
        (text ?? "").split(separator: ",").compactMap { UInt32($0.dropFirst()) }.map { NodeID($0) }
    }

    private mutating func machine(_ directive: ScenarioFile.Directive) throws {
        switch directive.command {
        case "settings":
            func number(_ key: String, _ standard: Int) -> Int {
                directive.options[key].flatMap { Int($0) } ?? standard
            }
            self.cluster.settings = Consensus.Settings(
                maximumAppendBytes: number("batch", 1000), maximumInflightAppends: number("inflight", 100),
                snapshotChunkBytes: number("chunk", 1000), trailingEntries: UInt64(number("trailing", 0)),
                promotionLag: UInt64(number("lag", 1000)))
            return
        case "cluster":
            self.build(directive)
            return
        default: break
        }
        let position = try self.cluster.position(directive.arguments.first)
        switch directive.command {
        case "crash":
            if let kept = directive.options["torn"].flatMap({ Int($0) }),
                let write = self.cluster.nodes[position].writes.first
            {
                self.cluster.nodes[position].disk.tear(write.request, entries: kept)
            }
            self.cluster.nodes[position].crash()
        case "restart":
            if let commit = directive.options["commit"].flatMap({ UInt64($0) }) {
                self.cluster.nodes[position].disk.state.hardState.commit = LogIndex(commit)
            }
            self.cluster.nodes[position].start(
                settings: self.cluster.settings, seed: UInt64(position), at: self.cluster.now)
            self.cluster.checker.restarted(self.cluster.nodes[position].id)
        case "hold": self.cluster.nodes[position].holdsWrites = true
        case "keep": try self.cluster.keep(position)
        case "persist":
            try self.cluster.persist(position, count: directive.arguments.dropFirst().first.flatMap { Int($0) } ?? .max)
        case "release":
            self.cluster.nodes[position].holdsWrites = false
            try self.cluster.keep(position)
            try self.cluster.persist(position)
        default:
            let node = self.cluster.nodes[position]
            if let snapshot = node.core?.makeSnapshot(at: node.applied, data: node.commands) {
                try self.cluster.step(position, .compact(snapshot))
            }
        }
    }

    private mutating func build(_ directive: ScenarioFile.Directive) {
        let count = directive.arguments.first.flatMap { UInt32($0) } ?? 3
        let learners = self.nodes(directive.options["learners"])
        let empty = self.nodes(directive.options["empty"])
        let all = (1...count).map { NodeID($0) }
        let membership = Membership(
            voters: all.filter { !learners.contains($0) && !empty.contains($0) }, learners: learners,
            witnesses: self.nodes(directive.options["witnesses"]))
        let snapshot = Snapshot(
            mark: LogMark(term: Term(1), index: LogIndex(1)), membership: membership, membershipIndex: LogIndex(1),
            data: [])
        for id in all {
            var node = TestNode(id: id)
            if !empty.contains(id) { node.disk.state.snapshot = snapshot }
            node.start(settings: self.cluster.settings, seed: UInt64(id.rawValue), at: self.cluster.now)
            self.cluster.nodes.append(node)
        }
    }

    private mutating func time(_ directive: ScenarioFile.Directive) throws {
        let milliseconds = directive.arguments.first.flatMap { UInt64($0) } ?? 0
        switch directive.command {
        case "wait": self.cluster.now = self.cluster.now + .milliseconds(milliseconds)
        case "live": try self.cluster.live(milliseconds: milliseconds)
        default:
            let position = try self.cluster.position(directive.arguments.first)
            if directive.command != "tick", let deadline = self.cluster.nodes[position].core?.nextDeadline {
                guard deadline < .never else { throw ScenarioCluster.Misuse(description: "nothing is due") }
                self.cluster.now = max(self.cluster.now, deadline)
            }
            try self.cluster.step(position, .tick)
            if directive.command == "elect" { try self.cluster.run() }
        }
    }

    private mutating func network(_ directive: ScenarioFile.Directive) throws {
        let from = directive.options["from"]
        let to = directive.options["to"]
        let wanted = directive.options["kind"]
        let filter = { (letter: ScenarioCluster.Letter) in
            (from == nil || "\(letter.from)" == from) && (to == nil || "\(letter.outbound.to)" == to)
                && (wanted == nil || kind(letter.outbound.message) == wanted)
        }
        switch directive.command {
        case "deliver", "drop":
            let count = try self.cluster.deliver(
                matching: filter, show: true, drop: directive.command == "drop")
            if count == 0 { self.cluster.output.append("nothing on the wire") }
        case "run": try self.cluster.run()
        case "stash": self.cluster.stash += self.cluster.wire.filter(filter)
        case "replay":
            self.cluster.wire += self.cluster.stash
            self.cluster.stash = []
        case "mend": self.cluster.cut = []
        case "isolate":
            let node = self.cluster.nodes[try self.cluster.position(directive.arguments.first)].id
            for other in self.cluster.nodes.map(\.id) where other != node {
                self.cluster.cut.formUnion([[node, other], [other, node]])
            }
        default:
            if let arrow = directive.arguments.first, arrow.contains(">") {
                self.cluster.cut.insert(self.nodes(arrow.replacingOccurrences(of: ">", with: ",")))
            } else {
                let ends = self.nodes(directive.arguments.joined(separator: ","))
                self.cluster.cut.formUnion([ends, ends.reversed()])
            }
        }
    }

    private mutating func ask(_ directive: ScenarioFile.Directive) throws {
        let position = try self.cluster.position(directive.arguments.first)
        switch directive.command {
        case "propose":
            let text = directive.arguments.dropFirst().joined(separator: " ")
            try self.cluster.step(position, .propose(Array(text.utf8)))
        case "read":
            try self.cluster.step(position, .readIndex(id: directive.arguments.last.flatMap { UInt64($0) } ?? 0))
        case "transfer":
            try self.cluster.step(position, .transferLeadership(to: self.nodes(directive.options["to"]).first))
        case "change":
            let target = Membership(
                voters: self.nodes(directive.options["voters"]), learners: self.nodes(directive.options["learners"]),
                witnesses: self.nodes(directive.options["witnesses"]))
            try self.cluster.step(position, .changeMembership(target))
        case "recover":
            let text = directive.arguments.dropFirst().joined(separator: " ")
            try self.cluster.step(
                position, .recover(Array(text.utf8), learners: self.nodes(directive.options["learners"]), above: .zero))
        default: try self.cluster.step(position, .diskFailed)
        }
    }

    private mutating func show(_ directive: ScenarioFile.Directive) throws {
        var cores = self.cluster.nodes.compactMap(\.core)
        if let name = directive.arguments.first {
            let position = try self.cluster.position(name)
            cores = [self.cluster.nodes[position].core].compactMap { $0 }
        }
        for core in cores {
            switch directive.command {
            case "state":
                let leader = core.leader.map { ", leader \($0)" } ?? ""
                self.cluster.output.append("\(core.summary)\(leader)")
            case "log":
                self.cluster.output.append(core.entries(after: .zero).map(describe).joined(separator: " "))
                self.cluster.output.append(describe(core.membership))
            case "progress": self.cluster.output += core.progressSummary
            default: break
            }
        }
        if directive.command == "wire" {
            self.cluster.output += self.cluster.wire.map {
                "\($0.from)->\($0.outbound.to) \(describe($0.outbound.message))"
            }
            if self.cluster.wire.isEmpty { self.cluster.output.append("nothing on the wire") }
        }
    }
}

@Suite struct `Consensus scenarios` {
    static var files: [String] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Scenarios").path()
        return ScenarioFile.files(in: folder).map { URL(filePath: $0) }.map { $0.path() }
    }

    @Test func `there are scenarios`() {
        #expect(Self.files.count >= 25)
    }

    @Test(arguments: files) func `a scenario prints what its file says`(file: String) throws {
        var scenario = ConsensusScenario()
        try ScenarioFile(path: file).run { try scenario.perform($0) }
    }
}
