import Glibc
import Host
import Mirror

/// One connection to an NBD server, from the handshake on: any number of requests in flight, nothing that blocks.
final class NBDClientLink {
    /// What was received.
    enum Event {
        case connected(NBDClientHandshake.Export)
        case answered(VolumeDevice.RequestID, VolumeDevice.Failure?)
    }

    /// What is on its way out: a header in place, then a part of a buffer.
    private struct Segment {
        var header: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        var headerBytes = 0
        var buffer: DeviceBuffer?
        var offset = 0
        var count = 0

        var bytes: Int { self.headerBytes + self.count }
    }

    /// Segments in one system call.
    private static let segmentsMax = 64
    private static let inboxBytes = 64 * 1024

    let id: VolumeDevice.ConnectionID
    let descriptor: Int32
    private var handshake: NBDClientHandshake? = NBDClientHandshake()
    private var outbox: [Segment] = []
    private var head = 0
    /// Bytes of the first segment that have left.
    private var sent = 0
    private let inbox = UnsafeMutableRawPointer.allocate(byteCount: inboxBytes, alignment: 64)
    private var start = 0
    private var end = 0
    /// The read whose bytes are arriving.
    private var arriving: (id: VolumeDevice.RequestID, buffer: DeviceBuffer, filled: Int, count: Int)?

    /// Connects; an errno value when nobody listens.
    init(_ id: VolumeDevice.ConnectionID, path: String) throws(NBDDrop) {
        self.id = id
        do throws(Errno) {
            self.descriptor = try UnixAddress(path).connect(isNonBlocking: true)
        } catch {
            throw NBDDrop(reason: "nobody listens on \(path): \(SystemText.error(error.code))")
        }
        var room: Int32 = 1 << 20
        setsockopt(self.descriptor, SOL_SOCKET, SO_SNDBUF, &room, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit {
        if self.descriptor >= 0 { close(self.descriptor) }
        self.inbox.deallocate()
    }

    /// Something waits until the socket takes more.
    var wantsToSend: Bool { self.head < self.outbox.count }

    /// Queues a request; `flush` sends it.
    func queue(_ id: VolumeDevice.RequestID, _ operation: VolumeDevice.Operation, _ held: HeldRequest) {
        var segment = Segment(headerBytes: NBD.requestBytes)
        var (command, flags, extent) = (NBD.Command.flush, UInt16(0), Extent(offset: 0, length: 0))
        switch operation {
        case .read(let range): (command, extent) = (NBD.Command.read, range)
        case .write(let range, let durable):
            (command, flags, extent) = (NBD.Command.write, durable ? NBD.Flag.fua : 0, range)
            (segment.buffer, segment.offset, segment.count) = (held.buffer, held.offset, held.count)
        case .zero(let range, let mayTrim):
            (command, flags, extent) = (NBD.Command.writeZeroes, mayTrim ? 0 : NBD.Flag.noHole, range)
        case .flush: break
        }
        withUnsafeMutableBytes(of: &segment.header) { bytes in
            bytes.storeBytes(of: NBD.requestMagic.bigEndian, as: UInt32.self)
            bytes.storeBytes(of: flags.bigEndian, toByteOffset: 4, as: UInt16.self)
            bytes.storeBytes(of: command.bigEndian, toByteOffset: 6, as: UInt16.self)
            bytes.storeBytes(of: id.rawValue.bigEndian, toByteOffset: 8, as: UInt64.self)
            bytes.storeBytes(of: extent.offset.bigEndian, toByteOffset: 16, as: UInt64.self)
            bytes.storeBytes(of: UInt32(extent.length).bigEndian, toByteOffset: 24, as: UInt32.self)
        }
        self.outbox.append(segment)
    }

    /// Sends as much as the socket takes.
    func flush() throws(NBDDrop) {
        while self.wantsToSend {
            let count = self.sendOnce()
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN { return }
                throw NBDDrop(reason: "sending failed: \(SystemText.error(errno))")
            }
            self.sent += count
            while self.head < self.outbox.count, self.sent >= self.outbox[self.head].bytes {
                self.sent -= self.outbox[self.head].bytes
                self.outbox[self.head].buffer = nil
                self.head += 1
            }
        }
        self.outbox.removeAll(keepingCapacity: true)
        self.head = 0
    }

    private func sendOnce() -> Int {
        let last = min(self.head + Self.segmentsMax, self.outbox.count)
        return withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.segmentsMax * 2) { parts in
            self.outbox.withUnsafeMutableBufferPointer { segments in
                var count = 0
                var skip = self.sent
                func add(_ base: UnsafeMutableRawPointer, _ bytes: Int) {
                    if bytes > skip {
                        parts[count] = iovec(iov_base: base + skip, iov_len: bytes - skip)
                        count += 1
                    }
                    skip -= min(skip, bytes)
                }
                for index in self.head..<last {
                    guard let segment = segments.baseAddress.map({ $0 + index }) else { continue }
                    // The header is the segment's first field.
                    let header = segment.pointee.headerBytes
                    if header > 0 { add(UnsafeMutableRawPointer(segment), header) }
                    if let buffer = segment.pointee.buffer {
                        add(buffer.base + segment.pointee.offset, segment.pointee.count)
                    }
                }
                var message = msghdr()
                message.msg_iov = parts.baseAddress
                message.msg_iovlen = count
                return sendmsg(self.descriptor, &message, Int32(MSG_NOSIGNAL))
            }
        }
    }

    /// Takes in what has arrived; a read's bytes go where `held` has room for them.
    func receive(
        _ held: (VolumeDevice.RequestID) -> HeldRequest?, into events: inout [Event]
    ) throws(NBDDrop) {
        for _ in 0..<16 {
            let (count, room) = self.receiveOnce()
            if count < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN { return }
                throw NBDDrop(reason: "receiving failed: \(SystemText.error(errno))")
            }
            if count == 0 { throw NBDDrop(reason: "the volume server closed the connection") }
            let direct = min(count, self.arriving.map { $0.count - $0.filled } ?? 0)
            self.arriving?.filled += direct
            self.end += count - direct
            try self.parse(held, into: &events)
            if count < room { return }
        }
    }

    /// The rest of a read's bytes goes straight to its place, what follows into the inbox.
    private func receiveOnce() -> (count: Int, room: Int) {
        if self.start == self.end {
            self.start = 0
            self.end = 0
        } else if self.start > 0 {
            memmove(self.inbox, self.inbox + self.start, self.end - self.start)
            self.end -= self.start
            self.start = 0
        }
        var direct = iovec()
        if let arriving = self.arriving {
            direct = iovec(iov_base: arriving.buffer.base + arriving.filled, iov_len: arriving.count - arriving.filled)
        }
        let rest = iovec(iov_base: self.inbox + self.end, iov_len: Self.inboxBytes - self.end)
        let count = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
            parts[0] = direct
            parts[1] = rest
            return readv(self.descriptor, parts.baseAddress, 2)
        }
        return (count, direct.iov_len + rest.iov_len)
    }

    private var received: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: self.inbox + self.start, count: self.end - self.start)
    }

    private func parse(
        _ held: (VolumeDevice.RequestID) -> HeldRequest?, into events: inout [Event]
    ) throws(NBDDrop) {
        while self.handshake != nil {
            guard let step = try self.handshake?.step(self.received) else { return }
            self.start += step.consumed
            if !step.reply.isEmpty { self.queue(bytes: step.reply) }
            guard let export = step.export else { continue }
            self.handshake = nil
            events.append(.connected(export))
        }
        while true {
            if let arriving = self.arriving {
                let count = min(arriving.count - arriving.filled, self.end - self.start)
                (arriving.buffer.base + arriving.filled).copyMemory(from: self.inbox + self.start, byteCount: count)
                self.start += count
                self.arriving?.filled += count
                guard arriving.filled + count == arriving.count else { return }
                self.arriving = nil
                events.append(.answered(arriving.id, nil))
            }
            guard self.end - self.start >= NBD.simpleReplyBytes else { return }
            let reply = self.received
            guard reply.big(0, as: UInt32.self) == NBD.simpleReplyMagic else {
                throw NBDDrop(reason: "the volume server sent a reply with a wrong magic number")
            }
            let code: UInt32 = reply.big(4)
            let id = VolumeDevice.RequestID(reply.big(8))
            self.start += NBD.simpleReplyBytes
            guard let request = held(id) else {
                throw NBDDrop(reason: "the volume server answered what it was not asked")
            }
            if code == 0, request.isRead, let buffer = request.buffer {
                self.arriving = (id, buffer, 0, request.count)
            } else {
                events.append(.answered(id, code == 0 ? nil : VolumeDevice.Failure(code: code)))
            }
        }
    }

    private func queue(bytes: [UInt8]) {
        let buffer = DeviceBuffer(capacity: bytes.count)
        buffer.base.copyMemory(from: bytes, byteCount: bytes.count)
        self.outbox.append(Segment(buffer: buffer, count: bytes.count))
    }
}
