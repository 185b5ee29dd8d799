import Basis
import Resources

/// How nodes leave, are replaced, and become something else. (Rules J2 to J6)
extension ClusterState {
    /// The node was one, and is none any more: its id is never given again, and what it says counts nowhere. (Rule J6)
    public func hasLeft(_ node: NodeID) -> Bool {
        // Most clusters never had a node that is gone, and each message asks.
        self.nodes.count < self.nodesEver && node.rawValue > 0 && node.rawValue <= self.nodesEver
            && self.nodes.place(of: node) == nil
    }

    mutating func applyMembers(_ command: Command, at index: LogIndex) -> Outcome {
        switch command {
        case .setNode(let node, let change): self.setNode(node, change, at: index)
        case .retire(let node, let isRetiring): self.retire(node, isRetiring, at: index)
        case .replaceNode(let node, let newcomer): self.replace(node, by: newcomer, at: index)
        case .expel(let node, let incarnation): self.expel(node, incarnation, at: index)
        default: preconditionFailure("not about members: \(command)")
        }
    }

    // MARK: Changing

    /// Why a node cannot be changed so; nil if it can.
    public func objection(toSetting node: NodeID, _ change: NodeChange) -> Refusal? {
        guard let record = self.node(node) else { return .unknown(.node(node)) }
        let name = record.about.name
        let after = change.applied(to: record.about)
        if let problem = after.problem { return .unfit("\(name): \(problem)") }
        for label in change.labels
        where !JoiningNode.isPlain(label.name) || !label.value.isEmpty && !JoiningNode.isPlain(label.value) {
            return .unfit(
                "a label is NAME=VALUE, each of at most 63 lower-case letters, digits and dashes, a dash not first")
        }
        if let address = change.address,
            let other = self.nodes.first(where: { $0.about.address == address && $0.id != node })
        {
            return .unfit("the address \(address) is that of \(other.about.name)")
        }
        if record.isRetiring { return .unfit("\(name) is leaving the cluster") }
        if !after.role.runsGroups, record.about.role.runsGroups {
            if let use = self.use(of: name) { return .unfit("\(name) cannot become a witness while \(use)") }
            if self.groups.contains(where: { $0.assignment?.node == node })
                || self.holdings.contains(where: { $0.node == node })
            {
                return .unfit("\(name) cannot become a witness before what runs there has stopped")
            }
        }
        let isOtherMember = self.nodes.contains { $0.id != node && !$0.isRetiring && $0.about.role == .member }
        if after.role != .member, !isOtherMember {
            return .unfit("\(name) is the only member, and a cluster needs one")
        }
        return nil
    }

    private mutating func setNode(_ node: NodeID, _ change: NodeChange, at index: LogIndex) -> Outcome {
        if let objection = self.objection(toSetting: node, change) { return .refused(objection) }
        guard let place = self.nodes.place(of: node) else { return .refused(.unknown(.node(node))) }
        let before = self.nodes[place].about
        let after = change.applied(to: before)
        self.nodes[place].about = after
        // Rule J4: until it listens at the new place it is found at the old one.
        if after.address != before.address { self.nodes[place].formerAddress = before.address }
        for label in change.labels {
            self.nodes[place].labels.removeAll { $0.name == label.name }
            if !label.value.isEmpty { self.nodes[place].labels.append(label) }
        }
        self.nodes[place].labels.sort { $0.name < $1.name }
        let named = self.nodes[place].named
        if after.role != before.role { self.note(.node(named, .role(after.role)), at: index) }
        if after.site != before.site { self.note(.node(named, .site(after.site)), at: index) }
        if after.address != before.address { self.note(.node(named, .address(after.address)), at: index) }
        if !change.labels.isEmpty { self.note(.node(named, .labelled), at: index) }
        return .accepted
    }

    /// Where the configuration, or what is still held, needs the node of this name, as a clause; nil if nowhere.
    func use(of name: String) -> String? {
        let groups = self.policy.groups.filter { $0.nodes.contains(name) }.map { "group \($0.name)" }
        let volumes = self.policy.volumes.filter { volume in volume.replicas.contains { $0.node == name } }
            .map { "volume \($0.name)" }
        if !groups.isEmpty || !volumes.isEmpty {
            return "the configuration names it (\((groups + volumes).joined(separator: ", ")))"
        }
        let held = self.volumes.filter { record in record.definition.replicas.contains { $0.node == name } }
        if !held.isEmpty {
            return "its copy of \(held.map(\.name.rawValue).joined(separator: ", ")) is still needed"
        }
        return nil
    }

    // MARK: Leaving (rule J2)

    /// Why a node cannot be asked to leave; nil if it can.
    public func objection(toRetiring node: NodeID) -> Refusal? {
        guard let record = self.node(node) else { return .unknown(.node(node)) }
        let name = record.about.name
        if record.isRetiring { return nil }
        if let use = self.use(of: name) {
            return .unfit(
                "\(name) cannot leave while \(use): take it out of the configuration and run `holdfast apply`, or bring "
                    + "another machine in its place with `holdfast join --replace`")
        }
        let isOtherMember = self.nodes.contains { $0.id != node && !$0.isRetiring && $0.about.role == .member }
        return isOtherMember ? nil : .unfit("\(name) is the only member, and a cluster needs one")
    }

    private mutating func retire(_ node: NodeID, _ isRetiring: Bool, at index: LogIndex) -> Outcome {
        if isRetiring, let objection = self.objection(toRetiring: node) { return .refused(objection) }
        guard let place = self.nodes.place(of: node) else { return .refused(.unknown(.node(node))) }
        let name = self.nodes[place].about.name
        guard self.nodes[place].isRetiring != isRetiring else { return .accepted }
        // Its place and its name are another machine's.
        if !isRetiring, Self.isReplaced(name) { return .refused("\(name) was replaced") }
        self.nodes[place].isRetiring = isRetiring
        self.note(.node(self.nodes[place].named, isRetiring ? .retires : .kept), at: index)
        return .accepted
    }

    /// Why a node that is to leave is a node still, as a clause; nil if it can go once it neither votes nor has a lease.
    public func whatKeeps(_ node: NodeID) -> String? {
        if let group = self.groups.first(where: { $0.assignment?.node == node }) {
            return "group \(group.name) runs there"
        }
        if let holding = self.holdings.first(where: { $0.node == node }) {
            return "group \(holding.group) is stopping there"
        }
        if let left = self.groups.first(where: { group in group.remains.contains { $0.node == node } }) {
            return "something of group \(left.name) is left there: see `holdfast explain \(left.name)`"
        }
        if let volume = self.volumes.first(where: { $0.epoch != .none && $0.holders == [node] }) {
            return "it has the last complete copy of \(volume.name)"
        }
        return nil
    }

    private mutating func expel(_ node: NodeID, _ incarnation: Incarnation, at index: LogIndex) -> Outcome {
        guard let place = self.nodes.place(of: node) else { return .refused(.unknown(.node(node))) }
        let record = self.nodes[place]
        guard record.incarnation == incarnation else { return .refused(.over("that was another life of it")) }
        guard record.isRetiring else { return .refused(.over("\(record.about.name) stays")) }
        // Rule J2: its lease has certainly ended, and nothing stands on it.
        guard record.standing == .lost || record.standing == .never else {
            return .refused("\(record.about.name) may still have a lease")
        }
        if let keeper = self.whatKeeps(node) { return .refused(.unfit("\(record.about.name) cannot go: \(keeper)")) }
        self.nodes.remove(at: place)
        self.forgetAttributes(of: node)
        for volume in self.volumes.indices { self.volumes[volume].forget(node) }
        for group in self.groups.indices {
            self.groups[group].absentOn.removeAll { $0 == node }
            self.groups[group].findings.removeAll { $0.node == node }
            self.groups[group].bans.removeAll { $0.node == node }
            if self.groups[group].target == node { self.groups[group].target = nil }
            if self.groups[group].lastOwner == node { self.groups[group].lastOwner = nil }
        }
        self.note(.node(record.named, .left), at: index)
        self.tidyVolumes()
        return .accepted
    }

    // MARK: Replacing (rule J3)

    /// Another one is to have its name; it is called by one that no person can give, until it has left.
    mutating func giveUpName(ofNodeAt place: Int) {
        self.nodes[place].about.name += "~\(self.nodes[place].id.rawValue)"
        self.nodes[place].isRetiring = true
    }

    private static func isReplaced(_ name: String) -> Bool { name.contains("~") }

    /// Why this machine cannot take the place of a node; nil if it can.
    public func objection(toReplacing node: NodeID, by newcomer: JoiningNode) -> Refusal? {
        if let problem = newcomer.problem { return .unfit(problem) }
        guard let record = self.node(node) else { return .unknown(.node(node)) }
        let name = record.about.name
        guard newcomer.name == name else { return .unfit("a replacement has the name of the node: \(name)") }
        guard self.nodesEver < Self.nodesMaximum else {
            return .unfit("this cluster has given away every node id there is")
        }
        guard record.standing == .lost || record.standing == .never else {
            return .unfit(
                "\(name) is not lost, and may still run something: shut it down, and wait until `holdfast status` shows it as "
                    + "lost")
        }
        if let other = self.nodes.first(where: { $0.about.address == newcomer.address && $0.id != node }) {
            return .unfit("its address \(newcomer.address) is that of \(other.about.name)")
        }
        if !newcomer.role.runsGroups, let use = self.use(of: name) {
            return .unfit("\(name) cannot be replaced by a witness while \(use)")
        }
        for volume in self.volumes where volume.epoch != .none && volume.holders.contains(node) {
            guard volume.holders.contains(where: { $0 != node && self.isSeen($0, of: volume) }) else {
                return .unfit(
                    "\(name) has the last complete copy of \(volume.name) that is known for sure: bring it back, or see what "
                        + "would be lost with `holdfast volume accept-loss \(volume.name) --node NODE --dry-run`")
            }
        }
        return nil
    }

    private mutating func replace(_ node: NodeID, by newcomer: JoiningNode, at index: LogIndex) -> Outcome {
        if let record = self.nodes.first(where: { $0.about.name == newcomer.name }), record.id != node,
            record.about == newcomer, record.standing == .never
        {
            // Asked again, because the answer was lost.
            return .accepted
        }
        if let objection = self.objection(toReplacing: node, by: newcomer) { return .refused(objection) }
        guard let place = self.nodes.place(of: node) else { return .refused(.unknown(.node(node))) }
        self.giveUpName(ofNodeAt: place)
        // Rule J3: names follow, and nothing else does: what the old machine held counts no more, and the new one starts empty.
        for volume in self.volumes.indices { self.volumes[volume].forget(node) }
        self.append(newcomer)
        self.note(.node(NamedNode(NodeID(self.nodesEver), newcomer.name), .replaced), at: index)
        self.tidyVolumes()
        return .accepted
    }
}

extension NodeRole {
    /// `a member`.
    package var words: String {
        switch self {
        case .member: "a member"
        case .witness: "a witness"
        case .observer: "an observer"
        }
    }
}
