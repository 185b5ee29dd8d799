import Basis
import Cluster
import CopyStorage
import Host
import Mirror
import Raft
import Resources
import SimulatedDisks

/// A copy that comes back as another one while no other copy is there to ask: only the log can tell then.
struct CopyOutage {
    var volume: SimulatedVolume
    /// What the copy was some time ago.
    var image: SimulatedVolume.DiskMoment
    /// How long all must be well for a moment, for it to happen.
    var until: UInt64
}

/// All holders of a volume lose power together. One of them is exchanged, or put back to what it was, and is the first to
/// come back. None of the others lacks anything: it is one failure, and nothing may be lost. (Rules V17, V18, V20)
extension Simulation {
    /// Somebody keeps an image of a copy, and something happens that the image lacks.
    func imageCopy() {
        guard self.options.hasFaults, self.now < self.options.length.nanoseconds, !self.swarm.isOver else { return }
        let pause = self.swarm.random.span(.seconds(8), .seconds(20) + self.swarm.longestPause).nanoseconds
        self.queue.add(.swarm(.imageCopy), at: self.now + pause)
        let volumes = self.living.filter(\.isOn).flatMap(\.volumes).filter { $0.isWanted && $0.core != nil }
        guard self.now >= self.quietUntil, !volumes.isEmpty else { return }
        let volume = volumes[Int(self.swarm.random.below(UInt64(volumes.count)))]
        let outage = CopyOutage(volume: volume, image: volume.image, until: self.now + 40_000_000_000)
        self.faultAt = self.now
        switch self.swarm.random.below(6) {
        case 0, 1, 2:
            let holders = self.living.filter { $0.volume(volume.name)?.isWanted == true }
            self.operate(.move(volume.group, to: holders[Int(self.swarm.random.below(UInt64(holders.count)))].id))
        case 3, 4: self.stopServer(volume, on: self.node(volume.node))
        default: break
        }
        let later = self.swarm.random.span(.seconds(1), .seconds(12)).nanoseconds
        self.queue.add(.swarm(.outage(outage)), at: self.now + later)
    }

    func losePower(_ outage: CopyOutage) {
        guard self.now < min(outage.until, self.options.length.nanoseconds), !self.swarm.isOver else { return }
        let volume = outage.volume
        let others = self.living.filter { node in
            node.id != volume.node && node.volume(volume.name)?.isWanted == true
        }
        guard volume.backing == outage.image.backing else { return }
        // What was asked for while the network was broken may be on its way still: a copy that leaves the set then is another
        // failure.
        guard self.now >= self.quietUntil, self.now >= self.healedAt + 3_000_000_000, volume.isWanted, self.isAllWell,
            self.isMajority(without: others), self.isKnownToTheLog(outage)
        else { return self.queue.add(.swarm(.outage(outage)), at: self.now + 500_000_000) }
        self.count("copies exchanged while all others were away")
        self.faultAt = self.now
        self.copiesHaveMet[volume.number] = false
        let first = self.now + self.swarm.random.span(.milliseconds(100), .seconds(3)).nanoseconds
        var last = first
        for other in others {
            self.powerOff(other)
            let back = first + self.swarm.random.span(.milliseconds(500), .seconds(25)).nanoseconds
            self.queue.add(.powerOn(other.id), at: back)
            last = max(last, back)
        }
        self.powerOff(self.node(volume.node))
        self.exchange(volume, with: outage.image)
        self.queue.add(.powerOn(volume.node), at: first)
        self.quietUntil = last + 15_000_000_000
    }

    private func exchange(_ volume: SimulatedVolume, with image: SimulatedVolume.DiskMoment) {
        volume.older = image
        let kind = self.swarm.random.below(10)
        self.note("all copies of \(volume.name) lost power; that of \(volume.node) is exchanged, kind \(kind)")
        switch kind {
        // Blank disks, with the metadata or without.
        case 0, 1: volume.copy.blank()
        case 2:
            volume.copy.blank()
            volume.disk.emptyLog()
        case 3: volume.copy.remove()
        case 4: volume.bringBackContent()
        case 6: self.putAnother(volume)
        case 5: volume.bringBackMetadata()
        default:
            volume.bringBackContent()
            volume.bringBackMetadata()
        }
    }

    /// A copy of this very volume and node that was made another time lies there, and has lived as long.
    private func putAnother(_ volume: SimulatedVolume) {
        guard let known = volume.storedMetadata else { return }
        volume.bringBackContent()
        var label = CopyLabel(known, node: volume.node)
        label.identity = self.swarm.random.next()
        do { try volume.copy.put(label, at: SimulatedVolume.sizeBytes) } catch { self.fail("another copy: \(error)") }
    }

    /// Those that stay elect a leader, and so know what the log says.
    private func isMajority(without others: [SimulatedNode]) -> Bool {
        guard let leader = self.nodes.first(where: { $0.daemon?.supervisor.consensus.isLeader == true }),
            let membership = leader.daemon?.supervisor.consensus.membership, !membership.isJoint
        else { return false }
        let staying = membership.voters.filter { voter in !others.contains { $0.id == voter } }
        return staying.count > membership.voters.count / 2
    }

    /// A start or an epoch of the copy that the image lacks is in the log. What a copy loses that is put back by less than
    /// that, only another copy can tell. (`docs/guarantees.md`, limits)
    private func isKnownToTheLog(_ outage: CopyOutage) -> Bool {
        guard let said = outage.image.said,
            let known = self.checkers.history.state.volume(outage.volume.name)?.copy(of: outage.volume.node)
        else { return false }
        return said.identity != known.identity || !said.starts.contains(known.mark) || said.epoch < known.epoch
    }
}
