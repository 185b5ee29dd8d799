import Basis
import Mirror
import SimulatedDisks

/// A client that writes numbered blocks and flushes, and remembers what it was promised.
struct Workload {
    private struct Block {
        var issued: UInt64 = 0
        var acked: UInt64 = 0
        /// Who answered it, or was promoted with it: only that node's flush confirms it.
        var ackedBy: NodeID?
        /// When the write was issued: a copy may lose its power after it took the write, before the client is answered.
        var ackedFrom: UInt64 = 0
        var flushed: UInt64 = 0
        /// What the latest promotion found, and the last number issued before it: whatever else was issued by then is dead.
        var shown: UInt64 = 0
        var closed: UInt64 = 0
        /// Writes under way.
        var busy = 0
        /// It is among `unflushed`.
        var isListed = false
    }

    private enum Request {
        case write(block: Int, number: UInt64, at: UInt64)
        case flush(promises: [(block: Int, number: UInt64)])
    }

    private var blocks = [Block](repeating: Block(), count: SimulatedVolume.blocks)
    /// Blocks whose acknowledged content no flush has confirmed, and perhaps others.
    private var unflushed: [Int] = []
    private var requests = Numbered<(node: NodeID, request: Request)>()
    private var lostPowerAt: [NodeID: UInt64] = [:]
    private var nextNumber: UInt64 = 1
    private var nextRequest: UInt64 = 1
    private(set) var acknowledged: UInt64 = 0
    /// A person has signed for a copy that lacks some of it: what the next promotion finds is what there is.
    var isLossSigned = false
    /// How many writes of one block may be under way at once.
    private let writersPerBlock: Int

    init(writersPerBlock: Int = 1) { self.writersPerBlock = writersPerBlock }

    mutating func write(
        on node: NodeID, _ random: inout SeededRandom, at now: UInt64
    ) -> (id: UInt64, input: Volume.Input, numbers: [UInt64])? {
        let id = self.nextRequest
        if random.chance(perMille: 250) {
            self.nextRequest += 1
            let promises = self.unflushed.filter { self.blocks[$0].ackedBy == node }
                .map { (block: $0, number: self.blocks[$0].acked) }
            self.requests.put((node, .flush(promises: promises)), at: id)
            return (id, .flush(id: id), [])
        }
        // A few hot blocks, and the rest now and then.
        let block = Int(random.chance(perMille: 700) ? random.below(12) : random.below(UInt64(self.blocks.count)))
        guard self.blocks[block].busy < self.writersPerBlock else { return nil }
        self.nextRequest += 1
        let number = self.nextNumber
        self.nextNumber += 1
        self.blocks[block].issued = number
        self.blocks[block].busy += 1
        self.requests.put((node, .write(block: block, number: number, at: now)), at: id)
        let extent = Extent(offset: UInt64(block) * SimulatedVolume.blockBytes, length: SimulatedVolume.blockBytes)
        let isDurable = random.chance(perMille: 100)
        return (id, .write(id: id, extent: extent, kind: .data, durable: isDurable), [number])
    }

    /// Answers what a flush promised.
    @discardableResult
    mutating func replied(_ id: UInt64, _ isDone: Bool) -> [(block: Int, number: UInt64)] {
        guard let (node, request) = self.requests.take(id) else { return [] }
        switch request {
        case .write(let block, let number, let issuedAt):
            self.blocks[block].busy -= 1
            // An answer that waited in a machine that stood still tells nothing that the promotion since did not show.
            guard isDone, number > self.blocks[block].closed else { return [] }
            // Of two writes of a block the later one stays, whichever is answered first.
            guard number > self.blocks[block].acked else { return [] }
            self.blocks[block].acked = number
            self.blocks[block].ackedBy = node
            self.blocks[block].ackedFrom = issuedAt
            self.acknowledged += 1
            self.list(block)
            return []
        case .flush(let promises):
            guard isDone else { return [] }
            for (block, number) in promises {
                self.blocks[block].flushed = max(self.blocks[block].flushed, number)
            }
            self.unflushed.removeAll { block in
                let isFlushed = self.blocks[block].flushed >= self.blocks[block].acked
                if isFlushed { self.blocks[block].isListed = false }
                return isFlushed
            }
            return promises
        }
    }

    private mutating func list(_ block: Int) {
        guard !self.blocks[block].isListed else { return }
        self.blocks[block].isListed = true
        self.unflushed.append(block)
    }

    /// The first block of which this content lacks what was flushed.
    func lack(of content: [UInt64]) -> (block: Int, found: UInt64, flushed: UInt64)? {
        for place in self.blocks.indices where content[place] < self.blocks[place].flushed {
            return (place, content[place], self.blocks[place].flushed)
        }
        return nil
    }

    /// The export is gone: whoever waited gets no answer any more.
    mutating func exportEnded(_ node: NodeID) {
        for (_, request) in self.requests.takeAll(where: { $0.node == node }) {
            if case .write(let block, _, _) = request { self.blocks[block].busy -= 1 }
        }
    }

    /// What is wrong with what a reader of some block was shown; nil when nothing is.
    func read(_ content: [UInt64], on node: NodeID, _ random: inout SeededRandom) -> String? {
        let place = Int(random.below(UInt64(self.blocks.count)))
        let (block, found) = (self.blocks[place], content[place])
        if found < block.acked {
            return "StaleRead: \(node) showed \(found) in block \(place), acknowledged was \(block.acked)"
        }
        return found > block.issued ? "StaleRead: \(node) showed \(found), which nobody wrote" : nil
    }

    mutating func nodeLostPower(_ node: NodeID, at now: UInt64) {
        self.lostPowerAt[node] = now
        self.exportEnded(node)
    }

    /// A copy gets the content of another one: what that one lost with its power is lost here too, whether it comes to serve or
    /// not.
    mutating func madeEqual(_ node: NodeID, to owner: NodeID) {
        guard let lostAt = self.lostPowerAt[owner] else { return }
        self.lostPowerAt[node] = max(self.lostPowerAt[node] ?? 0, lostAt)
    }

    /// NoStalePromotion: the promoted copy holds every flushed write, and every acknowledged one unless its machine
    /// lost power since.
    mutating func promoted(_ node: NodeID, _ content: [UInt64], at now: UInt64) -> String? {
        if self.isLossSigned {
            self.isLossSigned = false
            self.takeAsIs(content)
        }
        if let objection = self.objection(to: node, content) { return objection }
        for place in self.blocks.indices {
            let block = self.blocks[place]
            let found = content[place]
            // From here on this is the content: an answer that never came may have taken effect or not.
            if found != block.acked { self.blocks[place].ackedFrom = now }
            self.blocks[place].acked = found
            self.blocks[place].ackedBy = node
            self.blocks[place].shown = found
            self.blocks[place].closed = block.issued
            self.blocks[place].flushed = min(block.flushed, found)
            if self.blocks[place].flushed < found { self.list(place) }
        }
        return nil
    }

    /// Nothing is promised any more but this.
    private mutating func takeAsIs(_ content: [UInt64]) {
        for place in self.blocks.indices {
            self.blocks[place].acked = content[place]
            self.blocks[place].flushed = min(self.blocks[place].flushed, content[place])
            self.blocks[place].shown = content[place]
        }
    }

    /// Why this content must not be promoted on that node; nil if it may.
    func objection(to node: NodeID, _ content: [UInt64]) -> String? {
        let lostPowerAt = self.lostPowerAt[node] ?? 0
        for place in self.blocks.indices {
            let block = self.blocks[place]
            let found = content[place]
            if found < block.flushed {
                return
                    "NoStalePromotion: \(node) was promoted with \(found) in block \(place), flushed was \(block.flushed)"
            }
            if found < block.acked, block.ackedFrom > lostPowerAt {
                return
                    "NoStalePromotion: \(node) was promoted with \(found) in block \(place), acknowledged was \(block.acked)"
            }
            if found > block.shown, found <= block.closed {
                return
                    "NoStalePromotion: \(node) was promoted with \(found) in block \(place), after the copy promoted before it "
                    + "had \(block.shown) there"
            }
            if found > block.issued { return "block \(place) on \(node) holds \(found), which nobody wrote" }
        }
        return nil
    }
}

extension Simulation {
    func stepWorkload() {
        // Dense while something is going wrong, sparse in quiet times.
        let pause: UInt64 = self.now < self.faultAt + 4_000_000_000 ? 60_000_000 : 500_000_000
        self.queue.add(.workload, at: self.now + pause + self.random.below(3 * pause))
        for node in self.nodes where node.isOn && self.now >= node.pausedUntil {
            for volume in node.volumes { self.stepWorkload(of: volume, on: node) }
        }
    }

    private func stepWorkload(of volume: SimulatedVolume, on node: SimulatedNode) {
        guard volume.core != nil, volume.exportEpoch != nil, self.isServing(volume, on: node) else { return }
        if volume.isUnjudged { self.promoted(volume, on: node) }
        // Without a lease it answers nobody.
        if volume.isUnjudged { return }
        for _ in 0..<(1 + self.random.below(4)) {
            guard
                let (id, input, numbers) = self.workloads[volume.number].write(
                    on: node.id, &self.random, at: self.now)
            else {
                continue
            }
            volume.requests.put(numbers, at: id)
            self.step(volume, input, on: node)
        }
        if self.swarm.has(.clients) { self.read(volume, on: node) }
    }

    /// A reader sees everything that was acknowledged, wherever it is shown.
    private func read(_ volume: SimulatedVolume, on node: SimulatedNode) {
        guard volume.exportEpoch != nil, !volume.isUnjudged, node.tick(at: self.now) < node.usableEnd,
            self.now >= node.excusedUntil
        else { return }
        self.count("reads")
        let content = volume.copy.content.current
        if let broken = self.workloads[volume.number].read(content, on: node.id, &self.swarm.random) {
            self.fail(broken)
        }
    }
}
