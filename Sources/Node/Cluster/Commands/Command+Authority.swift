import Basis

/// Who may give a command. A node speaks for what is its own, and for nothing else.
enum Authority: Equatable, Sendable {
    /// A member, for an operator who works on it. A witness, on the smallest machine in a third place, may not.
    case member
    /// Every node: each one may be the only one that sees it.
    case anyNode
    /// This node, about its own address, or a member.
    case memberOrNode(NodeID)
    /// The leader alone, for itself: it takes these from nobody.
    case leader
    /// This node.
    case node(NodeID)
    /// The node that the group is assigned to under this epoch.
    case owner(GroupName, Epoch)
    /// The node that may write to the volume under this epoch.
    case writer(VolumeName, Epoch)
}

extension Command {
    /// Who may give it.
    var authority: Authority {
        switch self {
        case .bootstrap, .addNode, .configure, .want, .move, .drain, .acceptLoss, .declareAbsent, .confirmStopped,
            .compare, .allowRepair, .note, .raise, .retire, .expectPause, .changeAuthority, .replaceNode, .putAttribute,
            .deleteAttribute, .original:
            .member
        case .duplicated: .anyNode
        case .setNode(let node, let change): change.isAddressOnly ? .memberOrNode(node) : .member
        case .suspect, .trust, .lost, .fenced, .expel, .recovered, .assign, .release, .park, .forgive: .leader
        case .admit(let node, _, _): .node(node)
        case .certified(let node, _): .node(node)
        case .depart(let node, _, _), .remark(let node, _, _): .node(node)
        case .absent(_, let node, _, _): .node(node)
        case .found(_, let finding, _, _): .node(finding.node)
        case .remains(_, let node, _, _): .node(node)
        case .stopped(let group, let epoch, _): .owner(group, epoch)
        case .started(let group, let epoch): .owner(group, epoch)
        case .dropped(let group, let epoch, _): .owner(group, epoch)
        case .restarted(let group, let epoch, _, _): .owner(group, epoch)
        case .leaves(let volume, let epoch, _, _): .writer(volume, epoch)
        case .joins(let volume, let epoch, _, _, _): .writer(volume, epoch)
        case .opens(let volume, let epoch, _, _, _): .writer(volume, epoch)
        case .yields(let volume, let epoch, _): .writer(volume, epoch)
        case .copy(_, _, let node, _, _, _, _): .node(node)
        case .lacks(_, _, let node, _): .node(node)
        }
    }
}

extension ClusterState {
    /// Why this node may not give the command; nil if it may, or if the command no longer fits anyway.
    ///
    /// What only a leader may say cannot be told from an entry: it never takes such a command from another node.
    func objection(to command: Command, from origin: NodeID) -> Refusal? {
        if let objection = self.levelObjection(to: command) { return objection }
        switch command.authority {
        case .leader: return nil
        case .anyNode: return self.node(origin) == nil ? .unknown(.node(origin)) : nil
        case .memberOrNode(let node) where node == origin: return nil
        case .member, .memberOrNode:
            // Before there is a cluster the founder is no node yet.
            guard self.clusterID != 0 else { return nil }
            guard let node = self.node(origin) else { return .unknown(.node(origin)) }
            guard node.about.isWitness else { return nil }
            return .unauthorised(
                "\(node.about.name) is a witness, which votes and gives no orders; do this on a member")
        case .node(let node):
            return node == origin
                ? nil : .unauthorised("only \(self.name(of: node)) may say so, not \(self.name(of: origin))")
        case .owner(let group, let epoch):
            // An owner that was taken over from still speaks for what it may hold. (Rule B5.1)
            guard let owner = self.holdings.first(where: { $0.group == group && $0.epoch == epoch })?.node,
                owner != origin
            else { return nil }
            return .unauthorised(
                "only \(self.name(of: owner)), which owns \(group), may say so, not \(self.name(of: origin))")
        case .writer(let volume, let epoch):
            guard let record = self.volume(volume), record.epoch == epoch, let owner = record.owner, owner != origin
            else { return nil }
            return .unauthorised(
                "only \(self.name(of: owner)), which writes to \(volume), may say so, not \(self.name(of: origin))")
        }
    }
}
