import Basis
import Host
import Mirror
import Synchronization

extension VolumeServer.Turn {
    typealias Carried = VolumeServer.Carried

    /// A step whose input brings nothing along.
    mutating func step(_ input: Volume.Input) {
        var carried = Carried()
        self.step(input, &carried)
    }

    /// Steps the core with one input and carries out what follows. The lease is read first and the clock after it: an answer
    /// leaves only if the lease that was there holds at a later instant. (Rule L12)
    mutating func step(_ input: Volume.Input, _ carried: inout Carried) {
        if self.state.isStopping { return }
        let end = self.server.lease.usableEnd
        let incarnation = self.server.lease.incarnation
        let now = MachineClock.now
        if end != self.state.leaseEnd || incarnation != self.state.leaseIncarnation {
            self.state.leaseEnd = end
            self.state.leaseIncarnation = incarnation
            self.state.step(.lease(end: end, incarnation: incarnation), at: now)
        }
        self.state.step(input, at: now)
        self.carryOut(at: now, &carried)
    }

    private mutating func carryOut(at now: Tick, _ carried: inout Carried) {
        var index = 0
        while true {
            while index < self.state.effects.list.count {
                self.carryOut(self.state.effects.list[index], at: now, &carried)
                index += 1
            }
            guard self.state.lastWritten > 0, !carried.hasMoreBehind else { break }
            let sequence = self.state.lastWritten
            self.state.lastWritten = 0
            self.state.step(.localWritten(sequence: sequence), at: now)
        }
        self.state.effects.removeAll()
    }

    private mutating func carryOut(_ effect: Volume.Effect, at now: Tick, _ carried: inout Carried) {
        switch effect {
        case .writeLocal(let id, let sequence, let extent, let kind):
            self.writeLocal(id, sequence, extent, kind, at: now, &carried)
        case .applyReceived(let sequence, let extent, let kind, let mask):
            self.applyReceived(sequence, extent, kind, mask, at: now, &carried)
        case .holdReceived(let sequence): self.state.receivedPayloads[sequence] = Array(carried.bytes)
        case .dropReceived:
            self.state.receivedPayloads.removeAll()
        case .syncLocal(let token): self.server.syncs.append(token)
        case .persist(let metadata, let token): self.server.persists.append((metadata, token))
        case .send(let peer, let frame, let payload): self.send(frame, to: peer, payload, carried)
        case .digest(let chunk, let peer, let session):
            self.server.chunks.append(.digest(chunk: chunk, peer: peer, session: session))
        case .readChunk(let peer, let session, let chunk, let ticket, let exclusive):
            let sums = carried.bytes.isEmpty ? nil : Self.sums(carried.bytes)
            self.server.chunks.append(
                .compare(
                    peer: peer, session: session, chunk: chunk, ticket: ticket, sums: exclusive ? nil : sums,
                    exclusive: exclusive))
        case .reply(let id, let reply): self.reply(id, reply)
        case .event(.status(let status)): self.server.outbox.append(.event(.status(self.state.withCounters(status))))
        case .event(let event): self.server.outbox.append(.event(event))
        case .startExport(let epoch): self.server.outbox.append(.startExport(epoch))
        case .stopExport:
            self.state.exportGeneration += 1
            self.wakeReaders()
            self.server.outbox.append(.stopExport)
        case .dial(let peer): self.dial(peer)
        case .stopDialling(let peer):
            self.state.dialling[peer] = nil
            self.state.outbound[peer]?.close()
        case .hangUp(let peer, .outbound): self.state.outbound[peer]?.close()
        case .hangUp(let peer, .inbound): self.state.inbound[peer]?.close()
        }
    }

    private mutating func writeLocal(
        _ id: UInt64, _ sequence: UInt64, _ extent: Extent, _ kind: Volume.WriteKind, at now: Tick,
        _ carried: inout Carried
    ) {
        let code: Int32
        if carried.request == id { carried.isRequestWritten = true }
        switch kind {
        case .zero(let zeroing):
            code = self.server.store.zero(offset: extent.offset, length: extent.length, trim: zeroing == .trim)
        case .data:
            let store = self.server.store
            code = self.withRequestPayload(id, carried) { store.write(offset: extent.offset, $0) }
        }
        self.wrote(sequence, code, at: now)
    }

    private mutating func applyReceived(
        _ sequence: UInt64, _ extent: Extent, _ kind: Volume.WriteKind, _ mask: UInt64, at now: Tick,
        _ carried: inout Carried
    ) {
        if case .zero(let zeroing) = kind {
            let isTrim = zeroing == .trim
            return self.wrote(
                sequence, self.server.store.zero(offset: extent.offset, length: extent.length, trim: isTrim), at: now)
        }
        if carried.sequence == sequence {
            carried.sequence = nil
            self.wrote(sequence, self.server.write(carried.bytes, extent, mask), at: now)
        } else if let kept = self.state.receivedPayloads.removeValue(forKey: sequence) {
            let server = self.server
            self.wrote(sequence, kept.withUnsafeBytes { server.write($0, extent, mask) }, at: now)
        } else {
            preconditionFailure("no payload for received write \(sequence)")
        }
    }

    private mutating func wrote(_ sequence: UInt64, _ code: Int32, at now: Tick) {
        guard code == 0 else { return self.failed("write", code, at: now) }
        self.state.lastWritten = max(self.state.lastWritten, sequence)
    }

    /// The copy is not to be trusted any more.
    private mutating func failed(_ doing: String, _ code: Int32, at now: Tick) {
        self.state.lastWritten = 0
        self.state.step(.localFailed(reason: self.server.failure(doing, code)), at: now)
    }

    private func send(_ frame: Frame, to peer: NodeID, _ payload: Volume.Payload, _ carried: Carried) {
        let connection: LinkConnection? =
            switch frame.body {
            case .hello, .write, .zero, .flush, .compare, .blocks, .clear, .note, .ping: self.state.outbound[peer]
            case .welcome, .received, .stable, .sums, .fenced, .pong, .wantsResync, .noted: self.state.inbound[peer]
            }
        guard let connection else { return }
        switch payload {
        case .none: connection.send(frame, UnsafeRawBufferPointer(start: nil, count: 0))
        case .input: connection.send(frame, carried.bytes)
        case .request(let id): self.withRequestPayload(id, carried) { connection.send(frame, $0) }
        }
    }

    private func withRequestPayload<Result>(
        _ id: UInt64, _ carried: Carried, _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        if carried.request == id { return body(carried.bytes) }
        guard let kept = self.state.requests.payload(id) else { preconditionFailure("no payload for request \(id)") }
        return kept.withUnsafeBytes(body)
    }

    private mutating func reply(_ id: UInt64, _ reply: Volume.Reply) {
        guard let request = self.state.requests.remove(id) else { return }
        request.sink.gather(cookie: request.cookie, error: reply == .done ? BlockError.none : BlockError.inputOutput)
        if !self.state.toDeliver.contains(where: { $0 === request.sink }) { self.state.toDeliver.append(request.sink) }
    }

    private static func sums(_ bytes: UnsafeRawBufferPointer) -> [UInt64] {
        (0..<bytes.count / 8).map { UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self)) }
    }
}

extension VolumeServer {
    /// Writes a payload that holds the whole extent, or its blocks in `mask`.
    fileprivate func write(_ payload: UnsafeRawBufferPointer, _ extent: Extent, _ mask: UInt64) -> Int32 {
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

    /// What is said of a copy after an error.
    func failure(_ doing: String, _ code: Int32) -> String {
        "cannot \(doing) \(self.options.backingPath): \(SystemText.error(code)); replace the disk"
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
