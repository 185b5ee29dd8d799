import Basis
import Reports
import Resources

extension EventReport {
    /// An event of the replicated state.
    package init(_ event: ClusterEvent) {
        let parts = EventParts(event.happening)
        self.init(
            index: event.index.rawValue, wallClockMilliseconds: event.wallMilliseconds, sentence: event.sentence,
            rule: event.rule.rawValue, group: event.group?.rawValue, node: parts.node?.name)
        self.kind = event.happening.identifier
        self.severity = event.happening.severity.name
        self.nodeID = parts.node?.id.rawValue
        self.otherNodes = parts.others.isEmpty ? nil : parts.others.map(Node.init)
        self.volume = event.happening.volume?.rawValue
        self.epoch = parts.epoch?.description
        self.resource = parts.resource?.rawValue
        self.reason = parts.reason
        self.statement = parts.statement
        self.asker = event.asker.map(Node.init)
    }
}

extension EventReport.Node {
    fileprivate init(_ node: NamedNode) { self.init(id: node.id.rawValue, name: node.name) }
}

/// What an event names beside the group or the volume that it is about.
struct EventParts {
    /// The node that it is about.
    var node: NamedNode?
    /// Further nodes.
    var others: [NamedNode] = []
    /// The assignment that it belongs to.
    var epoch: Epoch?
    var resource: ResourceName?
    /// Why, in words of the planner, an agent or a volume server.
    var reason: String?
    /// What a person wrote.
    var statement: String?

    init(_ happening: Happening) {
        switch happening {
        case .cluster(let happening): self.add(happening)
        case .node(let node, .certificateStuck(_, let trouble)): (self.node, self.reason) = (node, trouble.text)
        case .node(let node, _): self.node = node
        case .group(_, let happening): self.add(happening)
        case .volume(_, let happening): self.add(happening)
        case .told(let earlier): self.node = earlier.node
        }
    }

    private mutating func add(_ happening: ClusterHappening) {
        switch happening {
        case .founded(_, let node), .recovered(_, let node): self.node = node
        case .configured, .raised, .authorityComes, .authorityTrusted, .authorityExchanged, .authorityStays: break
        case .noted(let words, let node): (self.node, self.statement) = (node, words.text)
        }
    }

    private mutating func add(_ happening: GroupHappening) {
        switch happening {
        case .found(let finding, let node):
            (self.node, self.resource) = (node, finding.resource)
            self.reason = finding.reason.isEmpty ? nil : finding.reason
        case .absenceSigned(let nodes, let statement): (self.others, self.statement) = (nodes, statement.text)
        case .assigned(let node, let epoch, _, let reason), .released(let node, let epoch, let reason):
            (self.node, self.epoch, self.reason) = (node, epoch, reason.text)
        case .started(let node, let epoch), .stopped(let node, let epoch): (self.node, self.epoch) = (node, epoch)
        case .restarted(let node, let epoch, let resource, let reason):
            (self.node, self.epoch, self.resource, self.reason) = (node, epoch, resource, reason.text)
        case .gaveUp(let node, let epoch, let resource, let reason):
            (self.node, self.epoch, self.resource, self.reason) = (node, epoch, resource, reason.text)
        case .parked(let reason): self.reason = reason.text
        case .wantedRunning, .wantedStopped: break
        case .mayRunAgain(let node), .moveWanted(let node), .remainsOver(let node): self.node = node
        case .remains(let node, let remains): (self.node, self.reason) = (node, remains.reason)
        case .stopSigned(let node, let statement): (self.node, self.statement) = (node, statement.text)
        }
    }

    private mutating func add(_ happening: VolumeHappening) {
        switch happening {
        case .leftSet(let node, let epoch), .joinedSet(let node, let epoch): (self.node, self.epoch) = (node, epoch)
        case .keptWrites(let nodes, let epoch): (self.others, self.epoch) = (nodes, epoch)
        case .yielded(let node, let others, let epoch): (self.node, self.others, self.epoch) = (node, others, epoch)
        case .copyLost(let node, let reason, _): (self.node, self.reason) = (node, reason.text)
        case .lossAccepted(let node, let statement): (self.node, self.statement) = (node, statement.text)
        case .repairAllowed(let statement): self.statement = statement.text
        }
    }
}
