import Basis
import CLinux
import Glibc
import Mirror

/// The file or block device that holds one copy, and behind the data its label. Calls return 0 or an `errno` and may
/// come from several threads.
final class BackingStore: Sendable {
    let path: String
    let isFile: Bool
    private let descriptor: Int32

    /// Opens the backing and takes it for this process alone; nil where there is none. With `makes` a missing file is
    /// made, empty.
    static func open(path: String, makes: Bool) throws(StoreError) -> BackingStore? {
        // A device that is missing must not become a file in memory.
        let mayMake = makes && !path.hasPrefix("/dev/")
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC | (mayMake ? O_CREAT : 0), 0o600)
        if descriptor < 0, errno == ENOENT, !mayMake { return nil }
        guard descriptor >= 0 else { throw .failed(doing: "open the backing", path: path, errno: errno) }
        do throws(StoreError) {
            return try BackingStore(path: path, descriptor)
        } catch {
            close(descriptor)
            throw error
        }
    }

    private init(path: String, _ descriptor: Int32) throws(StoreError) {
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            if errno == EWOULDBLOCK { throw .inUse(path: path) }
            throw .failed(doing: "lock the backing", path: path, errno: errno)
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .failed(doing: "examine", path: path, errno: errno) }
        self.path = path
        self.isFile = status.st_mode & S_IFMT == S_IFREG
        self.descriptor = descriptor
    }

    deinit { close(self.descriptor) }

    /// Lets another process open the backing before this object goes away.
    func release() { _ = flock(self.descriptor, LOCK_UN) }

    /// Where the file or device ends; a device may have grown since it was opened.
    var endBytes: UInt64 { UInt64(max(0, lseek(self.descriptor, 0, SEEK_END))) }

    /// The largest volume that fits, with its label behind it. A file grows.
    var capacityBytes: UInt64 {
        if self.isFile { return UInt64(Int64.max) }
        let end = self.endBytes
        return end < CopyLabel.bytes ? 0 : (end - CopyLabel.bytes) / 4096 * 4096
    }

    /// Gives a file the size for a volume of so many bytes; a device must have it.
    func makeRoom(for sizeBytes: UInt64) throws(StoreError) {
        let wanted = sizeBytes + CopyLabel.bytes
        let end = self.endBytes
        guard end != wanted else { return }
        guard self.isFile else {
            if end > wanted { return }
            throw .wrongSize(path: self.path, actual: end, wanted: wanted)
        }
        guard ftruncate(self.descriptor, Int(wanted)) == 0, fsync(self.descriptor) == 0 else {
            throw .failed(doing: "size", path: self.path, errno: errno)
        }
    }

    func read(offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int32 {
        var done = 0
        while done < buffer.count {
            let count = pread(
                self.descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, Int(offset) + done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return count == 0 ? EIO : errno }
            done += count
        }
        return 0
    }

    func write(offset: UInt64, _ data: UnsafeRawBufferPointer) -> Int32 {
        var done = 0
        while done < data.count {
            let count = pwrite(
                self.descriptor, data.baseAddress.map { $0 + done }, data.count - done, Int(offset) + done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return count == 0 ? ENOSPC : errno }
            done += count
        }
        return 0
    }

    /// All of the bytes, made stable by themselves.
    func writeDurably(offset: UInt64, _ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { buffer in
            while true {
                let count = holdfast_write_durably(self.descriptor, buffer.baseAddress, buffer.count, Int64(offset))
                if count < 0, errno == EINTR { continue }
                return count == Int64(buffer.count)
            }
        }
    }

    /// Leaves zeros; as a hole where the backing can and `trim` allows it.
    func zero(_ extent: Extent, trim: Bool) -> Int32 {
        while holdfast_zero_range(self.descriptor, trim ? 1 : 0, Int64(extent.offset), Int64(extent.length)) != 0 {
            switch errno {
            case EINTR: continue
            case EOPNOTSUPP, ENOSYS, EINVAL, ENODEV: return self.writeZeros(extent)
            default: return errno
            }
        }
        return 0
    }

    private func writeZeros(_ extent: Extent) -> Int32 {
        let chunk = [UInt8](repeating: 0, count: Int(min(extent.length, 1 << 20)))
        return chunk.withUnsafeBytes { zeros in
            var offset = extent.offset
            while offset < extent.end {
                let count = Int(min(UInt64(zeros.count), extent.end - offset))
                let code = self.write(offset: offset, UnsafeRawBufferPointer(rebasing: zeros[..<count]))
                guard code == 0 else { return code }
                offset += UInt64(count)
            }
            return 0
        }
    }

    /// Makes every earlier write stable. After an error what the disk holds is unknown for good. (fsync(2))
    func sync() -> Int32 {
        while fdatasync(self.descriptor) != 0 {
            if errno != EINTR { return errno }
        }
        return 0
    }

    /// Data and holes of a range, in order.
    func extents(_ extent: Extent) -> [BlockExtent] {
        var result: [BlockExtent] = []
        var offset = extent.offset
        while offset < extent.end {
            // SEEK_DATA and SEEK_HOLE (lseek(2)).
            let data = lseek(self.descriptor, Int(offset), 3)
            let start = data < 0 ? (errno == ENXIO ? extent.end : offset) : min(UInt64(data), extent.end)
            if start > offset { result.append(BlockExtent(length: start - offset, isHole: true, isZero: true)) }
            offset = start
            guard offset < extent.end else { break }
            let hole = lseek(self.descriptor, Int(offset), 4)
            let end = hole <= Int(offset) ? extent.end : min(UInt64(hole), extent.end)
            result.append(BlockExtent(length: end - offset, isHole: false, isZero: false))
            offset = end
        }
        return result
    }
}
