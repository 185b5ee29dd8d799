import CLinux
import Glibc

/// The descriptor over which the kernel asks, and a place for its next message.
final class FuseChannel {
    /// How an attempt to take a message ended.
    enum Arrival {
        /// There is one, with so many bytes.
        case message(Int)
        /// Nothing more for now.
        case empty
        /// The mount is gone; an errno value.
        case ended(Int32)
    }

    let descriptor: Int32
    private let directory: String
    private(set) var buffer: DeviceBuffer

    /// Mounts the directory.
    init(directory: String, buffer: DeviceBuffer) throws(VolumeDeviceError) {
        var descriptor: Int32 = -1
        let code = holdfast_fuse_mount(directory, &descriptor)
        guard code == 0 else { throw .mount(directory: directory, errno: code) }
        self.descriptor = descriptor
        self.directory = directory
        self.buffer = buffer
    }

    /// Takes the next message into `buffer`.
    func receive() -> Arrival {
        while true {
            let count = read(self.descriptor, self.buffer.base, self.buffer.capacity)
            if count >= 0 { return .message(count) }
            switch errno {
            // ENOENT: whoever asked was ended before its message was taken.
            case EINTR, ENOENT: continue
            case EAGAIN: return .empty
            default: return .ended(errno)
            }
        }
    }

    /// Gives the buffer away, with the message in it, and takes another for the next.
    func exchange(for other: DeviceBuffer) -> DeviceBuffer {
        defer { self.buffer = other }
        return self.buffer
    }

    /// Answers; an errno value when the kernel does not want it. Whoever asked may be gone (ENOENT), and the mount may.
    @discardableResult
    func answer(
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
