import Basis
import Glibc
import Synchronization

/// One connection between two replicas: frames are queued by any thread, sent by its writer, received by its reader.
final class LinkConnection: @unchecked Sendable {
    /// Bytes that may wait to be sent; a peer that slow is cut off, and the dirty map takes over.
    private static let maximumBacklog = 256 << 20
    /// From this much in one batch the link is the bottleneck, and compression pays.
    private static let compressFrom = 64 << 10

    let stream: any ByteStream
    let peer: NodeID
    private let lock = ConditionLock()
    // Guarded by `lock`: frames not encoded yet, each a header with the payload's length, then the payload.
    private var filling = RawBuffer()
    private var isClosed = false
    private var isIdle = false
    /// Payload handed to the link, and what of it reached the wire.
    let sentBytes = Atomic<UInt64>(0)
    let sentCompressedBytes = Atomic<UInt64>(0)

    init(stream: any ByteStream, peer: NodeID) {
        self.stream = stream
        self.peer = peer
    }

    /// Queues a frame and copies its payload. Frames leave in the order of the calls.
    func send(_ frame: Frame, _ payload: UnsafeRawBufferPointer) {
        var (header, fields) = FrameCodec.split(frame)
        header.payloadBytes = UInt32(fields.isEmpty ? payload.count : fields.count)
        self.lock.lock()
        defer { self.lock.unlock() }
        guard !self.isClosed else { return }
        if self.filling.count > Self.maximumBacklog {
            self.isClosed = true
            self.stream.shutdown()
            self.lock.broadcast()
            return
        }
        withUnsafeBytes(of: &header) { self.filling.append($0) }
        if fields.isEmpty {
            self.filling.append(payload)
        } else {
            fields.withUnsafeBytes { self.filling.append($0) }
        }
        if self.isIdle { self.lock.broadcast() }
    }

    /// Ends the connection and wakes its threads.
    func close() {
        self.lock.lock()
        self.isClosed = true
        self.lock.broadcast()
        self.lock.unlock()
        self.stream.shutdown()
    }

    /// Sends until the connection ends: everything queued meanwhile goes into one write.
    func runWriter() {
        var batch = RawBuffer()
        var wire = RawBuffer()
        while true {
            self.lock.lock()
            while self.filling.count == 0, !self.isClosed {
                self.isIdle = true
                self.lock.wait()
            }
            self.isIdle = false
            if self.isClosed { return self.lock.unlock() }
            swap(&batch, &self.filling)
            self.lock.unlock()
            self.encode(batch.bytes, into: &wire)
            batch.removeAll()
            do {
                try self.stream.write(wire.bytes)
            } catch {
                return self.close()
            }
            wire.removeAll()
        }
    }

    private func encode(_ batch: UnsafeRawBufferPointer, into wire: inout RawBuffer) {
        let compress = batch.count >= Self.compressFrom
        let size = MemoryLayout<FrameCodec.Header>.size
        var position = 0
        while position < batch.count {
            let header = batch.loadUnaligned(fromByteOffset: position, as: FrameCodec.Header.self)
            position += size
            let end = position + Int(header.payloadBytes)
            let payload = UnsafeRawBufferPointer(rebasing: batch[position..<end])
            let before = wire.count
            FrameCodec.encode(header, payload, compress: compress, into: &wire)
            if !payload.isEmpty {
                self.sentBytes.add(UInt64(payload.count), ordering: .relaxed)
                self.sentCompressedBytes.add(
                    UInt64(wire.count - before - FrameCodec.headerBytes), ordering: .relaxed)
            }
            position = end
        }
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
                let room = max(capacity, wanted + FrameCodec.headerBytes)
                let next = UnsafeMutableRawPointer.allocate(byteCount: room, alignment: 4096)
                next.copyMemory(from: base + start, byteCount: end - start)
                base.deallocate()
                (base, capacity) = (next, room)
                (start, end) = (0, end - start)
            }
        }
    }
}
