import Basis
import CLinux
import Glibc
import Host

/// What a service prints. It writes into the file itself, so that the log goes on when the daemon does not.
struct ServiceLog {
    let path: String
    /// The run directory is memory: a log that is larger is cut, and only its end is kept beside it. What grows faster than
    /// it is looked at is larger for a moment.
    static let limitBytes: off_t = 2 << 20
    /// How much of a log that was cut is kept, as `.log.1`.
    static let keptBytes = 1 << 20

    init(_ path: String) { self.path = path }

    /// Opens it for appending; the caller closes it.
    func open() throws(AgentError) -> Int32 {
        try Files.makeDirectory(String(self.path[..<(self.path.lastIndex(of: "/") ?? self.path.startIndex)]))
        self.bound()
        let descriptor = Glibc.open(self.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { throw .file(path: self.path, action: "open", code: errno) }
        return descriptor
    }

    /// Cuts a log that grew too large while its writer has it open; a copy of its end stays beside it, if there is room.
    func bound() {
        guard self.sizeBytes > Self.limitBytes else { return }
        let tail = self.tail(Self.keptBytes) ?? []
        // First the cut: it makes the room for the copy.
        unlink(self.path + ".1")
        truncate(self.path, 0)
        let copy = Glibc.open(self.path + ".1", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o640)
        guard copy >= 0 else { return }
        _ = tail.withUnsafeBytes { write(copy, $0.baseAddress, $0.count) }
        close(copy)
    }

    /// Appends a text of somebody else's, as it is; what cannot be written is dropped.
    func append(_ text: String) {
        guard !text.isEmpty, let descriptor = try? self.open() else { return }
        defer { close(descriptor) }
        let bytes = Array((text.utf8.last == 0x0A ? text : text + "\n").utf8)
        _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }

    /// The last line that is not blank, bounded and without control characters.
    var lastLine: String? { self.tail(2048).flatMap { ForeignText.lastLines(String(decoding: $0, as: UTF8.self)) } }

    var sizeBytes: off_t {
        var info = stat()
        return stat(self.path, &info) == 0 ? info.st_size : 0
    }

    /// What was written since the file had this size, at most the last `limit` bytes.
    func written(since size: off_t, limit: Int) -> [UInt8] {
        let now = self.sizeBytes
        // It was cut meanwhile.
        if now < size { return self.tail(limit) ?? [] }
        return self.tail(min(limit, Int(now - size))) ?? []
    }

    private func tail(_ count: Int) -> [UInt8]? {
        let descriptor = Glibc.open(self.path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: count)
        let got = pread(descriptor, &buffer, count, max(0, self.sizeBytes - off_t(count)))
        return got > 0 ? Array(buffer[..<got]) : nil
    }
}
