import Basis
import ScenarioKit

@testable import Raft

/// The cluster that scenario files drive; `README` of the commands is `ConsensusScenarios.swift`.
struct ScenarioCluster {
    struct Misuse: Error, CustomStringConvertible {
        let description: String
    }

    struct Letter {
        var from: NodeID
        var outbound: Outbound
    }

    var nodes: [TestNode] = []
    var wire: [Letter] = []
    var stash: [Letter] = []
    var now = Tick(nanoseconds: 0)
    var cut: Set<[NodeID]> = []
    // Written out, so that a change of the defaults does not change what the scenarios say.
    var settings = Consensus.Settings(electionTimeout: .milliseconds(700), heartbeatInterval: .milliseconds(100))
    var checker = SafetyChecker()
    var output: [String] = []

    mutating func position(_ name: String?) throws -> Int {
        guard let name, let position = self.nodes.firstIndex(where: { "\($0.id)" == name }) else {
            throw Misuse(description: "no node \(name ?? "named")")
        }
        return position
    }

    mutating func step(_ position: Int, _ input: Consensus.Input) throws {
        let id = self.nodes[position].id
        guard self.nodes[position].core != nil else {
            self.output.append("\(id) is down")
            return
        }
        var effects = Effects()
        self.nodes[position].core?.step(input, at: self.now, into: &effects)
        try self.perform(effects, at: position)
    }

    mutating func perform(_ effects: Effects, at position: Int) throws {
        let id = self.nodes[position].id
        self.output += effects.notes.map { "\(id): \($0)" }
        self.output += effects.dropped.map { "\(id): refused, \($0.reason)" }
        self.wire += effects.messagesNow.map { Letter(from: id, outbound: $0) }
        self.nodes[position].apply(effects)
        if let snapshot = effects.installed {
            self.output.append(
                "\(id): installed \(snapshot.mark) \"\(String(decoding: snapshot.data, as: UTF8.self))\"")
        }
        if !effects.committed.isEmpty {
            self.output.append("\(id): applies \(effects.committed.map(describe).joined(separator: " "))")
        }
        self.output += effects.reads.map { "\(id): read \($0.id) waits for \($0.index)" }
        self.output += effects.rejectedReads.map { "\(id): read \($0) must be asked again" }
        if let request = effects.persist {
            self.nodes[position].writes.append((request, effects.messagesAfterPersist))
        } else if !effects.messagesAfterPersist.isEmpty {
            guard !self.nodes[position].writes.isEmpty else {
                throw Misuse(description: "\(id) holds back messages with nothing to wait for")
            }
            self.nodes[position].writes[self.nodes[position].writes.count - 1].messages += effects.messagesAfterPersist
        }
        if let snapshot = effects.keep { self.output.append("\(id): keeps snapshot \(snapshot.mark)") }
        try self.checker.check(self.nodes[position], applied: effects.committed, all: self.nodes)
        if !self.nodes[position].holdsWrites {
            try self.keep(position)
            try self.persist(position)
        }
    }

    /// What is written beside the log is on disk.
    mutating func keep(_ position: Int) throws {
        while !self.nodes[position].keeps.isEmpty {
            try self.step(position, .kept(self.nodes[position].keeps.removeFirst()))
        }
    }

    mutating func persist(_ position: Int, count: Int = .max) throws {
        var left = count
        while left > 0, !self.nodes[position].writes.isEmpty {
            left -= 1
            let (request, messages) = self.nodes[position].writes.removeFirst()
            let id = self.nodes[position].id
            self.nodes[position].disk.write(request)
            self.wire += messages.map { Letter(from: id, outbound: $0) }
            try self.step(position, .persisted(sequence: request.sequence))
        }
    }

    /// Delivers what is on the wire now and matches; what is sent in answer stays on the wire.
    mutating func deliver(matching filter: (Letter) -> Bool, show: Bool, drop: Bool) throws -> Int {
        let batch = self.wire.filter(filter)
        self.wire = self.wire.filter { !filter($0) }
        for letter in batch {
            let blocked = self.cut.contains([letter.from, letter.outbound.to])
            if show {
                let mark = drop || blocked ? " (lost)" : ""
                self.output.append("\(letter.from)->\(letter.outbound.to) \(describe(letter.outbound.message))\(mark)")
            }
            guard !drop, !blocked, let to = self.nodes.firstIndex(where: { $0.id == letter.outbound.to }),
                self.nodes[to].core != nil
            else { continue }
            try self.step(to, .receive(from: letter.from, letter.outbound.message))
        }
        return batch.count
    }

    mutating func run() throws {
        var rounds = 0
        while try self.deliver(matching: { _ in true }, show: false, drop: false) > 0 {
            rounds += 1
            guard rounds < 1000 else { throw Misuse(description: "the messages never end") }
        }
    }

    /// Lets time pass in steps of 10 ms, with all messages delivered at once.
    mutating func live(milliseconds: UInt64) throws {
        for _ in 0..<(milliseconds / 10) {
            self.now = self.now + .milliseconds(10)
            for position in self.nodes.indices {
                guard let core = self.nodes[position].core, core.nextDeadline <= self.now else { continue }
                try self.step(position, .tick)
                try self.run()
            }
        }
    }
}

func describe(_ entry: Entry) -> String {
    switch entry.payload {
    case .empty: "[\(entry.mark) -]"
    case .command(let bytes): "[\(entry.mark) \"\(String(decoding: bytes, as: UTF8.self))\"]"
    case .membership(let membership): "[\(entry.mark) \(describe(membership))]"
    }
}

func describe(_ membership: Membership) -> String {
    func list(_ nodes: [NodeID]) -> String { nodes.map { "\($0)" }.joined(separator: ",") }
    var text = "voters \(list(membership.voters))"
    if membership.isJoint { text += " outgoing \(list(membership.outgoing))" }
    if !membership.learners.isEmpty { text += " learners \(list(membership.learners))" }
    if !membership.witnesses.isEmpty { text += " witnesses \(list(membership.witnesses))" }
    return text
}

/// The word by which scenario files select messages.
func kind(_ message: Message) -> String {
    switch message.body {
    case .preVoteRequest: "pre-vote"
    case .preVoteResponse: "pre-vote-answer"
    case .voteRequest: "vote"
    case .voteResponse: "vote-answer"
    case .append: "append"
    case .appendAccepted: "accepted"
    case .appendRejected: "rejected"
    case .heartbeat: "heartbeat"
    case .heartbeatResponse: "heartbeat-answer"
    case .snapshotChunk: "chunk"
    case .snapshotProgress: "chunk-answer"
    case .timeoutNow: "timeout-now"
    case .readRequest: "read"
    case .readResponse: "read-answer"
    case .outdated: "outdated"
    }
}

func describe(_ message: Message) -> String {
    let head = "t\(message.term) \(kind(message))"
    switch message.body {
    case .preVoteRequest(let requested, let last): return "\(head) for term \(requested) last \(last)"
    case .preVoteResponse(let requested, let granted):
        return "\(head) for term \(requested) \(granted ? "granted" : "refused")"
    case .voteRequest(let last, let transfer): return "\(head) last \(last)\(transfer ? " by transfer" : "")"
    case .voteResponse(let granted): return "\(head) \(granted ? "granted" : "refused")"
    case .append(let previous, let entries, let commit):
        let list = entries.map { " " + describe($0) }.joined()
        return "\(head) after \(previous) commit \(commit)\(list)"
    case .appendAccepted(let match): return "\(head) up to \(match)"
    case .appendRejected(let previous, let hint): return "\(head) after \(previous) hint \(hint)"
    case .heartbeat(let commit, let round): return "\(head) commit \(commit) round \(round)"
    case .heartbeatResponse(let round): return "\(head) round \(round)"
    case .snapshotChunk(let chunk):
        return "\(head) of \(chunk.mark) bytes \(chunk.offset)+\(chunk.bytes.count) of \(chunk.total)"
    case .snapshotProgress(let mark, let received): return "\(head) of \(mark) received \(received)"
    case .timeoutNow(let last): return "\(head) last \(last)"
    case .readRequest(let id): return "\(head) \(id)"
    case .readResponse(let id, let index): return "\(head) \(id) at \(index.map { "\($0)" } ?? "nothing")"
    case .outdated: return head
    }
}

extension Consensus {
    /// A snapshot for `Input.compact`; nil when the log no longer or not yet holds `index`.
    func makeSnapshot(at index: LogIndex, data: [UInt8]) -> Snapshot? {
        guard let term = self.log.term(at: index) else { return nil }
        let change = self.log.membership(at: index)
        return Snapshot(
            mark: LogMark(term: term, index: index), membership: change.membership, membershipIndex: change.index,
            data: data)
    }

    /// How each peer is being served, as scenarios print it: node, match, next and a word; empty unless this node leads.
    var progressSummary: [String] {
        guard case .leader = self.state else { return [] }
        return self.leading.peers.map { peer in
            let state =
                switch peer.state {
                case .probe(let waiting): waiting ? "probe waiting" : "probe"
                case .replicate: "replicate"
                case .snapshot(let sending): "snapshot \(sending.snapshot.mark) at byte \(sending.offset)"
                }
            return "\(peer.node) match \(peer.match) next \(peer.next) inflight \(peer.inflight.count) \(state)"
        }
    }
}
