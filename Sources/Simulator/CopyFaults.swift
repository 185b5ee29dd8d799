import Basis
import Cluster
import Mirror
import Resources

/// Copies that are lost, exchanged or put back, data and metadata together or each alone: one at a time, while all else is
/// well, so that no other failure excuses what is lost. (Rules V17 to V20)
extension Simulation {
    func harmCopies() {
        guard self.copyRandom.chance(perMille: 120) else { return }
        let holders = self.nodes.filter { !$0.volumes.isEmpty }
        let node = holders[Int(self.copyRandom.below(UInt64(holders.count)))]
        let place = node.volumes.count == 1 ? 0 : Int(self.copyRandom.below(UInt64(node.volumes.count)))
        let volume = node.volumes[place]
        guard volume.isWanted else { return }
        if volume.older == nil || self.copyRandom.chance(perMille: 300) {
            guard volume.core != nil else { return }
            volume.older = volume.copy
            // As a snapshot of the disk: what was not synced is not in it.
            volume.older?.current = volume.copy.stable
            return
        }
        guard self.isAllWell, self.isKnownFromOlder(volume) else { return }
        self.count("copies harmed")
        self.copiesHaveMet[volume.number] = false
        self.powerOff(node)
        self.harm(volume)
        self.queue.add(
            .powerOn(node.id), at: self.now + self.copyRandom.span(.milliseconds(500), .seconds(6)).nanoseconds)
        self.quietUntil = self.now + 30_000_000_000
    }

    /// An owner and all other copies of the volume are in contact: what was done to one of them has been noticed. While a
    /// group is stopped nobody compares its copies, and harm to a second one then is a second failure before the first is
    /// mended. (`docs/guarantees.md`, limits)
    func noteMeeting(_ volume: SimulatedVolume, at now: Tick) {
        guard !self.copiesHaveMet[volume.number], let core = volume.core, core.isOwner else { return }
        // One that was taken back is not mended before it was found out, and made equal. (Rule E4.2)
        let areTrusted = self.nodes.allSatisfy { node in
            node.volumes.allSatisfy { other in
                other.number != volume.number || !other.isWanted || other.core?.metadata.trusted ?? false
            }
        }
        guard areTrusted, self.now >= self.takenBackAt + 3_000_000_000 else { return }
        // A machine that was taken back takes itself for the owner that it was then.
        guard let record = self.checkers.history.state.volume(volume.name), record.owner == volume.node,
            record.epoch == core.metadata.epoch
        else { return }
        self.copiesHaveMet[volume.number] = core.status(at: now).peers.allSatisfy { $0.connected && $0.inSync }
    }

    /// The copy is told from the older state that it may be put back to: another start or epoch of it was noted since, or
    /// another copy has cleared a turn of marks that the older state did not note. What a copy loses that is put back by less
    /// than that, nobody can see. (`docs/guarantees.md`, limits)
    private func isKnownFromOlder(_ volume: SimulatedVolume) -> Bool {
        guard let older = volume.older?.metadata, let present = volume.copy.metadata else { return true }
        if older.starts.last != present.starts.last || older.epoch != present.epoch { return true }
        return older.count != present.count
            && self.nodes.contains { node in
                node.volumes.contains { other in
                    other.number == volume.number && other.node != volume.node
                        && other.copy.metadata?.clearedTurn ?? 0 > older.notedTurn
                }
            }
    }

    /// Nothing is broken, and every copy is in the set.
    private var isAllWell: Bool {
        return !self.network.isBroken && self.haveCopiesMet
            && self.nodes.allSatisfy { node in
                node.isOn && node.daemon?.supervisor.isAdmitted == true && self.now >= node.scheduledFrom
                    && node.daemon?.supervisor.state.volumes.allSatisfy { volume in
                        volume.inSync.count == volume.definition.replicas.count
                    } == true
            }
    }

    private func harm(_ volume: SimulatedVolume) {
        let older = volume.older ?? SimulatedCopy()
        let kind = self.copyRandom.below(7)
        self.note("the copy of \(volume.node) is harmed, kind \(kind)")
        switch kind {
        case 0:
            // The file is gone, or its file system is a new one.
            let metadata = volume.copy.metadata
            volume.copy = SimulatedCopy()
            volume.copy.metadata = metadata
        case 1: volume.copy = SimulatedCopy()
        case 2:
            let metadata = volume.copy.metadata
            volume.copy = older
            volume.copy.metadata = metadata
        case 3: volume.copy.metadata = older.metadata
        case 4: volume.copy = older
        case 5: volume.copy.metadata = nil
        default:
            // A disk of another copy of the volume.
            volume.copy.label?.identity = self.copyRandom.next() | 1
            for block in volume.copy.stable.indices { volume.copy.stable[block] = 0 }
            volume.copy.current = volume.copy.stable
        }
    }
}
