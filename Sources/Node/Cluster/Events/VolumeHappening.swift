import Basis

/// What happens to a volume and the copies of it.
public enum VolumeHappening: Equatable, Sendable {
    /// A copy may lack writes from here on. (Rule V3)
    case leftSet(NamedNode, Epoch)
    /// A copy holds every write again. (Rule V5)
    case joinedSet(NamedNode, Epoch)
    /// Copies of the last set lack nothing after an unplanned promotion. (Rule V7)
    case keptWrites([NamedNode], Epoch)
    /// The owner's copy lacks writes, and others count instead. (Rule V19)
    case yielded(from: NamedNode, to: [NamedNode], Epoch)
    /// There is no copy on a node that counts. (Rule V20)
    case copyLost(on: NamedNode, reason: KeptWords, wasInSync: Bool)
    /// A person signed that writes may be missing. (Rule V8)
    case lossAccepted(NamedNode, statement: KeptWords)
    /// A person allowed that the next start repairs its file system. (Rule V22)
    case repairAllowed(statement: KeptWords)

    var identifier: String {
        switch self {
        case .leftSet: "volume.left-set"
        case .joinedSet: "volume.joined-set"
        case .keptWrites: "volume.kept-writes"
        case .yielded: "volume.yielded"
        case .copyLost: "volume.copy-lost"
        case .lossAccepted: "volume.loss-accepted"
        case .repairAllowed: "volume.repair-allowed"
        }
    }

    var severity: Severity {
        switch self {
        case .joinedSet, .keptWrites, .repairAllowed: .info
        case .leftSet, .yielded, .copyLost, .lossAccepted: .warning
        }
    }

    var rule: EventRule {
        switch self {
        case .leftSet: EventRule("V3")
        case .joinedSet: EventRule("V5")
        case .keptWrites: EventRule("V7")
        case .yielded: EventRule("V19")
        case .copyLost: EventRule("V20")
        case .lossAccepted: EventRule("V8")
        case .repairAllowed: EventRule("V22")
        }
    }

    var isAsked: Bool {
        switch self {
        case .lossAccepted, .repairAllowed: true
        case .leftSet, .joinedSet, .keptWrites, .yielded, .copyLost: false
        }
    }
}
