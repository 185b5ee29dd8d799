import Basis
import Resources

/// What happens to a group on the node that runs it.
public enum GroupNote: Equatable, Sendable {
    /// A new configuration is taken up; these start again, or for the first time.
    case newConfiguration(starting: [ResourceName])
    /// A resource failed too often, or so that no restart helps.
    case givesUp(ResourceName, reason: String)
    /// A resource failed and is restarted in place: which restart of how many within the window.
    case restarts(ResourceName, reason: String, count: Int, limit: Int)
    /// An agent could not stop it, so everything of the group is killed. (Rule L11)
    case stopFailed(ResourceName, reason: String)
    /// The server of its volume ended; whoever uses the device waits. (Rule V23)
    case waitsForVolume(ResourceName, reason: String)

    /// A stable name for counters and alerts; never reworded.
    public var identifier: String {
        switch self {
        case .newConfiguration: "group.new-configuration"
        case .givesUp: "group.gives-up"
        case .restarts: "group.restarts"
        case .stopFailed: "group.stop-failed"
        case .waitsForVolume: "group.waits-for-volume"
        }
    }

    /// How much it matters.
    public var severity: Severity {
        switch self {
        case .newConfiguration: .info
        case .restarts, .waitsForVolume: .warning
        case .givesUp, .stopFailed: .error
        }
    }
}
