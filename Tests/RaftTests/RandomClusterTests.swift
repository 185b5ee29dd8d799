import Basis
import Foundation
import Raft
import Testing

/// A cluster under random faults: loss, repeats, reordering, partitions, crashes, torn writes, slow disks.
private struct RandomCluster {
    private var nodes: [TestNode] = []
    private var wire: [(from: NodeID, message: Outbound)] = []
    private var random: SeededRandom
    private var now = Tick(nanoseconds: 1_000_000_000)
    private var checker = SafetyChecker()
    private var cut: Set<NodeID> = []
    private var proposals: UInt64 = 0
    private var reads: [UInt64: LogIndex] = [:]
    private let settings: Consensus.Settings
    private let seed: UInt64
    private(set) var answeredReads = 0

    init(seed: UInt64) {
        self.seed = seed
        self.random = SeededRandom(seed: seed)
        self.settings = Consensus.Settings(
            maximumAppendBytes: 64, maximumInflightAppends: 4, maximumInflightBytes: 200, snapshotChunkBytes: 300,
            trailingEntries: self.random.below(20), promotionLag: 1000)
        let voters = 3 + UInt32(self.random.below(3))
        let ids = (1...voters).map { NodeID($0) }
        let witness = self.random.below(2) == 0 ? [ids[ids.count - 1]] : []
        let snapshot = Snapshot(
            mark: LogMark(term: Term(1), index: LogIndex(1)), membership: Membership(voters: ids, witnesses: witness),
            membershipIndex: LogIndex(1), data: [])
        for id in ids + [NodeID(voters + 1)] {
            var node = TestNode(id: id)
            if id.rawValue <= voters { node.disk.state = RestoredState(snapshot: snapshot) }
            node.start(settings: self.settings, seed: seed, at: self.now)
            self.nodes.append(node)
        }
    }

    var summary: String {
        self.nodes.map { node in
            let lines = node.core.map { [$0.summary, "\($0.membership)"] + $0.progressSummary } ?? ["\(node.id) down"]
            return lines.joined(separator: "\n    ")
        }.joined(separator: "\n")
    }
    var commits: LogIndex { self.checker.highestCommitted }
    var terms: Int { self.checker.leaderTerms }

    mutating func runFaulty(steps: Int) throws {
        for _ in 0..<steps { try self.faultyStep() }
    }

    /// Every fault ends: one leader must emerge and everybody must hold and apply the same.
    mutating func heal() throws {
        self.cut = []
        for position in self.nodes.indices {
            self.nodes[position].holdsWrites = false
            try self.flush(position)
            if self.nodes[position].core == nil { self.start(position) }
        }
        for round in 0..<400 {
            self.now = self.now + .milliseconds(50)
            for position in self.nodes.indices {
                try self.keep(position)
                try self.step(position, .tick)
            }
            var hops = 0
            while !self.wire.isEmpty, hops < 20_000 {
                let (from, message) = self.wire.removeFirst()
                try self.deliver(message, from: from)
                hops += 1
            }
            if round == 200, let leader = self.leaderPosition { try self.propose(at: leader) }
        }
        guard let leader = self.leaderPosition, let core = self.nodes[leader].core else {
            throw SafetyChecker.Violation(description: "Liveness: no leader after all faults ended")
        }
        for node in self.nodes where core.membership.all.contains(node.id) {
            guard node.applied == core.lastIndex, node.commands == self.nodes[leader].commands else {
                throw SafetyChecker.Violation(
                    description: "Liveness: \(node.id) applied \(node.applied), the leader holds \(core.lastMark)")
            }
        }
    }

    private var leaderPosition: Int? {
        self.nodes.indices.filter { self.nodes[$0].core?.isLeader == true }
            .max { (self.nodes[$0].core?.term ?? .zero) < (self.nodes[$1].core?.term ?? .zero) }
    }

    private mutating func faultyStep() throws {
        let position = Int(self.random.below(UInt64(self.nodes.count)))
        switch self.random.below(1000) {
        case 0..<680: try self.deliverSome()
        case 680..<760:
            self.now = self.now + .milliseconds(self.random.below(30))
            for position in self.nodes.indices { try self.step(position, .tick) }
        case 760..<880: try self.propose(at: self.random.below(4) == 0 ? position : self.leaderPosition ?? position)
        case 880..<910: try self.read(at: position)
        case 910..<920: try self.step(position, .transferLeadership(to: self.anyNode()))
        case 920..<935: try self.changeMembership()
        case 935..<950: try self.compact(position)
        case 950..<955: self.crash(position)
        case 955..<975: if self.nodes[position].core == nil { self.start(position) }
        case 975..<977: self.cut = [self.nodes[position].id]
        case 977..<990: self.cut = []
        case 990..<994: self.nodes[position].holdsWrites = true
        default:
            self.nodes[position].holdsWrites = false
            try self.flush(position)
        }
        if self.random.below(4) == 0 { try self.flushOne(position) }
        if self.random.below(8) == 0 { try self.keep(position) }
    }

    /// What is written beside the log takes its time, whatever the log does.
    private mutating func keep(_ position: Int) throws {
        while !self.nodes[position].keeps.isEmpty {
            try self.step(position, .kept(self.nodes[position].keeps.removeFirst()))
        }
    }

    private mutating func anyNode() -> NodeID? {
        let pick = Int(self.random.below(UInt64(self.nodes.count + 1)))
        return pick == self.nodes.count ? nil : self.nodes[pick].id
    }

    private mutating func propose(at position: Int) throws {
        self.proposals += 1
        let value = self.proposals
        try self.step(position, .propose((0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }))
    }

    private mutating func read(at position: Int) throws {
        let id = UInt64(self.reads.count) + 1
        self.reads[id] = self.checker.highestCommitted
        try self.step(position, .readIndex(id: id))
    }

    private mutating func changeMembership() throws {
        guard let leader = self.leaderPosition, let core = self.nodes[leader].core else { return }
        let members = core.membership.voters + core.membership.learners
        guard let node = self.anyNode() else { return }
        var voters = core.membership.voters
        var learners = core.membership.learners
        if !members.contains(node) {
            learners.append(node)
        } else if learners.contains(node) {
            learners.removeAll { $0 == node }
            voters.append(node)
        } else if voters.count > 2 {
            voters.removeAll { $0 == node }
            if self.random.below(2) == 0 { learners.append(node) }
        }
        let witnesses = core.membership.witnesses.filter { voters.contains($0) }
        try self.step(
            leader, .changeMembership(Membership(voters: voters, learners: learners, witnesses: witnesses)))
    }

    private mutating func compact(_ position: Int) throws {
        let node = self.nodes[position]
        guard let core = node.core, let snapshot = core.makeSnapshot(at: node.applied, data: node.commands) else {
            return
        }
        try self.step(position, .compact(snapshot))
    }

    private mutating func start(_ position: Int) {
        self.nodes[position].start(settings: self.settings, seed: self.seed, at: self.now)
        self.checker.restarted(self.nodes[position].id)
    }

    private mutating func crash(_ position: Int) {
        if let write = self.nodes[position].writes.first, self.random.below(2) == 0 {
            let kept = Int(self.random.below(UInt64(write.request.entries.count + 1)))
            self.nodes[position].disk.tear(write.request, entries: kept)
        }
        self.nodes[position].crash()
    }

    private mutating func deliverSome() throws {
        guard !self.wire.isEmpty else { return }
        let near = self.random.below(3) > 0
        let pick = near ? 0 : Int(self.random.below(UInt64(self.wire.count)))
        let (from, message) = self.wire.remove(at: pick)
        if self.random.chance(perMille: 50) { return }
        if self.random.chance(perMille: 50) { self.wire.append((from, message)) }
        if self.cut.contains(from) != self.cut.contains(message.to), self.random.below(10) > 0 { return }
        if self.wire.count > 400 { self.wire.removeFirst(200) }
        try self.deliver(message, from: from)
    }

    private mutating func deliver(_ outbound: Outbound, from: NodeID) throws {
        guard let position = self.nodes.firstIndex(where: { $0.id == outbound.to }) else { return }
        var writer = ByteWriter()
        outbound.message.encode(into: &writer)
        var reader = ByteReader(writer.bytes)
        let message = try Message.decode(from: &reader)
        try reader.finish()
        guard message == outbound.message else {
            throw SafetyChecker.Violation(description: "the codec changed \(outbound.message) to \(message)")
        }
        try self.step(position, .receive(from: from, message))
    }

    private mutating func step(_ position: Int, _ input: Consensus.Input) throws {
        guard self.nodes[position].core != nil else { return }
        var effects = Effects()
        self.nodes[position].core?.step(input, at: self.now, into: &effects)
        let id = self.nodes[position].id
        self.wire += effects.messagesNow.map { (id, $0) }
        self.nodes[position].apply(effects)
        for ready in effects.reads {
            guard let asked = self.reads[ready.id], ready.index >= asked else {
                throw SafetyChecker.Violation(
                    description: "Reads: \(id) may read at \(ready.index) what \(self.reads[ready.id] ?? .zero) hid")
            }
            self.answeredReads += 1
        }
        if let request = effects.persist {
            self.nodes[position].writes.append((request, effects.messagesAfterPersist))
        } else if !effects.messagesAfterPersist.isEmpty {
            let last = self.nodes[position].writes.count - 1
            self.nodes[position].writes[last].messages += effects.messagesAfterPersist
        }
        try self.checker.check(self.nodes[position], applied: effects.committed, all: self.nodes)
        if !self.nodes[position].holdsWrites { try self.flush(position) }
    }

    private mutating func flush(_ position: Int) throws {
        while !self.nodes[position].writes.isEmpty { try self.flushOne(position) }
    }

    private mutating func flushOne(_ position: Int) throws {
        guard !self.nodes[position].writes.isEmpty else { return }
        let (request, messages) = self.nodes[position].writes.removeFirst()
        let id = self.nodes[position].id
        self.nodes[position].disk.write(request)
        self.wire += messages.map { (id, $0) }
        try self.step(position, .persisted(sequence: request.sequence))
    }
}

@Suite struct `Raft holds under random faults` {
    /// `RAFT_SEEDS=first:count` in the environment runs other seeds.
    private var seeds: Range<UInt64> {
        let parts = (ProcessInfo.processInfo.environment["RAFT_SEEDS"] ?? "1:24").split(separator: ":")
        let numbers = parts.compactMap { UInt64($0) }
        return numbers.count == 2 ? numbers[0]..<numbers[0] + numbers[1] : 1..<25
    }

    @Test func `every property holds after every step, and all agree once faults end`() {
        var commits: UInt64 = 0
        var reads = 0
        var terms = 0
        for seed in self.seeds {
            var cluster = RandomCluster(seed: seed)
            do {
                try cluster.runFaulty(steps: 8000)
                try cluster.heal()
            } catch {
                Issue.record("seed \(seed): \(error)\n\(cluster.summary)")
            }
            commits += cluster.commits.rawValue
            reads += cluster.answeredReads
            terms += cluster.terms
        }
        let seeds = self.seeds.count
        #expect(commits > 50 * seeds, "too little was committed to mean anything: \(commits)")
        #expect(reads > 10 * seeds, "too few reads were answered to mean anything: \(reads)")
        #expect(terms > 3 * seeds, "too few leaders to mean anything: \(terms)")
    }
}
