import Basis

/// Why a command did not take effect. What is decided from it (an exit code, another try) looks at the case, never at the
/// words.
public enum Refusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// What a command may be about, and the cluster does not have.
    public enum Subject: Equatable, Sendable, CustomStringConvertible {
        case node(NodeID)
        case group(GroupName)
        case volume(VolumeName)
        case attribute(AttributeKey)

        /// Kind and name.
        public var description: String {
            switch self {
            case .node(let node): "node \(node)"
            case .group(let group): "group \(group)"
            case .volume(let volume): "volume \(volume)"
            case .attribute(let key): "attribute \(key)"
            }
        }
    }

    /// It is about something that is not there.
    case unknown(Subject)
    /// The configuration was changed after the caller looked at it. (ConfigLinear)
    case changedMeanwhile(inForce: LogIndex, expected: LogIndex)
    /// An attribute is not what the caller expected, but this; nil when there is none. (Rule A1)
    case differs(AttributeKey, present: Attribute?)
    /// It was meant for an epoch, a life, a set of copies or a search that is over.
    case over(String)
    /// The same request of the same daemon took effect, or was refused, before.
    case repeated
    /// Who gave it may not. (Rule L11)
    case unauthorised(String)
    /// A configuration asks for what cannot be done to what lives; each part with the way to do it. (Rule K1)
    case changes([RefusedChange])
    /// It does not fit what is so, for this reason.
    case unfit(String)

    /// One sentence.
    public var description: String {
        switch self {
        case .unknown(let subject): "there is no \(subject)"
        case .changedMeanwhile(let inForce, let expected):
            "the configuration was changed meanwhile (it is at \(inForce), not \(expected)); "
                + "look at the difference with `holdfast plan FILE` and apply again"
        case .differs(let key, let present):
            present.map { "attribute \(key) is not what was expected: its version is \($0.version)" }
                ?? "attribute \(key) is not what was expected: there is none"
        case .over(let reason), .unauthorised(let reason), .unfit(let reason): reason
        case .repeated: "this request was applied already"
        case .changes(let changes): changes.map(\.description).joined(separator: "; ")
        }
    }

    /// Whether nodes write it into their logs. Attributes change hands by comparing, and who lost a race is told so itself.
    var isNews: Bool {
        switch self {
        case .differs, .unknown(.attribute): false
        default: true
        }
    }

    /// The same with the name of what it is about before its reason.
    func about(_ subject: String) -> Refusal {
        switch self {
        case .over(let reason): .over("\(subject): \(reason)")
        case .unfit(let reason): .unfit("\(subject): \(reason)")
        case .unknown, .changedMeanwhile, .differs, .repeated, .unauthorised, .changes: self
        }
    }
}

extension Refusal: ExpressibleByStringInterpolation {
    /// A plain reason: it does not fit what is so.
    public init(stringLiteral reason: String) { self = .unfit(reason) }
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
