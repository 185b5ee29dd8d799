import Basis
import Cluster
import Host
import Mirror
import Resources
import SimulatedDisks

/// Copies that are lost, exchanged or put back, data and metadata together or each alone: one at a time, while all else is
/// well, so that no other failure excuses what is lost. (Rules V17 to V20)
extension Simulation {
    func harmCopies() {
        guard self.copyRandom.chance(perMille: 120) else { return }
        let holders = self.living.filter { !$0.volumes.isEmpty }
        let node = holders[Int(self.copyRandom.below(UInt64(holders.count)))]
        let place = node.volumes.count == 1 ? 0 : Int(self.copyRandom.below(UInt64(node.volumes.count)))
        let volume = node.volumes[place]
        guard volume.isWanted else { return }
        if volume.older == nil || self.copyRandom.chance(perMille: 300) {
            guard volume.core != nil else { return }
            volume.older = volume.image
            return
        }
        guard self.isAllWell, self.isKnownFromOlder(volume) else { return }
        self.count("copies harmed")
        self.copiesHaveMet[volume.number] = false
        if volume.core != nil, self.copyRandom.chance(perMille: 350) {
            self.breakDisks(of: volume)
        } else {
            self.powerOff(node)
            self.harm(volume)
            self.queue.add(
                .powerOn(node.id), at: self.now + self.copyRandom.span(.milliseconds(500), .seconds(6)).nanoseconds)
        }
        self.quietUntil = self.now + 30_000_000_000
    }

    /// An owner and all other copies of the volume are in contact: what was done to one of them has been noticed. While a
    /// group is stopped nobody compares its copies, and harm to a second one then is a second failure before the first is
    /// mended. (`docs/guarantees.md`, limits)
    func noteMeeting(_ volume: SimulatedVolume, at now: Tick) {
        guard !self.copiesHaveMet[volume.number], let core = volume.core, core.isOwner else { return }
        // One that was taken back is not mended before it was found out, and made equal (rule E4.2); nor is one whose disk has
        // failed already, and was not used since.
        let areTrusted = self.living.allSatisfy { node in
            node.volumes.allSatisfy { other in
                other.number != volume.number || !other.isWanted
                    || !other.isToBeMended && other.core?.metadata.trusted ?? false
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
        guard let older = volume.older?.said, let present = volume.storedMetadata else { return true }
        if older.starts.last != present.starts.last { return true }
        // What it has accepted since counts only where the log has noted that.
        let record = self.checkers.history.state.volume(volume.name)
        if let noted = record?.copy(of: volume.node)?.epoch, older.epoch < noted { return true }
        return older.count != present.count
            && self.living.contains { node in
                node.volumes.contains { other in
                    other.number == volume.number && other.node != volume.node
                        && other.storedMetadata?.clearedTurn ?? 0 > older.notedTurn
                }
            }
    }

    /// Nothing is broken, and every copy is in the set.
    var isAllWell: Bool {
        !self.network.isBroken && self.haveCopiesMet && !self.areReplicasChanging
            && self.living.allSatisfy { node in
                node.isOn && node.daemon?.supervisor.isAdmitted == true && self.now >= node.scheduledFrom
                    && node.daemon?.supervisor.state.volumes.allSatisfy { volume in
                        volume.inSync.count == volume.definition.replicas.count
                    } == true
            }
    }

    /// What happens to a copy while its machine is off.
    private func harm(_ volume: SimulatedVolume) {
        let kind = self.copyRandom.below(10)
        self.note("the copy of \(volume.node) is harmed, kind \(kind)")
        switch kind {
        // The file is gone, or its file system is a new one; the metadata went with it, or not.
        case 0: volume.copy.remove()
        case 1:
            volume.copy.remove()
            volume.disk.emptyLog()
        case 2: volume.bringBackContent()
        case 3: volume.bringBackMetadata()
        case 4:
            volume.bringBackContent()
            volume.bringBackMetadata()
        case 5: volume.disk.emptyLog()
        case 6: self.exchange(volume)
        case 7:
            // Two nodes' disks changed places: an operator sees what the server says, and clears this one.
            let others = self.living.flatMap(\.volumes).filter { $0.name == volume.name && $0.node != volume.node }
            guard let other = others.first else { return }
            volume.copy.content = other.copy.content
            volume.copy.content.current = volume.copy.content.stable
            volume.isToBeCleared = true
            self.mendLater(volume)
        case 8:
            // The file was cut short: its label is gone.
            volume.copy.content.tail = []
            volume.isToBeCleared = true
            self.mendLater(volume)
        default:
            volume.copy.isMounted = false
            self.mendLater(volume)
        }
    }

    /// Another, new copy of this very volume and node lies there.
    private func exchange(_ volume: SimulatedVolume) {
        let other = SimulatedVolume(
            name: volume.name, number: volume.number, node: volume.node, peers: volume.peers)
        other.identity = volume.identity
        if let failure = other.renew(&self.copyRandom) { self.fail("another copy could not be made: \(failure)") }
        volume.copy.content = other.copy.content
    }

    /// What happens to a copy that is in use.
    private func breakDisks(of volume: SimulatedVolume) {
        self.count("disks of copies broken")
        let kind = self.copyRandom.below(6)
        self.note("the disks of the copy of \(volume.node) fail, kind \(kind)")
        let always = Int(UInt32.max)
        switch kind {
        case 0: volume.disk.inject(.init(nil, count: always, code: .inputOutput))
        case 1: volume.disk.inject(.init(.write, count: always, code: .noSpace))
        case 2: volume.disk.inject(.init(.synchronize, count: 1, code: .inputOutput))
        case 3: volume.copy.failure = DiskErrorCode.inputOutput.rawValue
        case 4: volume.copy.failure = DiskErrorCode.noSpace.rawValue
        default:
            // A disk that hangs: whatever is asked of it takes its time.
            volume.busyUntil =
                max(volume.busyUntil, self.now) + self.copyRandom.span(.milliseconds(200), .seconds(12)).nanoseconds
            return
        }
        self.mendLater(volume)
    }

    func mendLater(_ volume: SimulatedVolume) {
        volume.isToBeMended = true
        let pause = self.copyRandom.span(.seconds(1), .seconds(15)).nanoseconds
        self.queue.add(.copyMended(volume), at: self.now + pause)
    }

    /// Somebody mounts the file system, clears what is not overwritten, or puts in a disk that works, and starts the server.
    func mendCopy(_ volume: SimulatedVolume) {
        let node = self.node(volume.node)
        if node.isOn, self.now < node.pausedUntil { return self.queue.add(.copyMended(volume), at: node.pausedUntil) }
        self.note("the disks of the copy of \(volume.node) are mended")
        volume.isToBeMended = false
        for blocks in volume.disk.blocks.values { (blocks.isMounted, blocks.failure) = (true, 0) }
        volume.disk.heal()
        if volume.isToBeCleared, volume.core == nil { volume.copy.remove() }
        volume.isToBeCleared = false
        guard node.isOn else { return }
        if volume.absence != nil { self.lookAgain(volume, on: node) } else { self.stopServer(volume, on: node) }
    }
}
