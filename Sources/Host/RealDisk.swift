import CLinux
import Glibc

/// The files of this machine.
public struct RealDisk: Disk {
    /// Has no state.
    public init() {}

    /// Mode 0700. See `Disk.createDirectory`.
    public func createDirectory(_ path: String) throws(DiskError) {
        var status = stat()
        if stat(path, &status) == 0 { return }
        let parent = Self.parent(of: path)
        if parent != path { try self.createDirectory(parent) }
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw Self.failure(.createDirectory, path) }
        try self.synchronizeDirectory(parent)
    }

    /// See `Disk.list`.
    public func list(_ directory: String) throws(DiskError) -> [String] {
        guard let stream = opendir(directory) else { throw Self.failure(.list, directory) }
        defer { closedir(stream) }
        var names: [String] = []
        errno = 0
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { raw in
                String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        guard errno == 0 else { throw Self.failure(.list, directory) }
        return names.sorted()
    }

    /// See `Disk.read`.
    public func read(_ path: String) throws(DiskError) -> [UInt8] {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.failure(.read, path) }
        defer { Glibc.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.failure(.read, path) }
        let size = Int(status.st_size)
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size {
                let taken = Glibc.read(descriptor, buffer.baseAddress.map { $0 + count }, size - count)
                if taken < 0, errno == EINTR { continue }
                failed = taken < 0
                if taken <= 0 { break }
                count += taken
            }
        }
        if failed { throw Self.failure(.read, path) }
        return bytes
    }

    /// Mode 0600. See `Disk.create`.
    public func create(_ path: String) throws(DiskError) -> DiskFile {
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.failure(.create, path) }
        return DiskFile(descriptor, path: path)
    }

    /// See `Disk.open`.
    public func open(_ path: String) throws(DiskError) -> DiskFile {
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.failure(.open, path) }
        return DiskFile(descriptor, path: path)
    }

    /// `pwrite(2)` until all is written. See `Disk.write`.
    public func write(_ bytes: [UInt8], to file: DiskFile, at offset: UInt64) throws(DiskError) {
        var code: DiskErrorCode?
        bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let start = buffer.baseAddress.map { $0 + done }
                let taken = pwrite(file.rawValue, start, buffer.count - done, off_t(offset) + off_t(done))
                if taken < 0, errno == EINTR { continue }
                if taken <= 0 {
                    code = taken < 0 ? DiskErrorCode(errno) : .noSpace
                    return
                }
                done += taken
            }
        }
        if let code { throw DiskError(.write, file.path, code) }
    }

    /// `fdatasync(2)`; never retried. See `Disk.synchronize`.
    public func synchronize(_ file: DiskFile) throws(DiskError) {
        guard fdatasync(file.rawValue) == 0 else { throw Self.failure(.synchronize, file.path) }
    }

    /// See `Disk.close`.
    public func close(_ file: DiskFile) {
        // A program that another thread starts just now has the file open too, between its fork and its exec: it keeps no lock.
        flock(file.rawValue, LOCK_UN)
        Glibc.close(file.rawValue)
    }

    /// See `Disk.rename`.
    public func rename(_ path: String, to newPath: String) throws(DiskError) {
        guard Glibc.rename(path, newPath) == 0 else { throw Self.failure(.rename, path) }
    }

    /// See `Disk.remove`.
    public func remove(_ path: String) throws(DiskError) {
        guard unlink(path) == 0 else { throw Self.failure(.remove, path) }
    }

    /// `fsync(2)` of the directory. See `Disk.synchronizeDirectory`.
    public func synchronizeDirectory(_ path: String) throws(DiskError) {
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.failure(.synchronizeDirectory, path) }
        defer { Glibc.close(descriptor) }
        guard fsync(descriptor) == 0 else { throw Self.failure(.synchronizeDirectory, path) }
    }

    /// `flock(2)`. See `Disk.lock`.
    public func lock(_ path: String) throws(DiskError) -> DiskFile {
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.failure(.lock, path) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let error = Self.failure(.lock, path)
            Glibc.close(descriptor)
            throw error
        }
        return DiskFile(descriptor, path: path)
    }

    private static func failure(_ operation: DiskOperation, _ path: String) -> DiskError {
        DiskError(operation, path, DiskErrorCode(errno))
    }

    private static func parent(of path: String) -> String {
        let trimmed = path.count > 1 && path.hasSuffix("/") ? path.dropLast() : path[...]
        guard let slash = trimmed.lastIndex(of: "/") else { return "." }
        return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
    }
}
