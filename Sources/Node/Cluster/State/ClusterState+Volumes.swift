import Basis
import Resources

/// Which replicas hold every acknowledged write. (Rules V4, V7, V8)
extension ClusterState {
    mutating func applyVolume(_ command: Command, at index: LogIndex) -> Outcome {
        switch command {
        case .leaves(let volume, let epoch, let version, let node):
            return self.updateVolume(volume, epoch, version) { state, record in
                guard node != record.owner else { return "the owner cannot leave its own set" }
                if !record.inSync.contains(node) {
                    // Rule V3: the owner waited for a replica that was about to join; the new version ends its wait, and
                    // refuses the `joins` that may still be on its way.
                    record.version += 1
                    return nil
                }
                // Rule V4: the set is never emptied.
                guard record.inSync.count > 1 else { return "it is the last copy" }
                record.inSync.removeAll { $0 == node }
                record.version += 1
                state.note(.volume(volume, .leftSet(state.named(node), epoch)), at: index)
                return nil
            }
        case .joins(let volume, let epoch, let version, let node, let copy):
            return self.updateVolume(volume, epoch, version) { state, record in
                guard !record.inSync.contains(node) else { return "it is in the set already" }
                guard state.hasReplica(node, of: volume) else { return "its replica is in the configuration no more" }
                // Rule V18: the copy that was made equal is the one that the log knows.
                if let objection = record.objection(to: copy, of: node) { return .unfit(objection) }
                record.inSync.append(node)
                record.inSync.sort()
                record.note(epoch, of: [node])
                record.version += 1
                state.note(.volume(volume, .joinedSet(state.named(node), epoch)), at: index)
                return nil
            }
        case .opens(let volume, let epoch, let version, let inSync, let copies):
            return self.opens(volume, epoch, version, inSync, copies, at: index)
        case .yields(let volume, let epoch, let version): return self.yields(volume, epoch, version, at: index)
        case .acceptLoss(let volume, let epoch, let version, let node, let statement):
            return self.acceptLoss(volume, epoch, version, node, statement, at: index)
        case .copy(let volume, let identity, let node, let mark, let capacity, let against, let boot):
            return self.noteCopy(volume, identity, node, mark, capacity, against: against, boot: boot, at: index)
        case .lacks(let volume, let identity, let node, let copy):
            return self.lacks(volume, identity, node, copy, at: index)
        case .compare(let volume): return self.compare(volume)
        case .allowRepair(let volume, let epoch, let statement):
            return self.allowRepair(volume, epoch, statement, at: index)
        default:
            preconditionFailure("not about volumes: \(command)")
        }
    }

    /// The volume is about to be used, and who of the last set holds all of it. (Rules V7, V7.1)
    private mutating func opens(
        _ volume: VolumeName, _ epoch: Epoch, _ version: UInt64, _ inSync: [NodeID], _ copies: [UInt64],
        at index: LogIndex
    ) -> Outcome {
        self.updateVolume(volume, epoch, version) { state, record in
            // Rule V7: it adds replicas of the last set, and takes none away.
            guard record.inSync.allSatisfy({ inSync.contains($0) }) else { return "it would shrink the set" }
            let added = inSync.filter { !record.inSync.contains($0) }
            // Rule V7.1: with nobody added it says that from here on the owner may be alone in what it holds.
            guard !added.isEmpty || !record.former.isEmpty else { return "they are in the set already" }
            guard Set(inSync).count == inSync.count, added.allSatisfy({ state.hasReplica($0, of: volume) }) else {
                return "it names a node without a replica"
            }
            for (place, node) in inSync.enumerated() where added.contains(node) {
                let copy = place < copies.count ? copies[place] : 0
                if let objection = record.objection(to: copy, of: node) { return .unfit(objection) }
            }
            record.inSync = inSync.sorted()
            record.note(epoch, of: inSync)
            record.former = []
            record.version += 1
            if added.isEmpty { return nil }
            state.note(.volume(volume, .keptWrites(added.map { state.named($0) }, epoch)), at: index)
            return nil
        }
    }

    /// Rule V19: the owner found its copy behind another of the last set, and serves nobody.
    private mutating func yields(
        _ volume: VolumeName, _ epoch: Epoch, _ version: UInt64, at index: LogIndex
    ) -> Outcome {
        self.updateVolume(volume, epoch, version) { state, record in
            guard let owner = record.owner else { return "it has no owner" }
            // Only before the first change of the set and the start of the group: no client was answered under this epoch.
            guard (record.copy(of: owner)?.epoch ?? .none) < epoch else { return "it was in use under this epoch" }
            let isAlone = record.inSync == [owner]
            let others = isAlone ? record.former : record.inSync.filter { $0 != owner }
            guard !others.isEmpty else { return "there is no other copy to yield to" }
            let yielded = VolumeHappening.yielded(
                from: state.named(owner), to: others.map { state.named($0) }, epoch)
            state.note(.volume(volume, yielded), at: index)
            record.inSync = others
            record.copies.removeAll { $0.node == owner }
            record.former = []
            record.version += 1
            return nil
        }
    }

    private mutating func compare(_ volume: VolumeName) -> Outcome {
        guard let place = self.volumes.place(of: volume, by: \.name) else {
            return .refused(.unknown(.volume(volume)))
        }
        guard self.volumes[place].owner != nil else {
            return .refused("\(volume) has no owner now; start its group first")
        }
        self.volumes[place].comparisons += 1
        return .accepted
    }

    /// Rule V8: why the node's copy must not be promoted; nil if it may.
    public func dataObjection(_ volume: VolumeName, on node: NodeID) -> String? {
        guard let record = self.volume(volume), self.policy.volume(volume) != nil else {
            return "the volume \(volume) is not in the configuration"
        }
        // Rule V21.1: a replica that the policy has no more counts while none of those that it has holds every write.
        let isKept = record.holders.contains { self.hasReplica($0, of: volume) }
        guard self.hasReplica(node, of: volume) || !isKept && record.holders.contains(node) else {
            return "has no replica of \(volume)"
        }
        if record.epoch == .none { return nil }
        if let objection = self.recoveryObjection(record) { return objection }
        if record.holders.contains(node) {
            // Rule V20: a machine that booted may have come back with another disk, and who is given the volume then is all of
            // the set. Where it is not the last copy, it is looked at first.
            guard record.holders.count > 1, let copy = record.copy(of: node), let boot = self.node(node)?.bootID,
                copy.bootID != boot
            else { return nil }
            return "has not looked at its copy of \(volume) yet since it booted"
        }
        let holders = record.holders.map { self.name(of: $0) }.joined(separator: ", ")
        return "lacks writes of \(volume), which \(holders) holds"
    }

    func hasReplica(_ node: NodeID, of volume: VolumeName) -> Bool {
        self.policy.volume(volume)?.replicas.contains { $0.node == self.name(of: node) } ?? false
    }

    /// Rule V7: an unplanned promotion makes the set {new owner} in the same entry. Those of the set before stay known until
    /// the volume was opened: nobody was served since, so they lack nothing. (Rule V7.1)
    mutating func promote(_ volume: VolumeName, to node: NodeID, epoch: Epoch, isClean: Bool) {
        guard let place = self.volumes.place(of: volume, by: \.name) else { return }
        var record = self.volumes[place]
        precondition(epoch > record.epoch, "EpochMonotone: volume \(volume) \(epoch) after \(record.epoch)")
        precondition(
            record.epoch == .none || record.holders.contains(node), "NoStalePromotion: \(volume) on \(node)")
        self.grow(&record)
        if !isClean || record.epoch == .none || !record.former.isEmpty {
            record.former = record.holders.filter { $0 != node }
            record.inSync = [node]
        }
        record.epoch = epoch
        record.owner = node
        record.version += 1
        self.volumes[place] = record
    }

    private mutating func updateVolume(
        _ volume: VolumeName, _ epoch: Epoch, _ version: UInt64,
        _ change: (inout ClusterState, inout VolumeRecord) -> Refusal?
    ) -> Outcome {
        guard let place = self.volumes.place(of: volume, by: \.name) else {
            return .refused(.unknown(.volume(volume)))
        }
        var record = self.volumes[place]
        // Rule V4: refused when either the epoch or the set moved meanwhile.
        guard record.epoch == epoch, record.owner != nil else {
            return .refused(.over("\(volume): epoch \(epoch) is over, it is \(record.epoch) now"))
        }
        guard record.version == version else {
            return .refused(.over("\(volume): the set changed meanwhile (\(record.version), not \(version))"))
        }
        if let objection = change(&self, &record) { return .refused(objection.about("\(volume)")) }
        self.volumes[place] = record
        return .accepted
    }
}
