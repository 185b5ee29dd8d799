import Glibc

/// The journal of systemd, to which the standard error of a service leads. (sd-daemon(3))
public enum Journal {
    /// How much a line matters, as the journal counts.
    public enum Priority: Int, Sendable {
        /// The last words before a machine may be reset: the journal writes these to the disk at once.
        case critical = 2
        /// Something that should work does not.
        case error = 3
        /// Works, but somebody should look.
        case warning = 4
        /// Ordinary progress.
        case info = 6

        /// What the journal takes off the beginning of a line.
        public var mark: String { "<\(self.rawValue)>" }
    }

    /// Whether standard error leads there. `JOURNAL_STREAM` says which socket that would be, as `DEVICE:INODE`, and is inherited
    /// also by processes whose standard error leads elsewhere. (systemd.exec(5))
    public static func takesStandardError(
        _ stream: String? = getenv("JOURNAL_STREAM").map { String(cString: $0) }
    ) -> Bool {
        guard let inode = stream?.split(separator: ":").last else { return false }
        return Files.link("/proc/self/fd/\(STDERR_FILENO)") == "socket:[\(inode)]"
    }

    /// A text with the mark before each of its lines.
    public static func marked(_ priority: Priority, _ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: true).map { "\(priority.mark)\($0)\n" }.joined()
    }
}
