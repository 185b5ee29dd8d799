import CLinux
import Glibc
import Host
import Mirror

/// A file of ours as a carrier, for a loop device over it: the kernel asks in messages of FUSE.
final class FuseChannel: DeviceChannel {
    /// Payloads up to this are copied out of the buffer that messages arrive in; larger ones keep it.
    private static let copiedBytesMax = 65_536

    let descriptor: Int32
    private let directory: String
    private var buffer: DeviceBuffer
    private var file = FuseFile()

    /// Mounts the directory.
    init(directory: String, memory pool: inout DeviceBufferPool) throws(VolumeDeviceError) {
        var descriptor: Int32 = -1
        let code = holdfast_fuse_mount(directory, &descriptor)
        guard code == 0 else { throw .mount(directory: directory, errno: code) }
        self.descriptor = descriptor
        self.directory = directory
        self.buffer = pool.takeLargest()
    }

    let hasMore = false
    var isReady: Bool { self.file.isInitialized }
    var path: String { "\(self.directory)/\(FuseFile.name)" }

    func receive(sizeBytes: UInt64, memory pool: inout DeviceBufferPool) throws(VolumeDeviceError) -> DeviceArrival {
        let count = read(self.descriptor, self.buffer.base, self.buffer.capacity)
        guard count >= 0 else {
            switch errno {
            // ENOENT: whoever asked was ended before its message was taken.
            case EINTR, ENOENT: return .handled
            case EAGAIN: return .empty
            // Somebody has unmounted it.
            case ENODEV: return .ended(reason: nil)
            default: return .ended(reason: SystemText.error(errno))
            }
        }
        guard let request = FuseRequest(UnsafeRawBufferPointer(start: self.buffer.base, count: count)) else {
            throw .system(what: "the kernel sent a message that is not one", errno: EPROTO)
        }
        switch self.file.meaning(of: request, sizeBytes: sizeBytes) {
        case .nothing: return .handled
        case .refuse(let code): self.reply(request.id, error: code)
        case .reply(let bytes): bytes.withUnsafeBytes { _ = self.reply(request.id, $0) }
        case .volume(let operation, let offset, let bytes):
            let held = self.take(offset: MemoryLayout<fuse_in_header>.size + offset, bytes, from: &pool)
            return .request(request.id, operation, held)
        }
        return .handled
    }

    private func take(offset: Int, _ bytes: Int, from pool: inout DeviceBufferPool) -> HeldRequest {
        if bytes == 0 { return HeldRequest() }
        guard bytes <= Self.copiedBytesMax else {
            defer { self.buffer = pool.takeLargest() }
            return HeldRequest(buffer: self.buffer, offset: offset, count: bytes)
        }
        let buffer = pool.take(bytes)
        buffer.base.copyMemory(from: self.buffer.base + offset, byteCount: bytes)
        return HeldRequest(buffer: buffer, count: bytes)
    }

    func answer(_ id: VolumeDevice.RequestID, _ outcome: VolumeDevice.Outcome, _ held: HeldRequest) {
        switch outcome {
        case .failed(let failure): self.reply(id, error: Int32(failure.code))
        case .done where held.isRead:
            self.reply(id, UnsafeRawBufferPointer(start: held.buffer?.base, count: held.count))
        case .done where held.count > 0:
            let answer = fuse_write_out(size: UInt32(held.count), padding: 0)
            withUnsafeBytes(of: answer) { _ = self.reply(id, $0) }
        case .done: self.reply(id)
        }
    }

    /// Nothing to do: the kernel asks for the size each time.
    func resize(to bytes: UInt64) -> String? { nil }

    /// Answers; an errno value when the kernel does not want it. Whoever asked may be gone (ENOENT), and the mount may.
    @discardableResult
    private func reply(
        _ id: VolumeDevice.RequestID, error: Int32 = 0, _ body: UnsafeRawBufferPointer = .init(start: nil, count: 0)
    ) -> Int32 {
        let size = MemoryLayout<fuse_out_header>.size
        var header = fuse_out_header(len: UInt32(size + body.count), error: -error, unique: id.rawValue)
        return withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
            withUnsafeMutableBytes(of: &header) { bytes in
                parts[0] = iovec(iov_base: bytes.baseAddress, iov_len: size)
                parts[1] = iovec(
                    iov_base: body.baseAddress.map { UnsafeMutableRawPointer(mutating: $0) }, iov_len: body.count)
                return writev(self.descriptor, parts.baseAddress, body.isEmpty ? 1 : 2) >= 0 ? 0 : errno
            }
        }
    }

    /// Ends the mount. The connection first: what still waits fails, and nothing that unmounting asks can wait for us.
    func end() {
        close(self.descriptor)
        _ = holdfast_unmount_lazily(self.directory)
    }
}
