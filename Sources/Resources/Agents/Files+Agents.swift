import Glibc
import Host

extension Files {
    /// Replaces a file as a whole, so that a reader sees the old text or the new one; creates its directory.
    static func replace(_ path: String, _ text: String) throws(AgentError) {
        try self.makeDirectory(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .file(path: temporary, action: "create", code: errno) }
        let bytes = Array(text.utf8)
        let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        let code = count == bytes.count ? 0 : (count < 0 ? errno : ENOSPC)
        close(descriptor)
        guard code == 0 else { throw .file(path: temporary, action: "write", code: code) }
        guard rename(temporary, path) == 0 else { throw .file(path: path, action: "replace", code: errno) }
    }

    /// Creates a directory and its parents.
    static func makeDirectory(_ path: String) throws(AgentError) {
        if let code = self.makeDirectory(path, mode: 0o755) { throw .file(path: path, action: "create", code: code) }
    }
}
