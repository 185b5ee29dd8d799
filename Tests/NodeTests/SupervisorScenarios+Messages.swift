import Basis
import Foundation
import Mirror
import Raft
import Resources
import ScenarioKit
import Testing

@testable import Cluster

/// What a scenario sends by hand, and what it shows.
extension TrioWorld {
    /// Messages that are made by hand, and what the receiver does with them.
    func send(_ directive: ScenarioFile.Directive, _ node: NodeID) throws -> [String] {
        func span(_ key: String) -> Span { .milliseconds(UInt64(directive.options[key] ?? "") ?? 1750) }
        let a = Self.node("a")
        guard let receiver = self.trio.supervisors[node], let record = receiver.state.node(a) else { return ["nobody"] }
        var message: NodeMessage
        var (from, to, via) = (a, node, a)
        switch directive.command {
        case "ask":
            message = .renewal(
                Renewal(
                    node: a, incarnation: record.incarnation, bootID: record.bootID, nonce: 1, sentAt: self.trio.tick,
                    duration: .milliseconds(1750), membershipIndex: receiver.consensus.membershipIndex))
        case "report":
            (from, to, via) = (node, Self.node(directive.arguments[1]), node)
            var suspicion: LogMark?
            if directive.arguments.contains("suspected"), case .suspected(let at) = record.standing {
                let term = directive.options["term"].flatMap { UInt64($0) }.map { Term($0) }
                suspicion = LogMark(term: term ?? record.suspicionTerm, index: at)
            }
            let line = VoterReport.Line(
                node: a, incarnation: record.incarnation, silence: span("age"), suspectedAt: suspicion,
                answerAge: span("age"), answerDuration: span("lease"))
            message = .voterReport(VoterReport(lines: [line]))
        case "hand":
            from = Self.node(directive.options["from"])
            via = Self.node(directive.options["via"])
            message = .readRequest(id: 1)
            let envelope = Envelope(
                from: from, to: Self.node(directive.options["to"]), isRelayed: true, mark: self.mark(of: from),
                message: message)
            return self.deliver(envelope, via: via, to: node)
        case "forge":
            let leader = self.trio.leader ?? node
            let epoch = self.trio.supervisors[leader]?.state.group(Trio.orders)?.epoch ?? .none
            let command: Command
            switch directive.arguments[1] {
            case "stopped": command = .stopped(Trio.orders, epoch, failure: nil)
            case "lost": command = .suspect(a, record.incarnation)
            default: command = .want(Trio.orders, isRunning: false)
            }
            let origin = directive.options["as"].map { Self.node($0) } ?? node
            let sender = directive.options["via"] == nil ? node : origin
            let forged = Envelope(
                from: sender, to: leader, isRelayed: directive.options["via"] != nil, mark: self.mark(of: sender),
                word: self.word(sender, leader),
                message: .forward(
                    LogCommand(
                        origin: origin, nonce: 66, sequence: self.trio.now, clusterMilliseconds: 0, wallMilliseconds: 0,
                        command: command)))
            return self.refusals(of: self.trio.step(leader, .receive(forged, via: node)), by: leader)
        default:
            to = self.trio.leader ?? node
            (from, via) = (node, node)
            let counter = UInt64(directive.options["counter"] ?? "") ?? 9
            var mark = self.mark(of: node)
            if counter != mark.start { mark = StartMark(directory: mark.directory, start: counter, nonce: counter) }
            let command = Command.admit(node, bootID: directive.options["boot"] ?? "boot", mark: mark)
            message = .forward(
                LogCommand(
                    origin: node, nonce: 77, sequence: self.trio.now, clusterMilliseconds: 0, wallMilliseconds: 0,
                    command: command))
        }
        let envelope = Envelope(
            from: from, to: to, isRelayed: false, mark: self.mark(of: from), word: self.word(from, to),
            message: message)
        let effects = self.deliver(envelope, via: via, to: to)
        return directive.command == "ask" ? [effects.contains("renewed to a") ? "answered" : "not answered"] : []
    }

    /// What a leader says of commands that it does not take.
    private func refusals(of effects: [SupervisorEffect], by leader: NodeID) -> [String] {
        effects.compactMap { effect -> String? in
            guard case .note(let note) = effect, let state = self.trio.supervisors[leader]?.state else { return nil }
            switch note {
            case .refusedCommand, .refusedRelay, .twoLives: return note.sentence(state)
            default: return nil
            }
        }
    }

    /// What a message between them would say of those before it.
    func word(_ from: NodeID, _ to: NodeID) -> HearingWord {
        self.trio.supervisors[from]?.hearingWord(to: to, at: self.trio.tick(of: from)) ?? .none
    }

    func mark(of node: NodeID) -> StartMark {
        self.trio.supervisors[node]?.identity.memory.present ?? .none
    }

    func deliver(_ envelope: Envelope, via: NodeID, to: NodeID) -> [String] {
        self.trio.step(to, .receive(envelope, via: via)).compactMap { effect in
            guard case .send(let sent, let hop) = effect else { return nil }
            if case .renewed = sent.message { return "renewed to \(Self.name(hop))" }
            return sent == envelope ? "passed on to \(Self.name(hop))" : nil
        }
    }

    private static func words(_ command: VolumeCommand) -> String {
        if case .over(let epoch) = command { return "over below \(epoch)" }
        return "\("\(command)".prefix { $0 != "(" })"
    }

    private func voters(seenBy node: NodeID) -> [NodeID] {
        self.trio.supervisors[self.trio.leader ?? node]?.consensus.membership.allVoters ?? []
    }

    private static func nodes(_ records: [ClusterState.NodeRecord]) -> [String] {
        records.map { record in
            let standing = "\(record.standing)".prefix { $0 != "(" }
            return "\(record.about.name), \(record.about.role): \(standing)" + (record.isRetiring ? ", to leave" : "")
        }
    }

    func show(_ what: String, _ node: NodeID) throws -> [String] {
        let supervisor = self.trio.supervisors[node]
        switch what {
        case "standing":
            return self.trio.ids.filter { !self.trio.stopped.contains($0) }.map { witness in
                let standing = self.trio.standing(of: Self.node("a"), seenBy: witness)
                let text = standing.map { "\($0)".prefix { $0 != "(" } } ?? "unknown"
                return "\(Self.name(witness)): a is \(text)"
            }
        case "running":
            let running = self.trio.ids.flatMap { id in
                (self.trio.running[id] ?? []).sorted().map { "\($0) runs on \(Self.name(id))" }
            }
            return running.isEmpty ? ["nothing runs"] : running
        case "leader": return [self.trio.leader.map { "\(Self.name($0)) leads" } ?? "nobody leads"]
        case "nodes": return Self.nodes(supervisor?.state.nodes ?? [])
        case "voters": return [self.voters(seenBy: node).map(Self.name).joined(separator: " ")]
        case "suspicions":
            let events = self.trio.supervisors[self.trio.leader ?? node]?.state.events ?? []
            return events.filter { $0.happening.identifier == "node.silent" }.map(\.sentence)
        case "page": return [self.trio.leases[node] ?? .zero > self.trio.tick(of: node) ? "a lease" : "no lease"]
        case "lease": return [supervisor?.hasLease(at: self.trio.tick) == true ? "held" : "none"]
        case "life":
            guard let me = self.trio.supervisors[self.trio.leader ?? node]?.state.node(Self.node("a")) else {
                return []
            }
            return ["boot \(me.bootID), start \(me.mark.start)"]
        case "clock": return ["\((supervisor?.state.clusterMilliseconds ?? 0) / 10000 * 10) s"]
        case "mark":
            let mark = supervisor?.identity.memory.present ?? .none
            return ["start \(mark.start)" + (mark.draw == 0 ? "" : ", drawn \(mark.draw)")]
        case "owed":
            let owed = supervisor?.volumes.takenBack ?? []
            return owed.isEmpty ? ["nothing"] : owed.map { "\($0.volume) started as \($0.mark)" }
        case "forgotten":
            let told = self.trio.notes.filter { $0.hasPrefix("\(node): has forgotten") }
            return told.isEmpty ? ["nothing"] : told.map { String($0.dropFirst(4)) }
        case "starts":
            return ["\(self.trio.calls[node]?.filter { $0.action == .start }.count ?? 0)"]
        case "remains":
            let record = self.trio.supervisors[self.trio.leader ?? node]?.state.group(Trio.orders)
            let lines = (record?.remains ?? []).map { "\(Self.name($0.node)) \($0.remains.reason)" }
            return lines.isEmpty ? ["nothing is left anywhere"] : lines
        case "searches":
            return ["\(self.trio.calls[node]?.filter { $0.action == .probe }.count ?? 0)"]
        case "findings":
            let findings = supervisor?.state.group(Trio.orders)?.findings ?? []
            return findings.isEmpty ? ["none"] : findings.map { "\(Self.name($0.node)) \($0.clause)" }
        case "plan":
            guard let state = (supervisor ?? self.trio.supervisors[self.trio.leader ?? node])?.state else { return [] }
            let actions = Planner.plan(policy: state.policy, observation: state.observation).actions
            return actions.isEmpty ? ["nothing to do"] : actions.map(\.sentence)
        case "status": return self.trio.status(of: node)
        case "explain": return self.trio.explanation(on: node)
        case "groups":
            return ["\(supervisor?.state.groups.map(\.name.rawValue) ?? [])"]
        case "epoch":
            return ["\(supervisor?.state.group(Trio.orders)?.epoch ?? .none)"]
        case "runners":
            return ["\(supervisor?.groups.runners.map(\.name.rawValue) ?? [])"]
        case "set":
            guard let record = supervisor?.state.volumes.first else { return ["no volume"] }
            return ["in sync \(record.inSync), before \(record.former)"]
        case "volume":
            return self.trio.volumeCommands[node]?.map(Self.words) ?? ["was told nothing"]
        default: throw BadDirective(text: "show \(what)?")
        }
    }
}
