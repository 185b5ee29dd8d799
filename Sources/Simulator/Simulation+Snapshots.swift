import Basis
import Cluster
import Host
import Raft
import RaftStorage
import SimulatedDisks

/// Snapshots are written beside the log while everything else goes on: anything may happen meanwhile. (Rule C4)
extension Simulation {
    /// What happens next to a snapshot that is being written.
    enum SnapshotStage {
        /// It is written.
        case write
        /// The daemon hears what became of it.
        indirect case tell(SnapshotWord)
    }

    func keepLater(_ order: SnapshotOrder, of node: SimulatedNode, _ daemon: SimulatedDaemon) {
        precondition(daemon.snapshotOrder == nil, "\(node.name) writes two snapshots at once")
        daemon.snapshotOrder = order
        let written = max(self.now + self.snapshotDelay(), node.diskHangsUntil)
        self.queue.add(.snapshotStage(node, daemon, .write), at: written)
    }

    /// Mostly short, as the state is small; now and then as long as a large one takes on a slow disk.
    private func snapshotDelay() -> UInt64 {
        let isLong = self.options.hasFaults && self.snapshotRandom.chance(perMille: 300)
        return self.snapshotRandom.span(.milliseconds(1), isLong ? .seconds(4) : .milliseconds(20)).nanoseconds
    }

    func snapshot(_ node: SimulatedNode, _ daemon: SimulatedDaemon, _ stage: SnapshotStage) {
        guard node.isOn, node.daemon === daemon, let order = daemon.snapshotOrder, let log = node.log else {
            if !node.isOn || node.daemon !== daemon { self.count("snapshots that were cut short") }
            return
        }
        let next = max(node.scheduledFrom, node.diskHangsUntil)
        guard self.now >= next else { return self.queue.add(.snapshotStage(node, daemon, stage), at: next) }
        switch stage {
        case .write:
            // There is no room for it, and for a frame there is.
            if self.swarm.strikes(.disks), self.snapshotRandom.chance(perMille: 50) {
                node.disk.inject(.init(.write, path: "snapshot", code: .noSpace))
            }
            let word = order.perform(by: daemon.supervisor.identity.release) { try log.keep($0) }
            if case .failed(_, let reason) = word, !self.mayFail(order, of: node, reason) { return }
            self.queue.add(.snapshotStage(node, daemon, .tell(word)), at: self.now + self.snapshotDelay())
        case .tell(let word):
            daemon.snapshotOrder = nil
            self.step(node, .snapshot(word))
        }
    }

    /// Whether the daemon outlives it.
    private func mayFail(_ order: SnapshotOrder, of node: SimulatedNode, _ reason: String) -> Bool {
        guard self.swarm.has(.disks) else {
            self.fail("\(node.name) could not write the snapshot of \(order.mark): \(reason)")
            return false
        }
        guard node.disk.isPowered else {
            self.diskLostPower(node)
            return false
        }
        self.count("snapshots that could not be written")
        return true
    }
}
