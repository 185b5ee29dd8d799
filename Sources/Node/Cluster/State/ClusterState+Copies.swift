import Basis
import Mirror
import Resources

/// Which copies there are. A copy that the log does not know never counts, and one that it knows is never made anew
/// silently. (Rules V17 to V22)
extension ClusterState {
    /// What a node's finding means.
    enum CopyJudgement: Equatable {
        /// Noted already.
        case same
        /// The copy that the log knows, started once more.
        case known
        /// A new one, where the log knows none.
        case new
        /// Not the copy that the log knows: why, as a clause after "the copy there".
        case another(String)
    }

    /// Rule V18: whether the copy is the one that the log knows there, and not an older state of it.
    func judge(_ mark: CopyMark, of node: NodeID, in record: VolumeRecord) -> CopyJudgement {
        guard let known = record.copy(of: node) else {
            // Rule R6: while nobody knows which copy holds what, what is found is kept, and shown to whoever signs.
            let isKept = record.isUnproven && self.level >= FeatureLevel(3)
            return mark.isNoted && !isKept ? .another("is none that the cluster knows") : .new
        }
        guard known.identity == mark.identity else { return .another("is another one than the cluster knows") }
        guard mark.starts.contains(known.mark) else {
            return .another("was put back: it does not remember how the cluster knew it last")
        }
        // Its very start is noted: what it has accepted since, this word may be too old to tell.
        if known.mark == mark.mark { return .same }
        guard mark.epoch >= known.epoch else {
            return .another("was put back: it knows epoch \(mark.epoch), and had accepted \(known.epoch)")
        }
        return .known
    }

    /// Why the copy of a node cannot be given up now; nil if it can. (Rule V20)
    func objectionToLettingGo(of node: NodeID, in record: VolumeRecord) -> String? {
        if record.owner == node { return "\(record.name) is in use there; its group must stop first" }
        guard record.epoch != .none, record.holders == [node] else { return nil }
        return "it was the last complete copy of \(record.name): bring the old backing back, or see what would be lost "
            + "with `holdfast volume accept-loss \(record.name) --node NODE --dry-run`"
    }

    mutating func noteCopy(
        _ volume: VolumeName, _ identity: UInt64, _ node: NodeID, _ mark: CopyMark, _ capacity: UInt64,
        against: CopyKnowledge?, boot: String, at index: LogIndex
    ) -> Outcome {
        self.updateRecord(volume, identity, node) { state, record in
            switch state.judge(mark, of: node, in: record) {
            case .same:
                guard let place = record.copies.firstIndex(where: { $0.node == node }),
                    record.copies[place].capacityBytes != capacity || record.copies[place].bootID != boot
                else { return "it is noted already" }
                record.copies[place].bootID = boot
                record.copies[place].capacityBytes = capacity
            case .new:
                record.copies.append(
                    .init(
                        node: node, identity: mark.identity, mark: mark.mark, epoch: mark.epoch,
                        capacityBytes: capacity, bootID: boot))
                record.copies.sort { $0.node < $1.node }
            case .known:
                guard let place = record.copies.firstIndex(where: { $0.node == node }) else { return nil }
                record.copies[place].mark = mark.mark
                record.copies[place].bootID = boot
                record.copies[place].epoch = max(record.copies[place].epoch, mark.epoch)
                record.copies[place].capacityBytes = capacity
            case .another(let reason):
                // The copy may have accepted more since it was looked at.
                guard record.copy(of: node)?.knowledge == against else {
                    return .over("what the cluster knows of that copy has changed since it was asked")
                }
                return state.letGo(of: node, in: &record, why: "the copy there \(reason)", at: index)
            }
            return nil
        }
    }

    /// The node's log is another one than it was: what became of that may have become of its copies, so they are looked at
    /// before one of them is used. (Rules V20, E4.2)
    mutating func copiesUnseen(on node: NodeID) {
        for volume in self.volumes.indices {
            for copy in self.volumes[volume].copies.indices where self.volumes[volume].copies[copy].node == node {
                self.volumes[volume].copies[copy].bootID = ""
            }
        }
    }

    mutating func lacks(
        _ volume: VolumeName, _ identity: UInt64, _ node: NodeID, _ copy: UInt64, at index: LogIndex
    ) -> Outcome {
        self.updateRecord(volume, identity, node) { state, record in
            guard record.copy(of: node)?.identity == copy else { return "that copy is not known there" }
            return state.letGo(of: node, in: &record, why: "its copy is gone", at: index)
        }
    }

    private mutating func letGo(
        of node: NodeID, in record: inout VolumeRecord, why: String, at index: LogIndex
    ) -> Refusal? {
        if let objection = self.objectionToLettingGo(of: node, in: record) { return .unfit(objection) }
        let wasInSync = record.inSync.contains(node)
        record.forget(node)
        let lost = VolumeHappening.copyLost(on: self.named(node), reason: KeptWords(why), wasInSync: wasInSync)
        self.note(.volume(record.name, lost), at: index)
        return nil
    }

    private mutating func updateRecord(
        _ volume: VolumeName, _ identity: UInt64, _ node: NodeID,
        _ change: (inout ClusterState, inout VolumeRecord) -> Refusal?
    ) -> Outcome {
        guard let place = self.volumes.firstIndex(where: { $0.name == volume && $0.identity == identity }) else {
            return .refused("there is no such volume \(volume)")
        }
        let name = self.name(of: node)
        guard self.volumes[place].definition.replicas.contains(where: { $0.node == name }) else {
            return .refused("\(volume) has no replica on \(name)")
        }
        var record = self.volumes[place]
        if let objection = change(&self, &record) { return .refused(objection.about("\(volume)")) }
        self.volumes[place] = record
        return .accepted
    }

    // MARK: Persons

    /// Rule V8: a person signs that writes may be missing. Epoch and version are what the person was shown, so a copy of
    /// the command that arrives late changes nothing.
    mutating func acceptLoss(
        _ volume: VolumeName, _ epoch: Epoch, _ version: UInt64, _ node: NodeID, _ statement: String,
        at index: LogIndex
    ) -> Outcome {
        guard let place = self.volumes.place(of: volume, by: \.name) else {
            return .refused(.unknown(.volume(volume)))
        }
        var record = self.volumes[place]
        guard record.owner == nil else {
            return .refused(
                "\(volume) is in use on \(self.name(of: record.owner ?? node)); nothing is given up")
        }
        guard record.epoch == epoch, record.version == version else {
            return .refused(.over("\(volume) has changed since you looked; look again"))
        }
        guard record.epoch != .none else { return .refused("\(volume) was never used; nothing can be lost") }
        guard self.hasReplica(node, of: volume), record.copy(of: node) != nil else {
            return .refused("\(self.name(of: node)) has no copy of \(volume) that the cluster knows")
        }
        guard record.isUnproven || record.inSync != [node] else {
            return .refused("\(self.name(of: node)) is the complete copy of \(volume); nothing is lost")
        }
        record.inSync = [node]
        record.former = []
        record.isUnproven = false
        record.version += 1
        self.volumes[place] = record
        let signed = VolumeHappening.lossAccepted(self.named(node), statement: KeptWords(statement))
        self.note(.volume(volume, signed), at: index)
        return .accepted
    }

    mutating func allowRepair(
        _ volume: VolumeName, _ epoch: Epoch, _ statement: String, at index: LogIndex
    ) -> Outcome {
        guard let place = self.volumes.place(of: volume, by: \.name) else {
            return .refused(.unknown(.volume(volume)))
        }
        guard self.volumes[place].epoch == epoch else {
            return .refused(.over("\(volume) has changed since you looked; look again"))
        }
        self.volumes[place].mayRepair = true
        self.note(.volume(volume, .repairAllowed(statement: KeptWords(statement))), at: index)
        return .accepted
    }

    /// A group on the volumes of this epoch is up: they hold data, and every copy in the set has accepted the epoch.
    mutating func noteWritten(_ epoch: Epoch) {
        for place in self.volumes.indices where self.volumes[place].epoch == epoch {
            self.volumes[place].isWritten = true
            self.volumes[place].mayRepair = false
            self.volumes[place].former = []
            self.volumes[place].note(epoch, of: self.volumes[place].inSync)
        }
    }
}

extension ClusterState.VolumeRecord {
    /// Why a copy must not count: it is not the one that the log knows there. (Rule V18)
    func objection(to copy: UInt64, of node: NodeID) -> String? {
        (self.copy(of: node)?.identity ?? 0) == copy ? nil : "the copy of \(node) is not the one that the log knows"
    }

    /// These copies have surely accepted the epoch.
    mutating func note(_ epoch: Epoch, of nodes: [NodeID]) {
        for place in self.copies.indices where nodes.contains(self.copies[place].node) {
            self.copies[place].epoch = max(self.copies[place].epoch, epoch)
        }
    }

    /// The node has no copy any more.
    mutating func forget(_ node: NodeID) {
        self.copies.removeAll { $0.node == node }
        self.former.removeAll { $0 == node }
        guard self.inSync.contains(node) else { return }
        self.inSync.removeAll { $0 == node }
        self.version += 1
        // Rule V7.1: nobody was served by it alone, so those of the set before have everything.
        guard self.inSync.isEmpty else { return }
        self.inSync = self.former
        self.former = []
    }
}
