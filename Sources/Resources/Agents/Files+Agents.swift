import Host

extension Files {
    /// Replaces a file as a whole, so that a reader sees the old text or the new one; creates its directory.
    static func replace(_ path: String, _ text: String) throws(AgentError) {
        try self.makeDirectory(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
        do throws(ReplacementFailure) {
            try self.replace(path, with: Array(text.utf8), mode: 0o600, isDurable: false)
        } catch {
            throw .file(path: error.path, action: error.step.rawValue, code: error.code)
        }
    }

    /// Creates a directory and its parents.
    static func makeDirectory(_ path: String) throws(AgentError) {
        if let code = self.makeDirectory(path, mode: 0o755) { throw .file(path: path, action: "create", code: code) }
    }
}
