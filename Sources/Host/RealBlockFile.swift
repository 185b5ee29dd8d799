import CLinux
import Glibc

/// A file or block device of this machine. See `BlockFile`.
package final class RealBlockFile: BlockFile {
    package let path: String
    package let isFile: Bool
    private let descriptor: Int32

    fileprivate static func open(path: String, makes: Bool) throws(DiskError) -> RealBlockFile? {
        // A device that is missing must not become a file in memory.
        let mayMake = makes && !path.hasPrefix("/dev/")
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC | (mayMake ? O_CREAT : 0), 0o600)
        if descriptor < 0, errno == ENOENT, !mayMake { return nil }
        guard descriptor >= 0 else { throw DiskError(.open, path, DiskErrorCode(errno)) }
        do throws(DiskError) {
            return try RealBlockFile(path: path, descriptor)
        } catch {
            close(descriptor)
            throw error
        }
    }

    private init(path: String, _ descriptor: Int32) throws(DiskError) {
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw DiskError(.lock, path, DiskErrorCode(errno)) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw DiskError(.open, path, DiskErrorCode(errno)) }
        self.path = path
        self.isFile = status.st_mode & S_IFMT == S_IFREG
        self.descriptor = descriptor
    }

    deinit { close(self.descriptor) }

    package func release() { _ = flock(self.descriptor, LOCK_UN) }

    package var endBytes: UInt64 { UInt64(max(0, lseek(self.descriptor, 0, SEEK_END))) }

    package func resize(to bytes: UInt64) -> Int32 {
        ftruncate(self.descriptor, Int(bytes)) == 0 && fsync(self.descriptor) == 0 ? 0 : errno
    }

    package func read(offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Int32 {
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

    package func write(offset: UInt64, _ data: UnsafeRawBufferPointer) -> Int32 {
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

    package func writeDurably(offset: UInt64, _ bytes: [UInt8]) -> Int32 {
        bytes.withUnsafeBytes { buffer in
            while true {
                let count = holdfast_write_durably(self.descriptor, buffer.baseAddress, buffer.count, Int64(offset))
                if count < 0, errno == EINTR { continue }
                if count == Int64(buffer.count) { return 0 }
                return count < 0 ? errno : EIO
            }
        }
    }

    package func zero(offset: UInt64, length: UInt64, trim: Bool) -> Int32 {
        while holdfast_zero_range(self.descriptor, trim ? 1 : 0, Int64(offset), Int64(length)) != 0 {
            switch errno {
            case EINTR: continue
            case EOPNOTSUPP, ENOSYS, EINVAL, ENODEV: return self.writeZeros(offset, length)
            default: return errno
            }
        }
        return 0
    }

    private func writeZeros(_ start: UInt64, _ length: UInt64) -> Int32 {
        let chunk = [UInt8](repeating: 0, count: Int(min(length, 1 << 20)))
        return chunk.withUnsafeBytes { zeros in
            var offset = start
            while offset < start + length {
                let count = Int(min(UInt64(zeros.count), start + length - offset))
                let code = self.write(offset: offset, UnsafeRawBufferPointer(rebasing: zeros[..<count]))
                guard code == 0 else { return code }
                offset += UInt64(count)
            }
            return 0
        }
    }

    package func sync() -> Int32 {
        while fdatasync(self.descriptor) != 0 {
            if errno != EINTR { return errno }
        }
        return 0
    }

    package func runs(offset first: UInt64, length: UInt64) -> [BlockRun] {
        var result: [BlockRun] = []
        var offset = first
        let end = first + length
        while offset < end {
            // SEEK_DATA and SEEK_HOLE (lseek(2)).
            let data = lseek(self.descriptor, Int(offset), 3)
            let start = data < 0 ? (errno == ENXIO ? end : offset) : min(UInt64(data), end)
            if start > offset { result.append(BlockRun(length: start - offset, isHole: true)) }
            offset = start
            guard offset < end else { break }
            let hole = lseek(self.descriptor, Int(offset), 4)
            let stop = hole <= Int(offset) ? end : min(UInt64(hole), end)
            result.append(BlockRun(length: stop - offset, isHole: false))
            offset = stop
        }
        return result
    }
}

extension RealDisk: BlockDisk {
    /// See `BlockDisk.openBlocks`.
    package func openBlocks(_ path: String, makes: Bool) throws(DiskError) -> RealBlockFile? {
        try RealBlockFile.open(path: path, makes: makes)
    }

    /// See `BlockDisk.mountPoint`.
    package func mountPoint(of path: String) -> String {
        var place = path
        var found = ""
        var device: dev_t?
        while let cut = place.lastIndex(of: "/") {
            place = String(place[..<cut])
            var status = stat()
            guard stat(place.isEmpty ? "/" : place, &status) == 0 else { continue }
            if let device, device != status.st_dev { break }
            device = status.st_dev
            found = place.isEmpty ? "/" : place
        }
        return found
    }
}
