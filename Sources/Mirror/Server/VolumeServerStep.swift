import Basis
import CLinux
import Glibc
import Host
import Mirror
import Synchronization

extension VolumeServer {
    /// Steps the core with one input and carries out what follows.
    func step(_ input: Volume.Input, payload: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)) {
        self.lock.lock()
        self.inputPayload = payload
        self.stepLocked(input)
        self.finishStep()
    }

    /// Leaves the lock, then lets clients see their answers.
    func finishStep() {
        self.inputPayload = UnsafeRawBufferPointer(start: nil, count: 0)
        self.inputSequence = nil
        self.inputRequest = nil
        self.isBatch = false
        let answering = self.isStopping ? 0 : self.volume.answeringIncarnation?.rawValue ?? 0
        if self.readable.load(ordering: .relaxed) != answering {
            self.readable.store(answering, ordering: .releasing)
            self.lock.broadcast()
        } else if self.readers > 0 {
            // A doubt may have come and gone between two steps. (Rule L20)
            self.lock.broadcast()
        }
        if self.toDeliver.isEmpty { return self.lock.unlock() }
        let sinks = self.toDeliver
        self.toDeliver.removeAll(keepingCapacity: true)
        self.lock.unlock()
        for sink in sinks { sink.deliver() }
    }

    /// Called with the lock. The lease is read first and the clock after it: an answer leaves only if the lease that
    /// was there holds at a later instant. (Rule L12)
    func stepLocked(_ input: Volume.Input) {
        if self.isStopping { return }
        let end = holdfast_lease_usable_end(self.leasePage)
        let incarnation = holdfast_lease_load(self.leasePage, HOLDFAST_LEASE_SLOT_INCARNATION)
        let now = self.now()
        if end != self.leaseEnd || incarnation != self.leaseIncarnation {
            self.leaseEnd = end
            self.leaseIncarnation = incarnation
            self.volume.step(
                .lease(end: Tick(nanoseconds: end), incarnation: Incarnation(incarnation)), at: now,
                into: &self.effects)
        }
        self.volume.step(input, at: now, into: &self.effects)
        self.carryOut(at: now)
    }

    private func carryOut(at now: Tick) {
        var index = 0
        while true {
            while index < self.effects.list.count {
                self.carryOut(self.effects.list[index], at: now)
                index += 1
            }
            guard self.lastWritten > 0, !self.isBatch else { break }
            let sequence = self.lastWritten
            self.lastWritten = 0
            self.volume.step(.localWritten(sequence: sequence), at: now, into: &self.effects)
        }
        self.effects.removeAll()
    }

    private func carryOut(_ effect: Volume.Effect, at now: Tick) {
        switch effect {
        case .writeLocal(let id, let sequence, let extent, let kind):
            self.writeLocal(id, sequence, extent, kind, at: now)
        case .applyReceived(let sequence, let extent, let kind, let mask):
            self.applyReceived(sequence, extent, kind, mask, at: now)
        case .holdReceived(let sequence): self.receivedPayloads[sequence] = Array(self.inputPayload)
        case .dropReceived:
            self.receivedPayloads.removeAll()
        case .syncLocal(let token): self.syncs.append(token)
        case .persist(let metadata, let token): self.persists.append((metadata, token))
        case .send(let peer, let frame, let payload): self.send(frame, to: peer, payload)
        case .digest(let chunk, let peer, let session):
            self.chunks.append(.digest(chunk: chunk, peer: peer, session: session))
        case .readChunk(let peer, let session, let chunk, let ticket, let exclusive):
            let sums = self.inputPayload.isEmpty ? nil : Self.sums(self.inputPayload)
            self.chunks.append(
                .compare(
                    peer: peer, session: session, chunk: chunk, ticket: ticket, sums: exclusive ? nil : sums,
                    exclusive: exclusive))
        case .reply(let id, let reply): self.reply(id, reply)
        case .event(.status(let status)): self.outbox.append(.event(.status(self.withCounters(status))))
        case .event(let event): self.outbox.append(.event(event))
        case .startExport(let epoch): self.outbox.append(.startExport(epoch))
        case .stopExport:
            self.exportGeneration += 1
            self.lock.broadcast()
            self.outbox.append(.stopExport)
        case .dial(let peer): self.dial(peer)
        case .stopDialling(let peer):
            self.dialling[peer] = nil
            self.outbound[peer]?.close()
        case .hangUp(let peer, .outbound): self.outbound[peer]?.close()
        case .hangUp(let peer, .inbound): self.inbound[peer]?.close()
        }
    }

    private func writeLocal(
        _ id: UInt64, _ sequence: UInt64, _ extent: Extent, _ kind: Volume.WriteKind, at now: Tick
    ) {
        let code: Int32
        if self.inputRequest == id { self.wroteRequest = true }
        switch kind {
        case .zero(let zeroing):
            code = self.store.zero(offset: extent.offset, length: extent.length, trim: zeroing == .trim)
        case .data:
            code = self.withRequestPayload(id) { self.store.write(offset: extent.offset, $0) }
        }
        self.wrote(sequence, code, at: now)
    }

    private func applyReceived(
        _ sequence: UInt64, _ extent: Extent, _ kind: Volume.WriteKind, _ mask: UInt64, at now: Tick
    ) {
        if case .zero(let zeroing) = kind {
            return self.wrote(
                sequence, self.store.zero(offset: extent.offset, length: extent.length, trim: zeroing == .trim), at: now
            )
        }
        if self.inputSequence == sequence {
            self.inputSequence = nil
            self.wrote(sequence, self.write(self.inputPayload, extent, mask), at: now)
        } else if let kept = self.receivedPayloads.removeValue(forKey: sequence) {
            self.wrote(sequence, kept.withUnsafeBytes { self.write($0, extent, mask) }, at: now)
        } else {
            preconditionFailure("no payload for received write \(sequence)")
        }
    }

    /// Writes a payload that holds the whole extent, or its blocks in `mask`.
    private func write(_ payload: UnsafeRawBufferPointer, _ extent: Extent, _ mask: UInt64) -> Int32 {
        if mask == 0 { return self.store.write(offset: extent.offset, payload) }
        var position = 0
        for piece in Self.blocks(of: extent, mask) {
            let end = position + Int(piece.length)
            let code = self.store.write(offset: piece.offset, UnsafeRawBufferPointer(rebasing: payload[position..<end]))
            guard code == 0 else { return code }
            position = end
        }
        return 0
    }

    /// The runs of blocks of a chunk whose bits are set.
    static func blocks(of chunk: Extent, _ mask: UInt64) -> [Extent] {
        let size = Volume.Resync.blockBytes
        var runs: [Extent] = []
        for block in 0..<(chunk.length + size - 1) / size where mask & (1 << block) != 0 {
            let start = chunk.offset + block * size
            let length = min(size, chunk.end - start)
            if let last = runs.last, last.end == start {
                runs[runs.count - 1].length += length
            } else {
                runs.append(Extent(offset: start, length: length))
            }
        }
        return runs
    }

    private func wrote(_ sequence: UInt64, _ code: Int32, at now: Tick) {
        guard code == 0 else { return self.failed("write", code, at: now) }
        self.lastWritten = max(self.lastWritten, sequence)
    }

    /// Called with the lock.
    func failed(_ doing: String, _ code: Int32, at now: Tick) {
        self.lastWritten = 0
        self.volume.step(
            .localFailed(
                reason: "cannot \(doing) \(self.options.backingPath): \(SystemText.error(code)); replace the disk"),
            at: now, into: &self.effects)
    }

    private func send(_ frame: Frame, to peer: NodeID, _ payload: Volume.Payload) {
        let connection: LinkConnection? =
            switch frame.body {
            case .hello, .write, .zero, .flush, .compare, .blocks, .clear, .note, .ping: self.outbound[peer]
            case .welcome, .received, .stable, .sums, .fenced, .pong, .wantsResync, .noted: self.inbound[peer]
            }
        guard let connection else { return }
        switch payload {
        case .none: connection.send(frame, UnsafeRawBufferPointer(start: nil, count: 0))
        case .input: connection.send(frame, self.inputPayload)
        case .request(let id): self.withRequestPayload(id) { connection.send(frame, $0) }
        }
    }

    private func withRequestPayload<Result>(_ id: UInt64, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        if self.inputRequest == id { return body(self.inputPayload) }
        guard let kept = self.requests.payload(id) else { preconditionFailure("no payload for request \(id)") }
        return kept.withUnsafeBytes(body)
    }

    private func reply(_ id: UInt64, _ reply: Volume.Reply) {
        guard let request = self.requests.remove(id) else { return }
        request.sink.gather(cookie: request.cookie, error: reply == .done ? BlockError.none : BlockError.inputOutput)
        if !self.toDeliver.contains(where: { $0 === request.sink }) { self.toDeliver.append(request.sink) }
    }

    static func sums(_ bytes: UnsafeRawBufferPointer) -> [UInt64] {
        (0..<bytes.count / 8).map { UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)) }
    }
}

/// The clients' requests that are not answered, by id. Ids are reused slots with a counter, so that no dictionary is
/// needed.
struct RequestTable {
    struct Request {
        let sink: any BlockCompletionSink
        let cookie: UInt64
        /// A copy of the payload, made only where the write has to wait for its mark.
        var payload: [UInt8]?
    }
    private var slots: [Request?] = []
    private var free: [Int] = []
    private var counter: UInt64 = 0

    mutating func add(sink: any BlockCompletionSink, cookie: UInt64) -> UInt64 {
        self.counter += 1
        let request = Request(sink: sink, cookie: cookie)
        if let slot = self.free.popLast() {
            self.slots[slot] = request
            return self.counter << 20 | UInt64(slot)
        }
        self.slots.append(request)
        precondition(self.slots.count <= 1 << 20, "more than a million requests in flight")
        return self.counter << 20 | UInt64(self.slots.count - 1)
    }

    private func slot(_ id: UInt64) -> Int { Int(id & 0xF_FFFF) }

    func contains(_ id: UInt64) -> Bool { self.slots[self.slot(id)] != nil }
    func payload(_ id: UInt64) -> [UInt8]? { self.slots[self.slot(id)]?.payload }

    mutating func keep(_ payload: UnsafeRawBufferPointer, for id: UInt64) {
        self.slots[self.slot(id)]?.payload = Array(payload)
    }

    mutating func remove(_ id: UInt64) -> Request? {
        let slot = self.slot(id)
        guard let request = self.slots[slot] else { return nil }
        self.slots[slot] = nil
        self.free.append(slot)
        return request
    }
}
