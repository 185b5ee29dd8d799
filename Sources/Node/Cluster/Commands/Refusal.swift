import Basis

/// Why a command did not take effect. What is decided from it (an exit code, another try) looks at the case, never at the
/// words.
public enum Refusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// The configuration was changed after the caller looked at it. (ConfigLinear)
    case changedMeanwhile(inForce: LogIndex, expected: LogIndex)
    /// A configuration asks for what cannot be done to what lives; each part with the way to do it. (Rule K1)
    case changes([RefusedChange])
    /// It does not fit what is so, for this reason.
    case unfit(String)

    /// One sentence.
    public var description: String {
        switch self {
        case .changedMeanwhile(let inForce, let expected):
            "the configuration was changed meanwhile (it is at \(inForce), not \(expected)); "
                + "look at the difference with `holdfast plan FILE` and apply again"
        case .changes(let changes): changes.map(\.description).joined(separator: "; ")
        case .unfit(let reason): reason
        }
    }
}

/// One change of the configuration that cannot be made to what lives.
public struct RefusedChange: Equatable, Sendable, CustomStringConvertible {
    /// The key, such as `volumes.data.size`.
    public var path: String
    /// Why it cannot be done.
    public var reason: String
    /// What to do instead.
    public var remedy: String
    /// All fields.
    public init(path: String, reason: String, remedy: String) {
        self.path = path
        self.reason = reason
        self.remedy = remedy
    }

    /// `PATH: REASON; REMEDY`.
    public var description: String { "\(self.path): \(self.reason); \(self.remedy)" }
}

extension Outcome {
    /// A refusal for a reason that nothing is decided from.
    static func refused(reason: String) -> Outcome { .refused(.unfit(reason)) }
}
