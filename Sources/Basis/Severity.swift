/// How much a note matters to whoever looks after the machine.
public enum Severity: UInt8, Sendable, CaseIterable, Comparable {
    /// Ordinary progress.
    case info
    /// It works, but somebody should look.
    case warning
    /// Something that should work does not.
    case error

    /// Its name in answers to programs.
    public var name: String {
        switch self {
        case .info: "info"
        case .warning: "warning"
        case .error: "error"
        }
    }

    /// By weight.
    public static func < (left: Severity, right: Severity) -> Bool { left.rawValue < right.rawValue }
}
