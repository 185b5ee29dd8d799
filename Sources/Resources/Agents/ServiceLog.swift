import Basis
import Glibc

/// What a service prints. It writes into the file itself, so that the log goes on when the daemon does not.
struct ServiceLog {
    private let path: String
    /// The run directory is memory: more than this is moved aside, and what was aside before is dropped.
    private static let limit: off_t = 4 << 20

    init(_ path: String) { self.path = path }

    /// Opens it for appending; the caller closes it.
    func open() throws(AgentError) -> Int32 {
        try Files.makeDirectory(String(self.path[..<(self.path.lastIndex(of: "/") ?? self.path.startIndex)]))
        if self.size > Self.limit { rename(self.path, self.path + ".1") }
        let descriptor = Glibc.open(self.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { throw .file(path: self.path, action: "open", code: errno) }
        return descriptor
    }

    /// Cuts a log that grew too large while its writer has it open; a copy of its end stays beside it.
    func bound() {
        guard self.size > Self.limit, let tail = self.tail(1 << 20) else { return }
        try? Files.replace(self.path + ".1", tail)
        truncate(self.path, 0)
    }

    /// The last line that is not blank, bounded and without control characters.
    var lastLine: String? { self.tail(2048).flatMap { ForeignText.lastLines($0) } }

    private var size: off_t {
        var info = stat()
        return stat(self.path, &info) == 0 ? info.st_size : 0
    }

    private func tail(_ count: Int) -> String? {
        let descriptor = Glibc.open(self.path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: count)
        let got = pread(descriptor, &buffer, count, max(0, self.size - off_t(count)))
        return got > 0 ? String(decoding: buffer[..<got], as: UTF8.self) : nil
    }
}
