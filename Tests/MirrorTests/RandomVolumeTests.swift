import Basis
import Foundation
import Mirror
import Testing

/// Replicas under random faults, with a log that admits, removes and promotes as rules V4, V7 and V8 allow.
struct RandomVolumeTests {
    struct Cluster {
        var world: MirrorWorld
        var random: SeededRandom
        var epoch: UInt64 = 0
        var owner = NodeID(1)
        var set: [NodeID] = []
        var version: UInt64 = 0
        /// The set before the last unplanned promotion. (Rule V7)
        var former: [NodeID] = []
        var reconciled = 0
        var opened = false
        var closing = false
        var nextID: UInt64 = 0
        /// What the last promoted copy held when it was opened.
        var base: [UInt64]
        /// Writes of this epoch, per block, in order of issue; and the newest flushed one.
        var issued: [[UInt64]]
        var flushed: [UInt64]
        /// The newest acknowledged write per node and block; forgotten when the node restarts.
        var acked: [NodeID: [UInt64]] = [:]
        /// Outstanding writes with their block, and flushes with the writes that they cover.
        var writes: [UInt64: Int] = [:]
        var flushes: [UInt64: [Int: UInt64]] = [:]
        var newestAcked: [Int: UInt64] = [:]
        /// Requests that were open when another replica was promoted, and whether that copy held what an answer that is
        /// still under way would promise.
        var late: [UInt64: Bool] = [:]
        var proposals: [VolumeEvent] = []
        var promotions = 0
        var joins = 0
        var acks = 0
        var trace: [String] = []

        init(seed: UInt64, nodes: Int) {
            var tuning = Volume.Tuning()
            tuning.markAhead = 0
            tuning.markRetention = .zero
            // Time goes fast here, compared with messages.
            tuning.reconcileGreeting = .seconds(4)
            tuning.reconcilePatience = .seconds(20)
            self.world = MirrorWorld(nodes: nodes, blocks: 64, tuning: tuning)
            self.random = SeededRandom(seed: seed)
            self.base = [UInt64](repeating: 0, count: 64)
            self.issued = [[UInt64]](repeating: [], count: 64)
            self.flushed = [UInt64](repeating: 0, count: 64)
            for node in self.world.ids { self.acked[node] = self.flushed }
            self.set = self.world.ids
        }

        mutating func pick<Element>(_ elements: [Element]) -> Element? {
            elements.isEmpty ? nil : elements[Int(self.random.below(UInt64(elements.count)))]
        }

        mutating func open(_ node: NodeID, keeping set: [NodeID]) {
            self.epoch += 1
            self.owner = node
            // Some as volumes with two replicas open: at once.
            self.former = set == [node] && self.random.chance(perMille: 800) ? self.set.filter { $0 != node } : []
            self.set = set
            self.version += 1
            self.opened = false
            self.closing = false
            self.proposals = []
            self.trace.append("open \(node) epoch \(self.epoch) set \(set)")
            self.sendOpen()
        }

        mutating func sendOpen() {
            let epoch = Epoch(generation: 0, index: self.epoch)
            self.world.input(.lease(end: .never, incarnation: Incarnation(1)), to: self.owner)
            self.world.input(
                .command(
                    .open(
                        epoch: epoch, incarnation: Incarnation(1), inSync: self.set, version: self.version,
                        reconciling: self.former)),
                to: self.owner)
        }

        /// The checker: what the promoted copy holds is the old base, or a write of the last epoch, and nothing that
        /// was flushed, or acknowledged to it since it last restarted, is missing.
        mutating func checkPromotion() -> String? {
            self.promotions += 1
            let disk = self.world.nodes[self.owner]?.disk ?? []
            for block in disk.indices {
                let value = disk[block]
                let known = value == self.base[block] || self.issued[block].contains(value)
                guard known else { return "block \(block) of \(self.owner) holds \(value), which is from the dead" }
                guard value >= self.flushed[block] else {
                    return "block \(block) of \(self.owner) holds \(value); \(self.flushed[block]) was flushed"
                }
                let acked = self.acked[self.owner]?[block] ?? 0
                guard value >= acked else {
                    return "block \(block) of \(self.owner) holds \(value); it had acknowledged \(acked)"
                }
            }
            for (id, block) in self.writes { self.late[id] = disk[block] >= id }
            for (id, covered) in self.flushes { self.late[id] = covered.allSatisfy { disk[$0.key] >= $0.value } }
            self.base = disk
            self.issued = [[UInt64]](repeating: [], count: disk.count)
            self.flushed = [UInt64](repeating: 0, count: disk.count)
            for node in self.world.ids { self.acked[node] = self.flushed }
            self.writes = [:]
            self.flushes = [:]
            self.newestAcked = [:]
            return nil
        }

        /// Takes in replies and events; a sentence if a promise is broken.
        mutating func observe() -> String? {
            let events = self.world.events
            let replies = self.world.replies
            self.world.events = []
            self.world.replies = []
            // A step may both answer and open on different nodes, never on one: answers first.
            for (node, id, reply) in replies where reply == .done {
                if let block = self.writes.removeValue(forKey: id) {
                    self.acks += 1
                    self.newestAcked[block] = max(self.newestAcked[block] ?? 0, id)
                    for node in self.set {
                        let before = self.acked[node]?[block] ?? 0
                        self.acked[node]?[block] = max(before, id)
                    }
                } else if let covered = self.flushes.removeValue(forKey: id) {
                    for (block, write) in covered { self.flushed[block] = max(self.flushed[block], write) }
                } else if let isKept = self.late[id] {
                    guard isKept else { return "\(node) answered \(id), which the promoted copy had not" }
                } else {
                    return "\(node) answered \(id) that nobody waits for"
                }
            }
            for (node, event) in events {
                switch event {
                case .opened(let epoch) where epoch.index == self.epoch && node == self.owner && !self.opened:
                    self.opened = true
                    if let broken = self.checkPromotion() { return broken }
                case .closed(let epoch) where epoch.index == self.epoch && self.closing:
                    let content = self.world.nodes[self.owner]?.disk ?? []
                    for node in self.set where self.world.nodes[node]?.stable != content {
                        return "closed, but \(node) has not everything stable"
                    }
                    self.base = content
                    self.issued = self.issued.map { _ in [] }
                    self.flushed = self.flushed.map { _ in 0 }
                    if let next = self.pick(self.set.filter { self.world.nodes[$0]?.volume != nil }) {
                        self.open(next, keeping: self.set)
                    }
                case .wantsJoin, .wantsLeave, .wantsOpen: self.proposals.append(event)
                default: break
                }
            }
            return nil
        }

        /// Applies one proposal as the log would, or not at all. (Rule V4)
        mutating func applyProposal() {
            guard !self.proposals.isEmpty else { return }
            let proposal = self.proposals.remove(at: Int(self.random.below(UInt64(self.proposals.count))))
            switch proposal {
            case .wantsJoin(let epoch, let version, let replica, _):
                guard epoch.index == self.epoch, version == self.version else { return }
                if !self.set.contains(replica) { self.set = (self.set + [replica]).sorted() }
                self.joins += 1
            case .wantsOpen(let epoch, let version, let inSync):
                guard epoch.index == self.epoch, version == self.version else { return }
                self.set = inSync.map(\.node)
                self.reconciled += 1
            case .wantsLeave(let epoch, let version, let replica):
                guard epoch.index == self.epoch, version == self.version, replica != self.owner else { return }
                self.set.removeAll { $0 == replica }
            default: return
            }
            self.version += 1
            self.trace.append("\(proposal) -> \(self.set) \(self.version)")
        }

        mutating func tellSet() {
            self.world.input(
                .command(
                    .inSyncChanged(
                        epoch: Epoch(generation: 0, index: self.epoch), inSync: self.set, version: self.version)),
                to: self.owner)
        }

        mutating func client() {
            guard self.opened, !self.closing, self.writes.count + self.flushes.count < 12 else { return }
            guard self.world.nodes[self.owner]?.isExported == true else { return }
            self.nextID += 1
            let id = self.nextID
            if self.random.chance(perMille: 200) {
                self.flushes[id] = self.newestAcked
                self.world.input(.flush(id: id), to: self.owner)
            } else {
                let block = Int(self.random.below(64))
                self.writes[id] = block
                self.issued[block].append(id)
                self.world.write(self.owner, id: id, block: block)
            }
        }

        mutating func fault() {
            guard let node = self.pick(self.world.ids) else { return }
            switch self.random.below(8) {
            case 0, 1:
                guard let other = self.pick(self.world.ids.filter { $0 != node }) else { return }
                self.trace.append("cut \(node) \(other)")
                self.world.cut(node, other)
            case 2, 3, 4: self.world.cut = []
            case 5:
                guard self.world.nodes[node]?.volume != nil else { return }
                let power = self.random.chance(perMille: 700)
                self.trace.append("\(power ? "crash" : "kill") \(node)")
                var random = self.random
                self.world.stop(node, power: power) { _ in random.chance(perMille: 300) }
                self.random = random
                if node == self.owner {
                    self.opened = false
                    self.closing = false
                    // The client died with its server: its requests are neither answered nor expected.
                    self.writes = [:]
                    self.flushes = [:]
                }
                if power { self.acked[node] = [UInt64](repeating: 0, count: 64) }
            case 6: for node in self.world.ids where self.world.nodes[node]?.volume == nil { self.world.start(node) }
            default:
                guard let link = self.pick(self.world.orderedLinks) else { return }
                self.world.drop(link)
            }
        }

        mutating func step() {
            switch self.random.below(100) {
            case 0..<25: self.client()
            case 25..<50:
                guard let link = self.pick(self.world.orderedLinks) else { return }
                self.world.deliver(link, forth: self.random.chance(perMille: 500))
            case 50..<80:
                guard let node = self.pick(self.world.ids) else { return }
                if let index = self.pick(self.world.ready(node)) { self.world.doWork(index, on: node) }
            case 80..<88: self.world.connect()
            case 88..<93:
                // Slow enough for replicas to join in between, with a jump now and then.
                let most: UInt64 = self.random.chance(perMille: 40) ? 3000 : 60
                self.world.tick(.milliseconds(self.random.below(most)))
            case 93..<95: self.applyProposal()
            case 95..<98: self.tellSet()
            case 98: if self.random.chance(perMille: 120) { self.fault() }
            default:
                if self.random.chance(perMille: 70) { self.move() }
                if self.random.chance(perMille: 300) { self.reopen() }
            }
        }

        mutating func move() {
            if self.opened, self.random.chance(perMille: 300) {
                self.closing = true
                self.world.input(.command(.close(epoch: Epoch(generation: 0, index: self.epoch))), to: self.owner)
                return
            }
            // Rule V8: only out of the set. Rule V7: the set becomes the new owner alone.
            guard let node = self.pick(self.set.filter { self.world.nodes[$0]?.volume != nil }) else { return }
            self.open(node, keeping: [node])
        }

        /// The server of the owner was started anew: it opens under the same epoch, and what the one before asked for may still
        /// be applied. (Rule V23)
        mutating func reopen() {
            guard !self.opened, !self.closing, self.world.nodes[self.owner]?.volume != nil else { return }
            self.trace.append("reopen \(self.owner) epoch \(self.epoch) set \(self.set) \(self.version)")
            self.sendOpen()
        }

        /// Ends all faults: every replica must come back into the set and all copies be equal.
        mutating func converge() -> String? {
            self.world.cut = []
            for node in self.world.ids where self.world.nodes[node]?.volume == nil { self.world.start(node) }
            if !self.opened {
                guard let node = self.set.first else { return "the set is empty" }
                self.open(node, keeping: [node])
            }
            for _ in 0..<400 {
                self.world.settle()
                if let broken = self.observe() { return broken }
                while !self.proposals.isEmpty { self.applyProposal() }
                self.tellSet()
                self.world.tick(.milliseconds(100))
                if let broken = self.observe() { return broken }
            }
            guard self.set.count == self.world.ids.count else { return "only \(self.set) came back" }
            let disks = self.world.ids.compactMap { self.world.nodes[$0]?.disk }
            guard Set(disks).count == 1 else { return "the copies differ" }
            guard self.writes.isEmpty, self.flushes.isEmpty || self.closing else {
                return "requests are left unanswered"
            }
            let dirty = self.world.ids.compactMap { self.world.nodes[$0]?.volume?.metadata.marks.count }
            guard self.closing || dirty.allSatisfy({ $0 == 0 }) else { return "marks are left: \(dirty)" }
            return nil
        }
    }

    @Test(arguments: [2, 3]) func `a promoted copy has all that was promised, whatever fails`(nodes: Int) {
        var promotions = 0
        var joins = 0
        var acks = 0
        var reconciled = 0
        // SEEDS in the environment asks for more.
        let seeds = Int(ProcessInfo.processInfo.environment["SEEDS"] ?? "") ?? 20
        for seed in 0..<seeds {
            var cluster = Cluster(seed: UInt64(seed) * 7919 + UInt64(nodes), nodes: nodes)
            cluster.open(NodeID(1), keeping: cluster.set)
            var broken: String?
            for _ in 0..<9000 where broken == nil {
                cluster.step()
                broken = cluster.observe()
            }
            if broken == nil { broken = cluster.converge() }
            if let broken {
                Issue.record("seed \(seed): \(broken)\n\(cluster.trace.suffix(20).joined(separator: "\n"))")
                return
            }
            promotions += cluster.promotions
            joins += cluster.joins
            acks += cluster.acks
            reconciled += cluster.reconciled
        }
        // That the runs exercise what they are for; the exact numbers depend on the seeds.
        #expect(promotions > seeds && joins > seeds / 2 && acks > 50 * seeds, "\(promotions) \(joins) \(acks)")
        #expect(reconciled > seeds / 10, "\(reconciled) of \(promotions)")
    }
}
