import Basis
import Resources

/// The words for events: the one place where they are made, for events, explanations and tests alike.
extension ClusterEvent {
    /// One sentence, without a full stop.
    public var sentence: String {
        let sentence =
            switch self.happening {
            case .cluster(let happening): happening.sentence
            case .node(let node, let happening): happening.sentence(node.name)
            case .group(let group, let happening): happening.sentence(group)
            case .volume(let volume, let happening): happening.sentence(volume)
            case .told(let earlier): earlier.words.text
            }
        let asked = self.asker.map { ", asked on \($0.name)" } ?? ""
        return ForeignText.line(sentence + asked, limit: KeptWords.lengthMaximum)
    }
}

extension ClusterHappening {
    fileprivate var sentence: String {
        switch self {
        case .founded(let cluster, let node): "\(node.name) founded the cluster \(cluster)"
        case .configured: "the configuration was changed"
        case .recovered(let generation, let node):
            "the majority was lost, and the survivors went on as generation \(generation.number), on an order given on "
                + "\(node.name)"
        case .raised(let level): "the cluster is at feature level \(level): every node can do it"
        case .authorityComes(let name):
            "another authority (\(name.text)) is to take the place of the present one: every node is to trust it"
        case .authorityTrusted(let name): "the authority \(name.text) is trusted: every node gets a certificate of it"
        case .authorityExchanged(let name):
            "every node has a certificate of the authority \(name.text): the one before is trusted no more"
        case .authorityStays(let name): "the authority \(name.text) does not come after all"
        case .noted(let words, let node):
            "an operator notes\(node.map { " about \($0.name)" } ?? ""): \(words.text)"
        }
    }
}

extension NodeHappening {
    fileprivate func sentence(_ name: String) -> String {
        switch self {
        case .joined(let site): "\(name) joined, at \(site)"
        case .joinedAgain(let site): "\(name) joined again, at \(site); it was never up before"
        case .up: "\(name) is up"
        case .upWithNewLog: "\(name) is back with a new log and starts a new life (E2)"
        case .silent: "\(name) is silent: a majority hears nothing from it"
        case .heardAgain: "\(name) is heard again"
        case .lost(.leaseEnded): "\(name) is lost: its lease has certainly ended"
        case .lost(.recovery): "\(name) counts as lost: the survivors of a lost majority go on without it"
        case .lost(.fenced): "\(name) is lost: a fence device confirmed it"
        case .drained: "\(name) is drained: its groups move away"
        case .undrained: "\(name) is no longer drained"
        case .role(let role): "\(name) is \(role.words) now"
        case .site(let site): "\(name) is at \(site) now"
        case .address(let address): "\(name) is reached at \(address) now"
        case .labelled: "\(name) has other labels"
        case .retires: "\(name) is to leave the cluster for good"
        case .kept: "\(name) stays in the cluster"
        case .left: "\(name) has left the cluster for good"
        case .replaced: "another machine takes the place of \(name)"
        case .authorityWithout:
            "the exchange of the authority goes on without \(name): unless it comes in time, it has to join anew"
        case .duplicated(let twins):
            "several machines say that they are \(name) (\(Twins.words(twins))): none of them runs anything until "
                + "`holdfast node original \(name) --boot BOOT` says which one it is"
        case .original(let twin):
            "\(name) is the machine at \(twin.words); it gets another key, and the others no way in"
        case .singled: "\(name) is one machine again; what shows its former certificates is not let in"
        case .certificateRenewed(let until): "\(name) has another certificate, until \(Validity.day(until))"
        case .certificateStuck(let until, let trouble):
            "the certificate of \(name) is for use until \(Validity.day(until)), and it could not get another one: \(trouble.text)"
        case .pauseExpected(let length):
            "\(name) is expected to pause, for \(length.milliseconds / 1000) s at most: its silence is waited for"
        case .pauseOver: "no pause of \(name) is expected any more"
        case .shutsDown: "\(name) shuts down: what it runs moves or stops"
        case .stays: "\(name) stays"
        }
    }
}

extension GroupHappening {
    fileprivate func sentence(_ group: GroupName) -> String {
        switch self {
        case .found(let finding, let node): "\(group) waits: \(node.name) \(finding.clause)"
        case .absenceSigned(let nodes, let statement):
            "an operator signed that nothing of \(group) runs on \(names(nodes)): \(statement.text)"
        case .assigned(let node, _, _, let reason): "\(group) is assigned to \(node.name): \(reason.text)"
        case .released(let node, _, let reason): "stopping \(group) on \(node.name): \(reason.text)"
        case .started(let node, _): "\(group) runs on \(node.name)"
        case .restarted(let node, _, let resource?, let reason):
            "\(group)/\(resource) \(reason.text) and is started again on \(node.name)"
        case .restarted(let node, _, nil, let reason):
            "\(group) stopped because \(reason.text), and is started again on \(node.name)"
        case .gaveUp(let node, _, let resource, let reason):
            "\(group) gave up on \(node.name): \(resource) \(reason.text)"
        case .stopped(let node, _): "\(group) stopped on \(node.name)"
        case .parked(let reason): "\(group) is parked: \(reason.text)"
        case .mayRunAgain(let node): "\(group) may run on \(node.name) again: its failure there is long ago"
        case .wantedRunning: "an operator wants \(group) running"
        case .wantedStopped: "an operator wants \(group) stopped"
        case .moveWanted(let node): "an operator moves \(group) to \(node.name)"
        case .remains(let node, let remains): "\(node.name) \(remains.reason) of \(group)"
        case .remainsOver(let node): "nothing of \(group) is left on \(node.name) any more"
        case .stopSigned(let node, let statement):
            "an operator signed that nothing of \(group) is left on \(node.name): \(statement.text)"
        }
    }
}

extension VolumeHappening {
    fileprivate func sentence(_ volume: VolumeName) -> String {
        switch self {
        case .leftSet(let node, _): "\(volume): \(node.name) left the in-sync set; its copy may not be promoted"
        case .joinedSet(let node, _): "\(volume): \(node.name) holds every write again"
        case .keptWrites(let nodes, _): "\(volume): \(names(nodes)) kept every write through the promotion"
        case .yielded(let node, let others, _):
            "\(volume): the copy on \(node.name) lacks writes; those on \(names(others)) count instead"
        case .copyLost(let node, let reason, let wasInSync):
            "\(volume): \(node.name) has no usable copy (\(reason.text))"
                + (wasInSync ? "; it left the in-sync set, and a new copy is compared as a whole" : "")
        case .lossAccepted(_, let statement): "an operator signed for \(volume): \(statement.text)"
        case .repairAllowed(let statement): "an operator allowed a repair of \(volume): \(statement.text)"
        }
    }
}

private func names(_ nodes: [NamedNode]) -> String { nodes.map(\.name).joined(separator: ", ") }
