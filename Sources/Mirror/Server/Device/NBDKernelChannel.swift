import CLinux
import Glibc
import Host
import Mirror

/// The kernel's network block device as a carrier: it asks over a socket whose other end was handed to it, in the
/// transmission phase of the NBD protocol, simple replies only. (doc/proto.md; drivers/block/nbd.c)
final class NBDKernelChannel: DeviceChannel {
    /// What the kernel is told that it may ask. What it trims reads as zeroes here, which is more than it needs.
    private static let flags =
        NBD.Transmission.hasFlags | NBD.Transmission.sendFlush | NBD.Transmission.sendFUA | NBD.Transmission.sendTrim
        | NBD.Transmission.sendWriteZeroes
    private static let inboxBytes = 64 * 1024
    /// More than any kernel sends in one request.
    private static let payloadBytesMax = 32 << 20

    let descriptor: Int32
    let path: String
    let isReady = true
    private let backend: String
    private let index: UInt32
    private let inbox = UnsafeMutableRawPointer.allocate(byteCount: inboxBytes, alignment: 64)
    private var start = 0
    private var filledEnd = 0
    /// The write whose bytes are arriving.
    private var arriving:
        (id: VolumeDevice.RequestID, operation: VolumeDevice.Operation, held: HeldRequest, filled: Int)?

    /// Attaches a free device of the kernel's to a volume of this size. `backend` names it for administrators.
    convenience init(sizeBytes: UInt64, backend: String) throws(VolumeDeviceError) {
        var index: UInt32 = 0
        var descriptor: Int32 = -1
        let code = holdfast_nbd_connect(sizeBytes, UInt64(Self.flags), backend, &index, &descriptor)
        guard code == 0 else { throw .kernelDevice(errno: code) }
        self.init(descriptor: descriptor, index: index, backend: backend)
        // Larger requests would need memory that is not kept for them.
        let limit = open("/sys/block/nbd\(index)/queue/max_sectors_kb", O_WRONLY | O_CLOEXEC)
        let text = Array("\(DeviceBufferPool.payloadBytesMax >> 10)".utf8)
        _ = text.withUnsafeBytes { write(limit, $0.baseAddress, $0.count) }
        if limit >= 0 { close(limit) }
    }

    init(descriptor: Int32, index: UInt32, backend: String) {
        self.descriptor = descriptor
        self.index = index
        self.path = "/dev/nbd\(index)"
        self.backend = backend
    }

    deinit { self.inbox.deallocate() }

    var hasMore: Bool { self.filledEnd - self.start >= NBD.requestBytes && self.arriving == nil }

    func receive(sizeBytes: UInt64, memory pool: inout DeviceBufferPool) throws(VolumeDeviceError) -> DeviceArrival {
        while true {
            if let arrival = try self.parse(&pool) { return arrival }
            let (count, code) = self.receiveOnce()
            if count == 0 { return .ended(reason: nil) }
            if count < 0 {
                switch code {
                case EINTR: continue
                case EAGAIN: return .empty
                // The kernel shuts the socket down when the device is taken away.
                case ECONNRESET, EPIPE: return .ended(reason: nil)
                default: return .ended(reason: SystemText.error(code))
                }
            }
            let direct = min(count, self.arriving.map { $0.held.count - $0.filled } ?? 0)
            self.arriving?.filled += direct
            self.filledEnd += count - direct
        }
    }

    /// The rest of a write's bytes goes straight to its place, what follows into the inbox, which is empty before.
    private func receiveOnce() -> (count: Int, code: Int32) {
        if self.start > 0 {
            memmove(self.inbox, self.inbox + self.start, self.filledEnd - self.start)
            self.filledEnd -= self.start
            self.start = 0
        }
        return withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
            parts[0] = iovec()
            if let arriving = self.arriving, let buffer = arriving.held.buffer {
                let base = buffer.base + arriving.held.offset + arriving.filled
                parts[0] = iovec(iov_base: base, iov_len: arriving.held.count - arriving.filled)
            }
            parts[1] = iovec(iov_base: self.inbox + self.filledEnd, iov_len: Self.inboxBytes - self.filledEnd)
            var message = msghdr()
            message.msg_iov = parts.baseAddress
            message.msg_iovlen = 2
            let count = recvmsg(self.descriptor, &message, Int32(MSG_DONTWAIT))
            return (count, errno)
        }
    }

    /// The next request that is there as a whole.
    private func parse(_ pool: inout DeviceBufferPool) throws(VolumeDeviceError) -> DeviceArrival? {
        if self.arriving == nil, let arrival = try self.parseHeader(&pool) { return arrival }
        guard let (id, operation, held, filled) = self.arriving, let buffer = held.buffer else { return nil }
        let count = min(held.count - filled, self.filledEnd - self.start)
        (buffer.base + held.offset + filled).copyMemory(from: self.inbox + self.start, byteCount: count)
        self.start += count
        self.arriving?.filled = filled + count
        guard filled + count == held.count else { return nil }
        self.arriving = nil
        return .request(id, operation, held)
    }

    /// A request without bytes of its own, or nil; a write's bytes are expected then.
    private func parseHeader(_ pool: inout DeviceBufferPool) throws(VolumeDeviceError) -> DeviceArrival? {
        guard self.filledEnd - self.start >= NBD.requestBytes else { return nil }
        let header = UnsafeRawBufferPointer(start: self.inbox + self.start, count: NBD.requestBytes)
        guard header.big(0, as: UInt32.self) == NBD.requestMagic else {
            throw .system(what: "the kernel sent a request that is not one", errno: EPROTO)
        }
        let flags: UInt16 = header.big(4)
        let command: UInt16 = header.big(6)
        let id = VolumeDevice.RequestID(header.big(8))
        let length: UInt32 = header.big(24)
        let extent = Extent(offset: header.big(16), length: UInt64(length))
        self.start += NBD.requestBytes
        switch command {
        case NBD.Command.read: return .request(id, .read(extent), HeldRequest(wanted: Int(length)))
        case NBD.Command.flush: return .request(id, .flush, HeldRequest())
        case NBD.Command.trim: return .request(id, .zero(extent, mayTrim: true), HeldRequest())
        case NBD.Command.writeZeroes:
            return .request(id, .zero(extent, mayTrim: flags & NBD.Flag.noHole == 0), HeldRequest())
        case NBD.Command.disconnect: return .ended(reason: nil)
        case NBD.Command.write:
            guard length <= Self.payloadBytesMax else {
                throw .system(what: "the kernel sends \(length) bytes in one request", errno: EMSGSIZE)
            }
            let held = HeldRequest(buffer: pool.take(Int(length)), count: Int(length))
            self.arriving = (id, .write(extent, durable: flags & NBD.Flag.fua != 0), held, 0)
            return nil
        default:
            self.reply(id, error: EINVAL)
            return .handled
        }
    }

    func answer(_ id: VolumeDevice.RequestID, _ outcome: VolumeDevice.Outcome, _ held: HeldRequest) {
        switch outcome {
        case .failed(let failure): self.reply(id, error: Int32(failure.code))
        // The kernel knows no short read of a device.
        case .done where held.wanted > 0 && (!held.isRead || held.count != held.wanted): self.reply(id, error: EIO)
        case .done where held.wanted > 0:
            self.reply(id, UnsafeRawBufferPointer(start: held.buffer?.base, count: held.count))
        case .done: self.reply(id)
        }
    }

    /// May wait for the kernel, which takes replies on a thread of its own and waits for nothing of ours while it does.
    private func reply(
        _ id: VolumeDevice.RequestID, error: Int32 = 0, _ body: UnsafeRawBufferPointer = .init(start: nil, count: 0)
    ) {
        let header = (NBD.simpleReplyMagic.bigEndian, UInt32(error).bigEndian, id.rawValue.bigEndian)
        withUnsafeBytes(of: header) { bytes in
            var sent = 0
            while sent < bytes.count + body.count {
                let count = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
                    let head = min(sent, bytes.count)
                    let tail = sent - head
                    parts[0] = iovec(
                        iov_base: bytes.baseAddress.map { UnsafeMutableRawPointer(mutating: $0) + head },
                        iov_len: bytes.count - head)
                    parts[1] = iovec(
                        iov_base: body.baseAddress.map { UnsafeMutableRawPointer(mutating: $0) + tail },
                        iov_len: body.count - tail)
                    var message = msghdr()
                    message.msg_iov = parts.baseAddress
                    message.msg_iovlen = 2
                    return sendmsg(self.descriptor, &message, Int32(MSG_NOSIGNAL))
                }
                // The device was taken away: the next look at the socket says so.
                if count < 0, errno != EINTR { return }
                sent += max(0, count)
            }
        }
    }

    func resize(to bytes: UInt64) -> String? {
        let code = holdfast_nbd_resize(self.index, bytes, self.backend)
        return code == 0 ? nil : SystemText.error(code)
    }

    func end() {
        _ = holdfast_nbd_disconnect(self.index, 1000)
        close(self.descriptor)
    }
}
