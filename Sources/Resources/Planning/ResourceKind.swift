import Basis

/// What runs a resource: its agent and the parameters that others than the agent decide from, told apart once where a policy
/// is read.
public enum ResourceKind: Equatable, Sendable {
    /// `exec`: a service whose processes this node starts itself.
    case exec
    /// `address`: an address of an interface.
    case address
    /// `filesystem`: a mount; on a mirrored volume, or on a device of its own.
    case filesystem(on: VolumeName?)
    /// `volume`: a mirrored volume that is opened before its device is attached.
    case volume(VolumeName)
    /// `ocf:PROVIDER:TYPE`: a stock agent.
    case ocf(provider: String, type: String)
    /// No agent of this release, or a `volume` that names none.
    case unknown

    /// The kind that these words of a configuration mean.
    public init(agent: String, parameters: [ResourcePolicy.Parameter] = []) {
        let volume = { parameters.first { $0.key == "volume" }.map { VolumeName($0.value) } }
        switch agent {
        case "exec": self = .exec
        case "address": self = .address
        case "filesystem": self = .filesystem(on: volume())
        case "volume": self = volume().map { .volume($0) } ?? .unknown
        default: self = Self.ocf(agent) ?? .unknown
        }
    }

    private static func ocf(_ agent: String) -> ResourceKind? {
        let parts = agent.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "ocf" else { return nil }
        // They become a path below the directory of agents.
        for part in parts[1...] {
            guard !part.isEmpty, !part.hasPrefix("."), !part.contains("/") else { return nil }
        }
        return .ocf(provider: String(parts[1]), type: String(parts[2]))
    }

    /// The mirrored volume that such a resource opens.
    public var openedVolume: VolumeName? { if case .volume(let name) = self { name } else { nil } }

    /// The mirrored volume that it opens or stands on.
    public var volume: VolumeName? {
        switch self {
        case .volume(let name): name
        case .filesystem(let name): name
        case .exec, .address, .ocf, .unknown: nil
        }
    }

    /// Whether a stock agent runs it, which alone may keep what a kill does not end.
    public var isOCF: Bool { if case .ocf = self { true } else { false } }
}
