import Basis
import Raft

/// Several machines that say that they are one node: a machine, and a copy of it that was started too. (Rule E5)
extension ClusterState {
    /// Somebody has met several machines that say that they are this node, or one more of those.
    mutating func duplicated(
        _ node: NodeID, _ twins: [Twin], after settledAt: LogIndex, at index: LogIndex
    ) -> Outcome {
        guard let place = self.nodes.place(of: node) else { return .refused(.unknown(.node(node))) }
        let record = self.nodes[place]
        // Who met them before a person settled it says nothing about what is so since.
        guard record.twins.settledAt == settledAt else {
            return .refused(.over("which machine \(record.about.name) is was settled meanwhile"))
        }
        let fresh = twins.prefix(Twins.machinesMaximum).filter { twin in
            !record.twins.machines.contains { $0.bootID == twin.bootID }
        }
        guard record.twins.isOpen ? !fresh.isEmpty : fresh.count > 1 else {
            return .refused(.over("that several machines are \(record.about.name) is known, or not so"))
        }
        if !record.twins.isOpen {
            self.nodes[place].twins.since = self.clusterMilliseconds
            if let known = record.certificate { self.nodes[place].twins.shared = [known.fingerprint] }
        }
        self.nodes[place].twins.add(Array(fresh), presentBoot: record.bootID)
        self.note(.node(record.named, .duplicated(self.nodes[place].twins.machines)), at: index)
        return .accepted
    }

    /// Why this machine cannot be said to be the node; nil if it can.
    public func objection(toOriginal node: NodeID, _ bootID: String) -> Refusal? {
        guard let record = self.node(node) else { return .unknown(.node(node)) }
        guard record.twins.isOpen else { return .over("\(record.about.name) is one machine") }
        guard record.twins.machines.contains(where: { $0.bootID == bootID }) else {
            return .unfit(
                "no machine of boot \(Twin.short(bootID)) has said that it is \(record.about.name): see `holdfast status`"
            )
        }
        return nil
    }

    /// The boot of the one machine of a node that is called so: by the beginning of its boot id, or by where it is heard from.
    public func machine(of node: NodeID, called words: String) throws(Refusal) -> Twin {
        guard let record = self.node(node) else { throw .unknown(.node(node)) }
        let name = record.about.name
        guard record.twins.isOpen else { throw .over("\(name) is one machine") }
        let machines = record.twins.machines
        var found = machines.filter { $0.bootID.hasPrefix(words) || $0.host == words }
        // Who was heard from nobody knows where may be there too.
        if found.contains(where: { $0.host == words }) { found += machines.filter(\.host.isEmpty) }
        guard let twin = found.first else {
            throw .unfit(
                "no machine at \(words), or of that boot, has said that it is \(name): \(Twins.words(machines))")
        }
        guard found.count == 1 else {
            throw .unfit("more than one machine is called \(words): \(Twins.words(found)); name it by its boot")
        }
        return twin
    }

    /// An operator says which machine the node is.
    mutating func original(_ node: NodeID, _ bootID: String, at index: LogIndex) -> Outcome {
        if let objection = self.objection(toOriginal: node, bootID) { return .refused(objection) }
        guard let place = self.nodes.place(of: node),
            let twin = self.nodes[place].twins.machines.first(where: { $0.bootID == bootID })
        else { return .refused(.unknown(.node(node))) }
        self.nodes[place].twins.chosen = bootID
        // What it has shown since may be what another one has too.
        if let known = self.nodes[place].certificate, !self.nodes[place].twins.shared.contains(known.fingerprint) {
            self.nodes[place].twins.shared.append(known.fingerprint)
        }
        self.note(.node(self.nodes[place].named, .original(twin)), at: index)
        return .accepted
    }

    /// The machine that a person named is the node once it has a life, and a certificate that no other machine has.
    mutating func settleTwins(ofNodeAt place: Int, at index: LogIndex) {
        let record = self.nodes[place]
        guard record.twins.isOpen, record.twins.chosen == record.bootID, record.standing == .trusted,
            let present = record.certificate?.fingerprint, !record.twins.shared.contains(present)
        else { return }
        self.nodes[place].twins.settle(at: index)
        self.note(.node(record.named, .singled), at: index)
    }
}

extension ClusterState.NodeRecord {
    /// Why no life begins, and no log is taken for the node's, in this boot; nil if one may. The present life goes on until what
    /// it runs has ended in order.
    func twinObjection(toBoot bootID: String) -> Refusal? {
        guard self.twins.isOpen, bootID != self.twins.chosen else { return nil }
        if bootID == self.bootID, self.standing != .lost, self.standing != .never { return nil }
        return .unfit(
            "several machines say that they are \(self.about.name): the one of boot \(Twin.short(bootID)) is let in once "
                + "`holdfast node original \(self.about.name) --boot \(Twin.short(bootID))` says that it is the one")
    }

    /// The life that it has is not of a machine of which a person has said that it is the node. (Rule E5)
    var isLifeInQuestion: Bool { self.twins.isOpen && self.twins.chosen != self.bootID }
}
