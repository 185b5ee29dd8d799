import Basis
import Resources

/// What a new configuration means for volumes that exist. (Rule V21)
///
/// A volume's definition in force follows the policy but for what is still needed: a replica that holds data stays until
/// another has all of it, a volume in use stays until it was closed, and a larger size waits for room.
extension ClusterState {
    /// Why the volumes cannot become what the policy says, one by one; empty if they can. (Rule K1)
    func refusedVolumes(to policy: ClusterPolicy) -> [RefusedChange] {
        self.volumes.compactMap { record in
            policy.volume(record.name).flatMap { self.refusal(of: $0, for: record) }
        }
    }

    private func refusal(of wanted: VolumePolicy, for record: VolumeRecord) -> RefusedChange? {
        func refused(_ key: String, _ reason: String, _ remedy: String) -> RefusedChange {
            RefusedChange(path: "volumes.\(record.name).\(key)", reason: reason, remedy: remedy)
        }
        if wanted.sizeBytes < record.definition.sizeBytes, record.epoch != .none || !record.copies.isEmpty {
            return refused(
                "size", "it has \(record.definition.sizeBytes) bytes and cannot shrink to \(wanted.sizeBytes)",
                "make a smaller volume of another name and copy the data")
        }
        guard record.epoch != .none else { return nil }
        // A copy keeps what it holds while its replica keeps its place.
        let kept = record.holders.filter { node in
            let name = self.name(of: node)
            guard let replica = wanted.replicas.first(where: { $0.node == name }),
                let before = record.definition.replicas.first(where: { $0.node == name })
            else { return false }
            return replica.backing == before.backing
        }
        if kept.isEmpty {
            let holders = record.holders.map { self.name(of: $0) }.joined(separator: ", ")
            return refused(
                "replicas", "no complete copy would remain (\(holders) holds it)",
                "add the new replica, or change one backing at a time, and wait until "
                    + "`holdfast volume status \(record.name)` says in sync")
        }
        if let owner = record.owner, !kept.contains(owner) {
            let node = self.name(of: owner)
            if wanted.replicas.contains(where: { $0.node == node }) {
                return refused(
                    "replicas.\(node).backing", "it cannot change while the volume is in use there",
                    "move its group to another node first")
            }
        }
        let isAnyReplaced = record.holders.contains { node in
            !kept.contains(node) && wanted.replicas.contains { $0.node == self.name(of: node) }
        }
        if isAnyReplaced, !kept.contains(where: { self.isSeen($0, of: record) }) {
            let holders = kept.map { self.name(of: $0) }.joined(separator: ", ")
            return refused(
                "replicas", "the complete copy that would remain (on \(holders)) was not seen since its node was away",
                "wait until `holdfast status` shows that node as up, or change one backing at a time")
        }
        return nil
    }

    /// What will happen to the volumes besides what the groups do, as sentences.
    public func volumeConsequences(of policy: ClusterPolicy) -> [String] {
        var found: [String] = []
        for record in self.volumes {
            guard let wanted = policy.volume(record.name) else {
                found.append(
                    "volume \(record.name) is let go once it is closed; its files stay, and no new volume uses them")
                continue
            }
            found += self.consequences(of: wanted, for: record)
        }
        return found
    }

    private func consequences(of wanted: VolumePolicy, for record: VolumeRecord) -> [String] {
        var found: [String] = []
        let name = record.name
        if wanted.sizeBytes > record.definition.sizeBytes, record.epoch != .none {
            let small = record.copies.filter { $0.capacityBytes < wanted.sizeBytes }.map { self.name(of: $0.node) }
            if !small.isEmpty {
                found.append(
                    "volume \(name) does not grow until the devices of \(small.joined(separator: ", ")) are larger")
            } else if record.growsInUse {
                found.append(
                    "volume \(name) grows to \(wanted.sizeBytes) bytes; who writes to it waits a moment for its servers"
                )
            } else {
                found.append(
                    "volume \(name) grows to \(wanted.sizeBytes) bytes when its group is stopped and started, or moves")
            }
        }
        for before in record.definition.replicas {
            let replica = wanted.replicas.first { $0.node == before.node }
            let node = self.node(named: before.node)?.id
            if replica == nil, let node, record.owner == node {
                found.append("volume \(name): the copy on \(before.node) goes once its group has moved")
            } else if replica == nil {
                found.append("volume \(name): the copy on \(before.node) goes; its file stays")
            } else if let replica, replica.backing != before.backing {
                found.append(
                    "volume \(name): \(before.node) leaves the in-sync set, and a new copy in \(replica.backing) is "
                        + "compared as a whole; until then the volume has one copy less")
            }
        }
        for replica in wanted.replicas where !record.definition.replicas.contains(where: { $0.node == replica.node }) {
            found.append("volume \(name): a new copy on \(replica.node) is compared as a whole, then joins")
        }
        return found
    }

    /// Takes the policy's volumes over. `refusedVolumes` was asked before.
    mutating func configureVolumes(_ policy: ClusterPolicy, at index: LogIndex) {
        for wanted in policy.volumes {
            guard let place = self.volumes.firstIndex(where: { $0.name == wanted.name }) else {
                self.volumes.append(VolumeRecord(wanted, identity: self.identity(at: index, wanted.name)))
                continue
            }
            var record = self.volumes[place]
            self.redefine(&record, as: wanted)
            self.volumes[place] = record
        }
        self.volumes.sort { $0.name < $1.name }
        self.tidyVolumes()
    }

    private func redefine(_ record: inout VolumeRecord, as wanted: VolumePolicy) {
        let before = record.definition
        record.definition.resyncBytesPerSecond = wanted.resyncBytesPerSecond
        if record.epoch == .none { record.definition.sizeBytes = max(before.sizeBytes, wanted.sizeBytes) }
        if record.epoch == .none, record.copies.isEmpty { record.definition.sizeBytes = wanted.sizeBytes }
        for replica in wanted.replicas {
            guard let old = before.replicas.first(where: { $0.node == replica.node }), old.backing != replica.backing,
                let node = self.node(named: replica.node)?.id
            else { continue }
            record.forget(node)
        }
        // Those that the policy has no more stay behind the others, until `tidyVolumes` lets them go.
        let retiring = before.replicas.filter { old in !wanted.replicas.contains { $0.node == old.node } }
        record.definition.replicas = wanted.replicas + retiring
    }

    /// Lets go of volumes that are in the policy no more and in nobody's use, and of replicas that it has no more and
    /// that nobody needs.
    mutating func tidyVolumes() {
        self.volumes.removeAll { self.policy.volume($0.name) == nil && $0.owner == nil }
        for place in self.volumes.indices {
            if self.volumes[place].owner != nil, self.volumes[place].growsInUse { self.grow(&self.volumes[place]) }
            guard let wanted = self.policy.volume(self.volumes[place].name),
                self.volumes[place].definition.replicas.count > wanted.replicas.count
            else { continue }
            for replica in self.volumes[place].definition.replicas
            where !wanted.replicas.contains(where: { $0.node == replica.node }) {
                self.retire(replica, at: place, wanted)
            }
        }
    }

    private mutating func retire(_ replica: VolumePolicy.Replica, at place: Int, _ wanted: VolumePolicy) {
        if let node = self.node(named: replica.node)?.id {
            let record = self.volumes[place]
            if record.owner == node { return }
            if record.epoch != .none, record.holders.contains(node) {
                // While there is an owner it asks for `leaves`; without one the others must have everything.
                let isKeptElsewhere = record.holders.contains { other in
                    other != node && self.isSeen(other, of: record)
                        && wanted.replicas.contains { $0.node == self.name(of: other) }
                }
                guard record.owner == nil, isKeptElsewhere else { return }
            }
            self.volumes[place].forget(node)
        }
        self.volumes[place].definition.replicas.removeAll { $0.node == replica.node }
    }

    /// Whether a copy that holds every write is there as far as anybody can know: its node is trusted, and has looked at it since
    /// it booted and since it had another log; whoever was given the volume had. (Rules V20, V21)
    func isSeen(_ node: NodeID, of record: VolumeRecord) -> Bool {
        guard let place = self.node(node), place.standing == .trusted else { return false }
        return record.owner == node || record.copy(of: node)?.bootID == place.bootID
    }

    /// A volume grows to what the policy says, if every copy has room. (Rule V21)
    func grow(_ record: inout VolumeRecord) {
        guard let wanted = self.policy.volume(record.name)?.sizeBytes, wanted > record.definition.sizeBytes,
            record.copies.allSatisfy({ $0.capacityBytes >= wanted })
        else { return }
        record.definition.sizeBytes = wanted
    }

    /// A volume's identity: another one for each definition, the same on every node.
    private func identity(at index: LogIndex, _ name: VolumeName) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325 ^ self.clusterID
        for byte in name.rawValue.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        hash = (hash ^ index.rawValue) &* 0x9E37_79B9_7F4A_7C15
        hash ^= hash >> 29
        return hash == 0 ? 1 : hash
    }
}
