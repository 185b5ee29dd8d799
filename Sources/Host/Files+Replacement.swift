import Glibc

extension Files {
    /// Where a replacement failed, and why.
    package struct ReplacementFailure: Error {
        /// What was being done.
        package enum Step: String, Sendable {
            case create
            case write
            case replace
        }
        /// What was being done.
        package let step: Step
        /// What it was done to.
        package let path: String
        /// The error.
        package let code: Int32
    }

    /// Replaces a file as a whole, so that a reader sees the old content or the new one. With `isDurable` a power cut leaves one of
    /// them as well, and after the return the new one. When it fails, the old content is still there.
    package static func replace(
        _ path: String, with bytes: [UInt8], mode: mode_t, isDurable: Bool
    ) throws(ReplacementFailure) {
        let temporary = path + ".new"
        // Not one that somebody else left there, with other rights.
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw ReplacementFailure(step: .create, path: temporary, code: errno) }
        var code = self.write(bytes, to: descriptor)
        if code == 0, fchmod(descriptor, mode) != 0 || (isDurable && fsync(descriptor) != 0) { code = errno }
        close(descriptor)
        guard code == 0 else {
            unlink(temporary)
            throw ReplacementFailure(step: .write, path: temporary, code: code)
        }
        code = self.move(temporary, to: path)
        if code == 0, isDurable { code = self.syncDirectory(of: path) }
        guard code == 0 else {
            unlink(temporary)
            throw ReplacementFailure(step: .replace, path: path, code: code)
        }
    }

    /// Gives what is at a path another name in the same file system, in place of what has it; 0, or the error. Not durable.
    package static func move(_ path: String, to newPath: String) -> Int32 { rename(path, newPath) == 0 ? 0 : errno }

    /// Writes all; 0, or the error.
    private static func write(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done)
            }
            if count > 0 { done += count } else if count == 0 { return ENOSPC } else if errno != EINTR { return errno }
        }
        return 0
    }

    private static func syncDirectory(of path: String) -> Int32 {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return errno }
        defer { close(descriptor) }
        return fsync(descriptor) == 0 ? 0 : errno
    }
}
