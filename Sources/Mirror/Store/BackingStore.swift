import Basis
import CLinux
import Glibc

/// The file or block device that holds one copy. Calls return 0 or an `errno` and may come from several threads.
final class BackingStore: Sendable {
    let path: String
    let sizeBytes: UInt64
    private let descriptor: Int32

    /// Opens the backing and takes it for this process alone. A missing file is made, sparse; a wrong size is refused.
    init(path: String, sizeBytes: UInt64) throws(StoreError) {
        self.path = path
        self.sizeBytes = sizeBytes
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .failed(doing: "open the backing", path: path, errno: errno) }
        self.descriptor = descriptor
        do {
            try Self.prepare(descriptor, path, sizeBytes)
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit { close(self.descriptor) }

    /// Lets another process open the backing before this object goes away.
    func release() { _ = flock(self.descriptor, LOCK_UN) }

    private static func prepare(_ descriptor: Int32, _ path: String, _ sizeBytes: UInt64) throws(StoreError) {
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            if errno == EWOULDBLOCK { throw .inUse(path: path) }
            throw .failed(doing: "lock the backing", path: path, errno: errno)
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .failed(doing: "examine", path: path, errno: errno) }
        let end = lseek(descriptor, 0, SEEK_END)
        guard end >= 0 else { throw .failed(doing: "find the size of", path: path, errno: errno) }
        let isFile = status.st_mode & S_IFMT == S_IFREG
        if isFile, end == 0 {
            guard ftruncate(descriptor, Int(sizeBytes)) == 0, fsync(descriptor) == 0 else {
                throw .failed(doing: "size", path: path, errno: errno)
            }
            return
        }
        // A device may have a tail that no volume size fits; a file has not.
        guard UInt64(end) == sizeBytes || !isFile && UInt64(end) > sizeBytes else {
            throw .wrongSize(path: path, actual: UInt64(end), wanted: sizeBytes)
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
