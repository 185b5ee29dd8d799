import Basis

extension Volume {
    /// What is left to compare and copy to one replica.
    package struct Resync: Sendable {
        enum Step: Equatable, Sendable {
            case comparing
            case reading
            case sent(UInt64)
        }
        struct Flight: Sendable {
            var chunk: Extent
            var step: Step
            var retries = 0
        }

        private var pending = DirtyMap(regions: 0)
        private var flights: [Flight] = []
        private var regionBytes: UInt64 = 1
        private var sizeBytes: UInt64 = 0
        /// Where the next chunk begins, inside a region already taken off `pending`.
        private var cursor: Extent?
        private var allowance: Int64 = 0
        private var refilled = Tick.zero
        /// False: the replica's disk is doubtful, so equal blocks are sent too.
        private(set) var trustsSums = true
        private(set) var totalBytes: UInt64 = 0

        var isRunning: Bool { self.cursor != nil || !self.flights.isEmpty || self.pending.count > 0 }
        var remainingBytes: UInt64 {
            UInt64(self.pending.count) * self.regionBytes + (self.cursor?.length ?? 0)
                + self.flights.reduce(0) { $0 + $1.chunk.length }
        }
        var inFlight: Int { self.flights.count }

        mutating func begin(_ pending: DirtyMap, _ ledger: Ledger, trusts: Bool) {
            self.pending = pending
            self.flights = []
            self.cursor = nil
            self.regionBytes = ledger.regionBytes
            self.sizeBytes = ledger.configuration.sizeBytes
            self.trustsSums = trusts
            self.totalBytes = self.remainingBytes
        }

        /// Adds every region to what is left.
        mutating func restart(all ledger: Ledger) {
            self.pending = DirtyMap(regions: ledger.metadata.marks.regions, all: true)
            self.regionBytes = ledger.regionBytes
            self.sizeBytes = ledger.configuration.sizeBytes
            self.totalBytes = self.remainingBytes
        }

        mutating func refill(at now: Tick, _ tuning: Tuning) {
            guard tuning.resyncBytesPerSecond > 0 else { return self.allowance = .max }
            let milliseconds = min(now.since(self.refilled).milliseconds, 1000)
            guard milliseconds > 0 else { return }
            self.refilled = now
            let earned = Int64(clamping: max(1, tuning.resyncBytesPerSecond / 1000) * milliseconds)
            self.allowance =
                min(self.allowance, 0)
                + min(max(self.allowance, 0) + earned, Int64(clamping: tuning.resyncBytesPerSecond / 4))
        }

        mutating func spend(_ bytes: UInt64) {
            if self.allowance != .max { self.allowance -= Int64(clamping: bytes) }
        }

        var mayStart: Bool { self.allowance > 0 }

        /// The next chunk to compare, at most 64 blocks and within one region.
        mutating func next() -> Extent? {
            if self.cursor == nil, let region = self.pending.first(from: 0) {
                self.pending.remove(region)
                let start = UInt64(region) * self.regionBytes
                self.cursor = Extent(offset: start, length: min(self.regionBytes, self.sizeBytes - start))
            }
            guard let rest = self.cursor else { return nil }
            let length = min(rest.length, Resync.blockBytes * 64)
            let chunk = Extent(offset: rest.offset, length: length)
            self.cursor = rest.length > length ? Extent(offset: chunk.end, length: rest.length - length) : nil
            self.flights.append(Flight(chunk: chunk, step: .comparing))
            return chunk
        }

        func step(of chunk: Extent) -> Step? { self.flights.first { $0.chunk == chunk }?.step }

        mutating func set(_ step: Step, of chunk: Extent) {
            guard let index = self.flights.firstIndex(where: { $0.chunk == chunk }) else { return }
            self.flights[index].step = step
        }

        /// Counts a read that a client's write made void.
        mutating func retry(_ chunk: Extent) -> Int {
            guard let index = self.flights.firstIndex(where: { $0.chunk == chunk }) else { return 0 }
            self.flights[index].retries += 1
            return self.flights[index].retries
        }

        mutating func finish(_ chunk: Extent) { self.flights.removeAll { $0.chunk == chunk } }

        mutating func received(_ sequence: UInt64) {
            self.flights.removeAll {
                if case .sent(let own) = $0.step { own <= sequence } else { false }
            }
        }

        /// Comparison and copy work in blocks of this size.
        package static let blockBytes: UInt64 = 4096
    }
}

extension Volume.Owner {
    mutating func resyncAll(at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects) {
        for index in self.peers.indices { _ = self.letOverwrite(index, &effects) }
        for index in self.peers.indices where self.peers[index].getsWrites {
            self.peers[index].resync.restart(all: ledger)
            self.pumpResync(index, at: now, &ledger, &effects)
        }
    }

    /// Keeps a bounded number of chunks under way, fewer while clients wait.
    mutating func pumpResync(
        _ index: Int, at now: Tick, _ ledger: inout Ledger, _ effects: inout Volume.Effects
    ) {
        guard self.peers[index].getsWrites else { return }
        let tuning = ledger.configuration.tuning
        self.peers[index].resync.refill(at: now, tuning)
        let window = self.isBusy ? tuning.resyncWindowBusy : tuning.resyncWindow
        while self.peers[index].resync.inFlight < window, self.peers[index].resync.mayStart,
            let chunk = self.peers[index].resync.next()
        {
            self.compare(chunk, index, &effects)
        }
        self.finishResync(index, at: now, &ledger, &effects)
    }

    private mutating func compare(_ chunk: Extent, _ index: Int, _ effects: inout Volume.Effects) {
        let peer = self.peers[index]
        self.peers[index].resync.spend(64)
        guard peer.resync.trustsSums else { return self.read(chunk, index, exclusive: false, &effects) }
        self.peers[index].resync.set(.comparing, of: chunk)
        effects.send(.compare(chunk: chunk), to: peer.node, epoch: self.epoch, session: peer.session)
    }

    private mutating func read(
        _ chunk: Extent, _ index: Int, exclusive: Bool, _ effects: inout Volume.Effects
    ) {
        let peer = self.peers[index]
        self.peers[index].resync.set(.reading, of: chunk)
        effects.append(
            .readChunk(
                peer: peer.node, session: peer.session, chunk: chunk, ticket: exclusive ? .max : self.lastSequence,
                exclusive: exclusive))
    }

    mutating func sums(_ chunk: Extent, _ index: Int, _ ledger: inout Ledger, _ effects: inout Volume.Effects) {
        guard self.peers[index].resync.step(of: chunk) == .comparing else { return }
        self.read(chunk, index, exclusive: false, &effects)
    }

    /// A chunk was read here and compared with the replica's digests.
    mutating func chunkRead(
        _ read: ChunkRead, peer: NodeID, session: UInt32, at now: Tick, _ ledger: inout Ledger,
        _ effects: inout Volume.Effects
    ) {
        guard let index = self.index(of: peer), self.peers[index].session == session,
            self.peers[index].resync.step(of: read.chunk) == .reading
        else { return }
        if ledger.isTouched(read.chunk, after: read.ticket) {
            // A write came after the read began: what was read is old. A busy chunk is read with all writes held off
            // in the end.
            if self.peers[index].resync.retry(read.chunk) < 3 {
                self.compare(read.chunk, index, &effects)
            } else {
                self.read(read.chunk, index, exclusive: true, &effects)
            }
            return
        }
        if read.differing == 0 {
            self.peers[index].resync.finish(read.chunk)
        } else {
            self.lastSequence += 1
            self.peers[index].owes(self.lastSequence, at: now)
            self.peers[index].resync.set(.sent(self.lastSequence), of: read.chunk)
            self.peers[index].resync.spend(UInt64(read.differing.nonzeroBitCount) * Volume.Resync.blockBytes)
            effects.send(
                .blocks(sequence: self.lastSequence, chunk: read.chunk, mask: read.differing), to: peer,
                epoch: self.epoch, session: session, payload: .input)
        }
        self.pumpResync(index, at: now, &ledger, &effects)
    }
}
