import Basis
import Resources

/// What happens to a group.
public enum GroupHappening: Equatable, Sendable {
    /// The search before its birth met something, or could not tell. (Rule B2)
    case found(ClusterState.Finding, on: NamedNode)
    /// A person signed that nothing of it runs there. (Rule B2)
    case absenceSigned(on: [NamedNode], statement: KeptWords)
    /// It has an owner from here on; `isTakeover` when the one before is only silent.
    case assigned(to: NamedNode, Epoch, isTakeover: Bool, reason: KeptWords)
    /// Its owner is told to stop it.
    case released(on: NamedNode, Epoch, reason: KeptWords)
    /// Everything of it runs. (Rule L1)
    case started(on: NamedNode, Epoch)
    /// A resource, or the whole of it, ended and is started again in place.
    case restarted(on: NamedNode, Epoch, ResourceName?, reason: KeptWords)
    /// A resource failed there for good.
    case gaveUp(on: NamedNode, Epoch, ResourceName, reason: KeptWords)
    /// Its owner has stopped it. (Rule L11)
    case stopped(on: NamedNode, Epoch)
    /// It is left alone until a person looks. (NoFlap)
    case parked(reason: KeptWords)
    /// A failure there counts no longer.
    case mayRunAgain(on: NamedNode)
    /// A person wants it running, or stopped.
    case wantedRunning, wantedStopped
    /// A person wants it there.
    case moveWanted(to: NamedNode)
    /// A node that must not run it cannot take it down. (Rules L11.5, L12.3)
    case remains(on: NamedNode, GroupRemains)
    /// Nothing of it is left there any more.
    case remainsOver(on: NamedNode)
    /// A person signed that nothing of it is left there. (Rule L11)
    case stopSigned(on: NamedNode, statement: KeptWords)

    var identifier: String {
        switch self {
        case .found: "group.found"
        case .absenceSigned: "group.absence-signed"
        case .assigned: "group.assigned"
        case .released: "group.released"
        case .started: "group.started"
        case .restarted: "group.restarted"
        case .gaveUp: "group.gave-up"
        case .stopped: "group.stopped"
        case .parked: "group.parked"
        case .mayRunAgain: "group.may-run-again"
        case .wantedRunning: "group.wanted-running"
        case .wantedStopped: "group.wanted-stopped"
        case .moveWanted: "group.move-wanted"
        case .remains: "group.remains"
        case .remainsOver: "group.remains-over"
        case .stopSigned: "group.stop-signed"
        }
    }

    var severity: Severity {
        switch self {
        case .absenceSigned, .assigned, .released, .started, .stopped, .mayRunAgain, .wantedRunning, .wantedStopped,
            .moveWanted, .remainsOver, .stopSigned:
            .info
        case .found, .restarted, .remains: .warning
        case .gaveUp, .parked: .error
        }
    }

    var rule: EventRule {
        switch self {
        case .found, .absenceSigned: EventRule("B2")
        case .assigned(_, _, let isTakeover, _): isTakeover ? .immediate : .plan
        case .released: .plan
        case .started: EventRule("L1")
        case .restarted, .gaveUp, .mayRunAgain: .restart
        case .stopped, .stopSigned: EventRule("L11")
        case .parked: .noFlap
        case .wantedRunning, .wantedStopped, .moveWanted: .operator
        case .remains(_, let remains): EventRule(remains.kind == .unkilled ? "L12" : "L11")
        case .remainsOver: EventRule("L12")
        }
    }

    var isAsked: Bool {
        switch self {
        case .absenceSigned, .wantedRunning, .wantedStopped, .moveWanted, .stopSigned: true
        default: false
        }
    }
}
