import Basis
import Foundation
import Mirror
import Raft
import Resources
import ScenarioKit
import Testing

@testable import Cluster

/// Plays `Scenarios/supervisor_*.txt`: three nodes a, b and w (the witness) in virtual time, and a group that a or b runs.
///
///     trio [volume] [voters=a] [unguarded] [five] [window=8s]    begins anew; `window`: for restarts;
///                                  `five`: c and d have joined, and do not vote yet
///     settle                       waits until everybody is admitted and the group runs
///     lead b                       hands leadership over
///     move b                       an operator wants the group there
///     lease N                      an operator makes D so many milliseconds
///     wait N                       lets N milliseconds pass
///     doubt a                      boot clock and hardware clock of a have parted: the guard holds all still
///     hide a N                     a hypervisor stops a for N milliseconds, and its clock with it
///     stop a | start a             the daemon, without a trace elsewhere
///     copy a                       keeps a copy of its log directory, as it is now
///     restart a [facts] [blank|copy] [boot=X] [marks=N]    a new daemon; `facts`: what ran may still run; `blank`: its log
///                                  directory was emptied; `copy`: the copy was brought back; `marks`: so many were drawn
///     mark a                       it is time for another mark of its log
///     keep a | back a              a hypervisor keeps a with its memory; takes it back to that
///     unheard b | heard b          what the daemon of b tells its volume servers of that is lost
///     cut a b | heal               the link, both ways
///     deafen a b                   a does not hear b any more, b goes on hearing a
///     mute a b KIND | unmute       messages of one kind from a to b are lost: raft, report, read, renewal
///     hold w | release w           the disk of w answers nothing, or again
///     undying a unkilled|unstopped | ends a      what runs on a survives every kill, or its agents cannot stop it
///     confirm a                    an operator signs that nothing of the group is left on a
///     guarded a | finds b          the guard looks at the lease; a service of the group runs already
///     loses b                      that service is gone
///     probes b clean|failed|hangs|degraded     what a search there is answered
///     sign b WORDS                 an operator signs that nothing of the group runs there
///     configure [GROUP] [GROUP.command=X] [GROUP.address=X] [GROUP.mount=X]     the groups in force
///     shutdown a                   a is asked to shut down in order: what is left there, or `done`
///     slow a | quick a             stops of a go on until they are let through
///     dies a                       the service of the group ends by itself there, again and again, until it is given up
///     ask w                        a renewal of node a reaches w: is it answered?
///     report w b age=N lease=N [suspected [term=N]]     a report about a, made by hand
///     hand w from=a to=b via=X     a message on its way arrives at w
///     forge w KIND [as=a] [via=X]  w hands the leader a command about the group or about a: stopped, lost, stop
///     met b a BOOT… [late=yes]     b has met machines of these boots that say that they are a; late: before it was settled
///     original a BOOT              an operator says that a is the machine of that boot
///     certified a N                a says which certificate it has
///     admit a boot=X counter=N     asks the leader for a new life of a
///     show standing|running|leader|voters|nodes|suspicions|lease|page|life [NODE]; `page`: what the guard reads
///     retire a | stay a            an operator wants a to leave for good, or to stay after all
///     observer a | member a        an operator makes that of a
///     joins b | without-copy a     the owner asks the log to take b's copy into the set; a server finds no copy
///     late-word b                  a server started anew, and its word is from before it accepted the epoch
///     show status|explain NODE     what people are told there
///     show groups|runners|starts|searches|volume|findings|remains|plan|set|forgotten|owed [NODE]
@Suite struct `A cluster in words` {
    static let files = ScenarioFile.files(
        in: URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Scenarios").path
    ).filter { $0.contains("/supervisor_") }

    @Test(arguments: files) func `shows what is written down in`(file: String) throws {
        let world = try TrioWorld()
        try ScenarioFile(path: file).run { try world.perform($0) }
    }
}

final class TrioWorld {
    struct BadDirective: Error { let text: String }

    var trio: Trio
    var copies: [NodeID: (memory: LogMemory, restored: RestoredState)] = [:]
    var draws: UInt64 = 100
    static let names = ["a", "b", "w", "c", "d"]

    init() throws { self.trio = try Trio() }

    static func name(_ id: NodeID) -> String { Self.names[Int(id.rawValue) - 1] }

    static func node(_ name: String?) -> NodeID {
        NodeID(UInt32(Self.names.firstIndex(of: name ?? "") ?? 8) + 1)
    }

    func setLease(_ milliseconds: UInt64, _ node: NodeID) -> [String] {
        let leader = self.trio.leader ?? node
        guard let state = self.trio.supervisors[leader]?.state else { return ["nobody"] }
        var policy = state.policy
        policy.timing.leaseDuration = .milliseconds(milliseconds)
        let command = Command.configure(policy, text: "", expectedIndex: state.policyIndex)
        self.trio.step(leader, .client(id: 3, .propose(command)))
        return []
    }

    func shutDown(_ node: NodeID) -> [String] {
        for case .reply(7, .shuttingDown(let left)) in self.trio.step(node, .client(id: 7, .shutDown)) {
            return [left ?? "done"]
        }
        return ["no answer"]
    }

    func perform(_ directive: ScenarioFile.Directive) throws -> [String] {
        let words = directive.arguments
        let node = Self.node(words.first)
        switch directive.command {
        case "trio":
            let voters = directive.options["voters"]?.split(separator: ",").map { Self.node(String($0)) }
            self.trio = try Trio(
                voters: voters ?? Trio.ids, volume: words.contains("volume"),
                others: words.contains("five") ? ["c", "d"] : [],
                restartWindow: directive.options["window"].flatMap { UInt64($0.dropLast()) }.map { .seconds($0) })
            if words.contains("unguarded") { self.trio.unguarded = Set(Trio.ids) }
        case "settle":
            guard self.trio.settle() else { return ["does not come to rest"] }
            return try self.show("running", node) + self.show("leader", node)
        case "shutdown": return self.shutDown(node)
        case "lead":
            self.trio.step(self.trio.leader ?? node, .client(id: 1, .transferLeadership(to: node)))
            self.trio.pass(milliseconds: 5000) { $0.leader == node }
            return try self.show("leader", node)
        case "move":
            self.trio.step(self.trio.leader ?? node, .client(id: 2, .propose(.move(Trio.orders, to: node))))
        case "lease": return self.setLease(UInt64(words.first ?? "") ?? 1750, node)
        case "wait": self.trio.pass(milliseconds: UInt64(words.first ?? "") ?? 0)
        case "mark":
            self.draws += 1
            self.trio.step(node, .drawMark(nonce: self.draws))
        case "doubt":
            self.draws += 1
            self.trio.step(node, .doubt(since: self.trio.tick(of: node), nonce: self.draws))
        case "hide":
            let length = UInt64(words.last ?? "") ?? 0
            self.trio.stopped.insert(node)
            self.trio.pass(milliseconds: length)
            self.trio.hidden[node, default: 0] += length * 1_000_000
            self.trio.stopped.remove(node)
        case "stop": self.trio.stopped.insert(node)
        case "start": self.trio.stopped.remove(node)
        case "restart": try self.restart(node, directive)
        case "copy": self.copies[node] = self.trio.supervisors[node].map { ($0.identity.memory, $0.onDisk) }
        case "cut": self.trio.cut(node, Self.node(words.last))
        case "hold": self.trio.held[node] = []
        case "release": self.trio.release(node)
        case "heal": self.trio.cuts = []
        case "mute":
            let to = Self.node(words[1])
            let before = self.trio.isLost
            self.trio.isLost = { envelope in
                before(envelope)
                    || envelope.from == node && envelope.to == to && Self.kinds(envelope.message).contains(words[2])
            }
        case "undying":
            let kind: GroupRemains.Kind = words.contains("unkilled") ? .unkilled : .unstopped
            self.trio.undying[node] = GroupRemains(
                kind: kind, reason: kind == .unkilled ? "could not kill processes [444]" : "could not stop db (exit 1)")
        case "ends": self.trio.undying[node] = nil
        case "without-copy", "late-word", "joins", "anew": return self.copies(directive, node)
        case "confirm":
            let command = Command.confirmStopped(Trio.orders, node, statement: "its cable is out")
            self.trio.step(self.trio.leader ?? node, .client(id: 3, .propose(command)))
            self.trio.pass(milliseconds: 100)
        case "unmute": self.trio.isLost = { _ in false }
        case "ask", "report", "hand", "admit", "forge": return try self.send(directive, node)
        case "show": return try self.show(words[0], Self.node(words.last))
        default: try self.arrange(directive, node)
        }
        return []
    }

    /// What the volume servers find and ask for.
    func copies(_ directive: ScenarioFile.Directive, _ node: NodeID) -> [String] {
        switch directive.command {
        case "late-word":
            guard let record = self.trio.supervisors[node]?.state.volumes.first else { return ["no volume"] }
            self.trio.copies[node] = ([1, 7], record.epoch)
            let mark = CopyMark(identity: UInt64(node.rawValue), starts: [1, 7], epoch: .none, isNoted: true)
            let report = CopyReport(
                volume: record.identity, backing: "/b", capacityBytes: .max, finding: .ready(mark))
            self.trio.step(node, .volume(record.name, .copy(report)))
        case "anew":
            for record in self.trio.supervisors[node]?.state.volumes ?? [] {
                self.trio.step(node, .volumeDisconnected(record.name))
                self.trio.step(node, .volumeConnected(record.name))
            }
        case "joins":
            for supervisor in self.trio.supervisors.values {
                guard let record = supervisor.state.volumes.first, record.owner == supervisor.identity.node else {
                    continue
                }
                let event = VolumeEvent.wantsJoin(
                    epoch: record.epoch, version: record.version, replica: node, copy: UInt64(node.rawValue))
                self.trio.step(supervisor.identity.node, .volume(record.name, event))
                return []
            }
            return ["nobody owns it"]
        default: self.trio.isWithoutCopy.insert(node)
        }
        return []
    }

    /// What a node finds, and what operators want of groups.
    func arrange(_ directive: ScenarioFile.Directive, _ node: NodeID) throws {
        let words = directive.arguments
        switch directive.command {
        case "unheard": self.trio.unheard.insert(node)
        case "heard": self.trio.unheard.remove(node)
        case "keep": self.trio.keep(node)
        case "back": self.trio.takeBack(node)
        case "deafen": self.trio.cutOneWay(from: Self.node(words.last), to: node)
        case "guarded": self.trio.unguarded.remove(node)
        case "dies":
            for _ in 0..<20 {
                guard let runner = self.trio.supervisors[node]?.groups.runners.first, runner.goal == .up else { break }
                self.trio.running[node]?.remove("db")
                self.trio.step(
                    node, .serviceExited(runner.name, ResourceName("db"), runner.epoch, reason: "killed by signal 9"))
                self.trio.pass(milliseconds: 300)
            }
        case "finds": self.trio.running[node] = ["db"]
        case "loses": self.trio.running[node] = []
        case "probes":
            let answers: [String: AgentOutcome] = [
                "failed": .failed(reason: "cannot connect", recovery: .soft), "hangs": .timedOut,
                "degraded": .degraded(reason: "it is slow"),
            ]
            self.trio.probes[node] = answers[words[1]]
        case "sign":
            let leader = self.trio.leader ?? node
            let since = self.trio.supervisors[leader]?.state.group(Trio.orders)?.searchedSince ?? .zero
            let words = directive.arguments.dropFirst().joined(separator: " ")
            self.trio.step(
                leader,
                .client(
                    id: 3, .propose(.declareAbsent(Trio.orders, nodes: [node], since: since, statement: words))))
        case "configure": self.configure(directive)
        case "retire": self.want(.retire(node, isRetiring: true))
        case "stay": self.want(.retire(node, isRetiring: false))
        case "observer": self.want(.setNode(node, NodeChange(role: .observer)))
        case "member": self.want(.setNode(node, NodeChange(role: .member)))
        case "level":
            let level = FeatureLevel(UInt32(directive.arguments[0]) ?? 0)
            self.want(.raise(level, counting: self.trio.supervisors[NodeID(1)]?.state.nodes.map(\.id) ?? []))
        case "expect-pause":
            let life = self.trio.supervisors[self.trio.leader ?? node]?.state.node(node)?.incarnation ?? .none
            self.want(.expectPause(node, life, .milliseconds(UInt64(directive.arguments[1]) ?? 0)))
        case "met", "original", "certified": self.twins(directive, node)
        case "want": self.want(.want(Trio.orders, isRunning: words.last == "running"))
        case "slow": self.trio.slow.insert(node)
        case "quick": self.trio.letThrough(node)
        default: throw BadDirective(text: "line \(directive.line): \(directive.command)")
        }
    }

    /// An operator wants something, and the cluster has a moment.
    func want(_ command: Command) {
        self.trio.step(self.trio.leader ?? NodeID(1), .client(id: 4, .propose(command)))
        self.trio.pass(milliseconds: 100)
    }

    /// Groups of a directory, a command and an address, as far as they are given.
    func configure(_ directive: ScenarioFile.Directive) {
        let leader = self.trio.leader ?? NodeID(1)
        guard let state = self.trio.supervisors[leader]?.state else { return }
        let groups = directive.arguments.map { name in
            func resource(_ what: String, _ agent: String, _ key: String) -> ResourcePolicy? {
                directive.options["\(name).\(key)"].map {
                    ResourcePolicy(name: ResourceName(what), agent: agent, parameters: [.init(key, $0)])
                }
            }
            let given = [
                resource("fs", "filesystem", "mount"), resource("db", "exec", "command"),
                resource("ip", "address", "address"),
            ].compactMap { $0 }
            let nodes = directive.options["\(name).nodes"]?.split(separator: ",").map(String.init)
            return GroupPolicy(
                name: GroupName(name), nodes: nodes ?? ["a", "b"],
                resources: given.isEmpty ? [ResourcePolicy(name: ResourceName("db"), agent: "exec")] : given)
        }
        let policy = ClusterPolicy(name: "prod", timing: state.policy.timing, groups: groups)
        self.trio.step(
            leader, .client(id: 4, .propose(.configure(policy, text: "", expectedIndex: state.policyIndex))))
    }

    /// What `mute` calls a message; one of raft that carries a membership entry is `membership` too.
    static func kinds(_ message: NodeMessage) -> [String] {
        switch message {
        case .raft(let message):
            guard case .append(_, let entries, _) = message.body else { return ["raft"] }
            let isMembership = entries.contains { if case .membership = $0.payload { true } else { false } }
            return isMembership ? ["raft", "membership"] : ["raft"]
        case .voterReport: return ["report"]
        case .readRequest, .readAnswer: return ["read"]
        case .renewal, .renewed, .notRenewed: return ["renewal"]
        default: return ["other"]
        }
    }

    func restart(_ node: NodeID, _ directive: ScenarioFile.Directive) throws {
        guard let before = self.trio.supervisors[node] else { return }
        let isAdopting = directive.arguments.contains("facts")
        if !isAdopting { self.trio.running[node] = [] }
        var (memory, restored) = (before.identity.memory, before.onDisk)
        if directive.arguments.contains("blank") {
            self.draws += 1
            (memory, restored) = (LogMemory(directory: DirectoryID(high: self.draws << 32, low: 1)), RestoredState())
        } else if directive.arguments.contains("copy"), let copy = self.copies[node] {
            (memory, restored) = copy
        }
        for _ in 0..<(UInt64(directive.options["marks"] ?? "") ?? 0) {
            self.draws += 1
            memory.draw(nonce: self.draws)
        }
        self.draws += 1
        memory.begin(nonce: StartMark.nonce(self.draws, ofBoot: directive.options["boot"] ?? "boot"))
        if directive.options["boot"] != nil { self.trio.restartServer(of: node) }
        self.trio.supervisors[node] = try Supervisor(
            identity: .init(
                node: node, bootID: directive.options["boot"] ?? "boot", memory: memory,
                nonce: before.identity.nonce + 100, generation: before.generation),
            settings: Consensus.Settings(), restored: restored, facts: isAdopting ? self.trio.facts[node] : nil,
            leaseEnd: isAdopting ? self.trio.leases[node] ?? .zero : .zero, seed: self.draws, at: self.trio.tick)
        self.trio.stopped.remove(node)
    }
}
