import Reports

/// One mistake in a configuration: where it is, why it is one, and what to write instead.
public struct Diagnostic: Error, Hashable, Sendable, CustomStringConvertible {
    /// What a diagnostic does to the document.
    public enum Severity: String, Sendable {
        /// The document cannot be used.
        case error
        /// It can be used, but probably not as meant.
        case warning
    }
    /// What it does to the document.
    public var severity: Severity
    /// The file as the caller named it.
    public var file: String
    /// The line, from 1.
    public var line: Int
    /// The column in Unicode scalars, from 1.
    public var column: Int
    /// The key path, such as `volumes.pgdata.size`; empty for the whole document.
    public var path: String
    /// Why it is a mistake.
    public var reason: String
    /// What to write instead.
    public var remedy: String

    /// All fields.
    public init(
        severity: Severity = .error, file: String, line: Int, column: Int, path: String, reason: String, remedy: String
    ) {
        self.severity = severity
        self.file = file
        self.line = line
        self.column = column
        self.path = path
        self.reason = reason
        self.remedy = remedy
    }

    /// `FILE:LINE:COLUMN: error: PATH: REASON; REMEDY`.
    public var description: String {
        let subject = self.path.isEmpty ? "" : "\(self.path): "
        return "\(self.file):\(self.line):\(self.column): \(self.severity.rawValue): \(subject)\(self.reason); "
            + self.remedy
    }
}

/// A node that the log knows, for checking references.
public struct KnownNode: Equatable, Sendable {
    /// The node's name.
    public var name: String
    /// The site it is in.
    public var site: String
    /// What it may do.
    public var role: NodeReport.Role
    /// Where its daemon listens, `HOST:PORT`; empty if that is not known.
    public var address: String
    /// A node from its parts.
    public init(name: String, site: String, role: NodeReport.Role, address: String = "") {
        self.name = name
        self.site = site
        self.role = role
        self.address = address
    }
}
