import Basis
import Foundation
import Mirror
import ScenarioKit
import Testing

/// Runs Scenarios/*.txt against a small world of replicas. One file for each rule.
struct VolumeScenarioTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().path + "/Scenarios"

    struct UnknownDirective: Error, CustomStringConvertible {
        let description: String
    }

    struct Runner {
        var world = MirrorWorld(nodes: 2, blocks: 64, tuning: Volume.Tuning())
        /// Disks as they were at a `snapshot`.
        var snapshots: [NodeID: MirrorWorld.Node] = [:]
        /// Machines as they were at a `keep`, with their memory.
        var kept: [NodeID: (node: MirrorWorld.Node, at: Tick)] = [:]

        static func node(_ text: String?) -> NodeID {
            NodeID(UInt32((text ?? "").drop { $0 == "n" }) ?? 0)
        }
        static func nodes(_ text: String?) -> [NodeID] {
            (text ?? "").split(separator: ",").map { NodeID(UInt32($0) ?? 0) }
        }

        static func knownCopy(_ options: [String: String]) -> KnownCopy? {
            func number(_ key: String) -> UInt64 { UInt64(options[key] ?? "") ?? 0 }
            guard options["copy"] != nil else { return nil }
            let accepted = Epoch(generation: 0, index: number("accepted"))
            return KnownCopy(identity: number("copy"), mark: number("mark"), epoch: accepted)
        }

        mutating func perform(_ directive: ScenarioFile.Directive) throws -> [String] {
            let arguments = directive.arguments
            let options = directive.options
            let node = Self.node(arguments.first)
            func number(_ key: String) -> UInt64 { UInt64(options[key] ?? "") ?? 0 }
            let epoch = Epoch(generation: 0, index: number("epoch"))
            let incarnation = Incarnation(UInt64(options["incarnation"] ?? "") ?? 1)
            self.world.log = []
            switch directive.command {
            case "world":
                var tuning = Volume.Tuning()
                tuning.markAhead = 0
                tuning.markRetention = .seconds(number("retention"))
                self.world = MirrorWorld(nodes: Int(number("nodes")), blocks: 64, tuning: tuning)
            case "lease":
                let end = self.world.now + .milliseconds(number("for"))
                self.world.input(.lease(end: end, incarnation: incarnation), to: node)
            case "open":
                if options["lease"] != "none" {
                    self.world.input(.lease(end: .never, incarnation: incarnation), to: node)
                }
                self.world.input(
                    .command(
                        .open(
                            epoch: epoch, incarnation: incarnation, inSync: Self.nodes(options["set"]),
                            version: number("version"), reconciling: Self.nodes(options["reconciling"]),
                            copy: Self.knownCopy(options))), to: node)
            case "set":
                self.world.input(
                    .command(
                        .inSyncChanged(epoch: epoch, inSync: Self.nodes(options["to"]), version: number("version"))),
                    to: node)
            case "command":
                switch arguments.last {
                case "close": self.world.input(.command(.close(epoch: epoch)), to: node)
                case "freeze": self.world.input(.command(.freeze), to: node)
                case "thaw": self.world.input(.command(.thaw(incarnation: incarnation, epoch: epoch)), to: node)
                case "detach": self.world.input(.command(.detach), to: node)
                case "over": self.world.input(.command(.over(below: epoch)), to: node)
                case "taken-back": self.world.input(.command(.takenBack), to: node)
                case "resync": self.world.input(.command(.resyncAll), to: node)
                default: self.world.input(.command(.report()), to: node)
                }
            case "write":
                self.world.write(
                    node, id: number("id"), block: Int(number("block")), durable: arguments.contains("durable"))
            case "flush": self.world.input(.flush(id: number("id")), to: node)
            case "connect": self.world.connect()
            case "hello":
                // An owner's first frame, by hand: an old owner that the replica has not heard of for long.
                let body = Frame.Body.hello(
                    owner: ReplicaIdentity(node: Self.node(arguments.last), identity: 1), sizeBytes: 64 * 4096)
                let frame = Frame(epoch: epoch, session: 99, body: body)
                let wire = MirrorWorld.Link(dialler: Self.node(arguments.last), acceptor: node)
                if self.world.wires[wire] == nil { self.world.wires[wire] = MirrorWorld.Wire() }
                self.world.input(.frame(from: Self.node(arguments.last), frame), to: node)
                return self.world.log + (self.world.wires[wire]?.back ?? []).map { Self.text($0.frame) }
            case "late":
                // A write that an owner sent in an earlier session, and that arrives now.
                let extent = Extent(offset: number("block") * 4096, length: 4096)
                let frame = Frame(epoch: epoch, session: 99, body: .write(sequence: number("sequence"), extent: extent))
                self.world.input(
                    .frame(from: Self.node(arguments.last), frame), to: node, payload: [number("value")])
            default: return try self.control(directive, node)
            }
            return self.world.log
        }

        /// What the world around the volumes does: time, work, cuts, crashes.
        private mutating func control(_ directive: ScenarioFile.Directive, _ node: NodeID) throws -> [String] {
            let arguments = directive.arguments
            func number(_ key: String) -> UInt64 { UInt64(directive.options[key] ?? "") ?? 0 }
            switch directive.command {
            case "settle": self.world.settle()
            case "wait":
                for _ in 0..<number("steps") {
                    self.world.tick(.milliseconds(100))
                    self.world.settle()
                }
            case "hold": self.world.nodes[node]?.held.insert(arguments[1])
            case "once":
                if let index = self.world.nodes[node]?.work.firstIndex(where: { $0.name == arguments[1] }) {
                    self.world.doWork(index, on: node)
                }
                self.world.settle()
            case "wipe":
                self.world.stop(node, power: true)
                self.world.nodes[node]?.disk = [UInt64](repeating: 0, count: 64)
                self.world.nodes[node]?.stable = [UInt64](repeating: 0, count: 64)
                self.world.nodes[node]?.stored = VolumeMetadata(identity: 4711, sizeBytes: 64 * 4096)
                self.world.start(node)
            case "keep": if let state = self.world.nodes[node] { self.kept[node] = (state, self.world.now) }
            case "back":
                if let kept = self.kept[node] { self.world.takeBack(node, to: kept.node, of: kept.at) }
                if arguments.contains("without-lease") {
                    self.world.input(.lease(end: .zero, incarnation: Incarnation(1)), to: node)
                }
            case "snapshot": self.snapshots[node] = self.world.nodes[node]
            case "putback":
                self.world.stop(node, power: true)
                if let old = self.snapshots[node] {
                    self.world.nodes[node]?.disk = old.stable
                    self.world.nodes[node]?.stable = old.stable
                    self.world.nodes[node]?.stored = old.stored
                }
                self.world.start(node)
            case "release":
                self.world.nodes[node]?.held.remove(arguments[1])
                self.world.settle()
            case "cut": self.world.cut(node, Self.node(arguments[1]))
            case "heal": self.world.cut = []
            case "stop": self.world.stop(node, power: arguments[1] == "power")
            case "start": self.world.start(node)
            case "break": self.world.input(.localFailed(reason: "its disk failed"), to: node)
            case "dead": self.world.nodes[node]?.volume = nil
            case "show": return self.show(arguments[1], node)
            default: throw UnknownDirective(description: "line \(directive.line): \(directive.command)")
            }
            return self.world.log
        }

        func show(_ what: String, _ node: NodeID) -> [String] {
            guard let state = self.world.nodes[node] else { return ["no such node"] }
            switch what {
            case "disk", "stable":
                let values = what == "disk" ? state.disk : state.stable
                let used = values.enumerated().filter { $0.element != 0 }.map { "\($0.offset)=\($0.element)" }
                return [used.isEmpty ? "empty" : used.joined(separator: " ")]
            case "marks":
                let marks = state.volume?.metadata.marks ?? state.stored.marks
                return ["regions " + (0..<marks.regions).filter { marks[$0] }.map(String.init).joined(separator: " ")]
            case "turns":
                let metadata = state.volume?.metadata ?? state.stored
                return ["noted \(metadata.notedTurn), cleared \(metadata.clearedTurn)"]

            case "stored": return ["epoch \(state.stored.epoch)"]
            case "status":
                guard let status = state.volume?.status(at: self.world.now) else { return ["stopped"] }
                let peers = status.peers.map {
                    "\($0.node) \($0.connected ? "connected" : "away") \($0.inSync ? "in set" : "out") left "
                        + "\($0.resyncRemainingBytes)"
                }
                return ["\(status.role.rawValue) epoch \(status.epoch)"] + peers
            case "export": return [state.isExported ? "exported" : "not exported"]
            case "frames":
                return self.world.orderedLinks.flatMap { link in
                    (self.world.wires[link]?.forth ?? []).filter { _ in link.acceptor == node }
                        .map { Self.text($0.frame) }
                }
            default: return ["show what?"]
            }
        }

        static func text(_ frame: Frame) -> String {
            switch frame.body {
            case .fenced(let epoch): "fenced \(epoch)"
            case .welcome: "welcome"
            case .write(let sequence, let extent): "write \(sequence) at \(extent)"
            case .flush(let sequence): "flush \(sequence)"
            case .compare(let chunk): "compare \(chunk)"
            case .blocks(_, let chunk, let mask): "blocks of \(chunk) mask \(String(mask, radix: 2))"
            default: "\(frame.body)"
            }
        }
    }

    @Test(arguments: ScenarioFile.files(in: folder)) func `the scenario prints what it should`(_ path: String) throws {
        var runner = Runner()
        try ScenarioFile(path: path).run { try runner.perform($0) }
    }

    @Test func `there is a scenario for every rule`() {
        let names = ScenarioFile.files(in: Self.folder).compactMap { $0.split(separator: "/").last.map(String.init) }
        for rule in ["v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "l12", "l15"] {
            #expect(names.contains { $0.hasPrefix(rule) }, "no scenario for rule \(rule)")
        }
    }
}
