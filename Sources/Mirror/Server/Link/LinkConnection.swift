import Basis
import Glibc
import Host
import Mirror
import Synchronization

/// One connection between two replicas: frames are queued by any thread, sent by its writer, received by its reader.
final class LinkConnection: Sendable {
    /// Bytes that may wait to be sent; a peer that slow is cut off, and the dirty map takes over.
    private static let maximumBacklog = 256 << 20
    /// How often the link's rate is looked at.
    private static let bytesBetweenLooks = 64 << 10

    let stream: any ByteStream
    let peer: NodeID
    private struct State: ~Copyable {
        /// Frames as they travel, without sums and with plain payloads.
        var filling = RawBuffer()
        var isClosed = false
        var isIdle = false
    }
    private let state = Locked(State(), lendsPriority: false)
    /// Payload handed to the link, and what of it reached the wire.
    let sentBytes = Atomic<UInt64>(0)
    let sentCompressedBytes = Atomic<UInt64>(0)

    init(stream: any ByteStream, peer: NodeID) {
        self.stream = stream
        self.peer = peer
    }

    /// Queues a frame and copies its payload. Frames leave in the order of the calls.
    func send(_ frame: Frame, _ payload: UnsafeRawBufferPointer) {
        let (header, fields) = FrameCodec.split(frame)
        var hold = self.state.hold()
        guard !hold.value.isClosed else { return }
        if hold.value.filling.count > Self.maximumBacklog {
            hold.value.isClosed = true
            self.stream.shutdown()
            return hold.wakeAll()
        }
        if fields.isEmpty {
            FrameCodec.queue(header, payload, into: &hold.value.filling)
        } else {
            fields.withUnsafeBytes { FrameCodec.queue(header, $0, into: &hold.value.filling) }
        }
        if hold.value.isIdle { hold.wakeAll() }
    }

    /// Ends the connection and wakes its threads.
    func close() {
        self.state.change { $0.isClosed = true }
        self.stream.shutdown()
    }

    /// Sends until the connection ends: everything queued meanwhile goes into one write.
    func runWriter() {
        var batch = RawBuffer()
        var wire = RawBuffer()
        var choice = CompressionChoice()
        var unlooked = 0
        while self.takeFrames(into: &batch) {
            let decision = choice.decide(batchBytes: batch.count)
            var compresses = decision == .compress
            if decision == .sample {
                self.sample(batch.bytes, &choice, scratch: &wire)
                compresses = choice.pays()
            }
            if compresses {
                self.compress(batch.bytes, into: &wire, &choice)
            } else {
                self.seal(&batch)
            }
            let bytes = compresses ? wire.bytes : batch.bytes
            do {
                try self.stream.write(bytes)
            } catch {
                return self.close()
            }
            unlooked += bytes.count
            if unlooked >= Self.bytesBetweenLooks {
                unlooked = 0
                choice.delivered(bytesPerSecond: self.stream.deliveryRate)
            }
            batch.removeAll()
            wire.removeAll()
        }
    }

    /// Waits for frames and takes all of them; false once the connection is closed. `batch` is empty before.
    private func takeFrames(into batch: inout RawBuffer) -> Bool {
        var hold = self.state.hold()
        while hold.value.filling.count == 0, !hold.value.isClosed {
            hold.value.isIdle = true
            hold.wait()
        }
        hold.value.isIdle = false
        if hold.value.isClosed { return false }
        swap(&batch, &hold.value.filling)
        return true
    }

    /// Sums in place: plain frames are sent from where they were queued.
    private func seal(_ batch: inout RawBuffer) {
        var position = 0
        while position < batch.count {
            let end = FrameCodec.end(ofQueued: batch.bytes, at: position)
            FrameCodec.seal(queued: batch.room(at: position, count: end - position))
            let payload = UInt64(end - position - FrameCodec.headerBytes)
            self.sentBytes.add(payload, ordering: .relaxed)
            self.sentCompressedBytes.add(payload, ordering: .relaxed)
            position = end
        }
    }

    private func compress(
        _ batch: UnsafeRawBufferPointer, into wire: inout RawBuffer, _ choice: inout CompressionChoice
    ) {
        let began = MachineClock.now
        var total = (tried: 0, compressed: 0)
        var position = 0
        while position < batch.count {
            let end = FrameCodec.end(ofQueued: batch, at: position)
            let before = wire.count
            let frame = UnsafeRawBufferPointer(rebasing: batch[position..<end])
            let result = FrameCodec.compress(queued: frame, into: &wire)
            total = (total.tried + result.tried, total.compressed + result.compressed)
            self.sentBytes.add(UInt64(frame.count - FrameCodec.headerBytes), ordering: .relaxed)
            self.sentCompressedBytes.add(UInt64(wire.count - before - FrameCodec.headerBytes), ordering: .relaxed)
            position = end
        }
        choice.tried(
            bytes: total.tried, compressed: total.compressed, nanoseconds: MachineClock.now.since(began).nanoseconds)
    }

    /// Compresses a little of the batch, to see how that would go.
    private func sample(
        _ batch: UnsafeRawBufferPointer, _ choice: inout CompressionChoice, scratch: inout RawBuffer
    ) {
        var position = 0
        var total = (tried: 0, compressed: 0)
        let began = MachineClock.now
        while position < batch.count, total.tried < CompressionChoice.sampleBytes {
            let end = FrameCodec.end(ofQueued: batch, at: position)
            let start = position + FrameCodec.headerBytes
            let count = min(end - start, CompressionChoice.sampleBytes)
            if count >= FrameCodec.smallestCompressed {
                let payload = UnsafeRawBufferPointer(rebasing: batch[start..<start + count])
                let size = FrameCodec.compress(payload, into: &scratch)
                total = (total.tried + count, total.compressed + (size > 0 ? size : count))
            }
            position = end
        }
        scratch.removeAll()
        choice.tried(
            bytes: total.tried, compressed: total.compressed, nanoseconds: MachineClock.now.since(began).nanoseconds)
    }

    /// Receives until the connection ends. `frame` gets each frame, its payload valid during the call; `pause` is
    /// called when all that arrived together was handed on.
    func runReader(frame: (Frame, UnsafeRawBufferPointer) throws -> Void, pause: () -> Void) throws {
        var capacity = 1 << 20
        var base = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 4096)
        defer { base.deallocate() }
        var scratch = RawBuffer(capacity: 64 << 10)
        var start = 0
        var end = 0
        while true {
            let count = try self.stream.read(
                into: UnsafeMutableRawBufferPointer(start: base + end, count: capacity - end))
            guard count > 0 else { return }
            end += count
            var wanted = FrameCodec.headerBytes
            while end - start >= FrameCodec.headerBytes {
                let bytes = UnsafeRawBufferPointer(start: base + start, count: end - start)
                let header = try FrameCodec.header(bytes)
                wanted = FrameCodec.headerBytes + Int(header.wireBytes)
                guard bytes.count >= wanted else { break }
                let wire = UnsafeRawBufferPointer(rebasing: bytes[FrameCodec.headerBytes..<wanted])
                let payload = try FrameCodec.payload(header, wire, scratch: &scratch)
                try frame(try FrameCodec.frame(header, payload), payload)
                start += wanted
                wanted = FrameCodec.headerBytes
            }
            pause()
            if start == end {
                (start, end) = (0, 0)
            } else if start + wanted > capacity || end == capacity {
                // Room for several frames of this size, so that moving the rest to the front is rare.
                let room = max(capacity, wanted + FrameCodec.headerBytes + min(3 * wanted, 8 << 20))
                if room == capacity {
                    memmove(base, base + start, end - start)
                } else {
                    let next = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: 4096)
                    next.copyMemory(from: base + start, byteCount: end - start)
                    base.deallocate()
                    (base, capacity) = (next, room)
                }
                (start, end) = (0, end - start)
            }
        }
    }
}
