import Basis
import Cluster
import Host
import Raft
import RaftStorage
import SimulatedDisks

/// Disks of logs that fail, are full, hang, or lose power in the middle of a write. (NothingAcknowledgedIsLost)
extension Simulation {
    /// After so long without an answer of the disk its daemon ends. (`Daemon/Processes/DiskProbe.swift`)
    private static let patienceNanoseconds: UInt64 = 5_000_000_000

    func breakDisk(of node: SimulatedNode) {
        guard node.isOn, node.daemon != nil, node.log != nil, self.living.allSatisfy({ self.now >= $0.diskBadUntil })
        else { return }
        self.faultAt = self.now
        let length = self.swarm.random.span(.milliseconds(50), .seconds(20)).nanoseconds
        self.queue.add(.swarm(.diskMended(node)), at: self.now + length)
        switch self.swarm.random.below(4) {
        case 0:
            self.note("\(node.name) has a disk that hangs")
            self.count("disks that hang")
            node.diskHangsUntil = self.now + length
            node.diskBadUntil = node.diskHangsUntil
        case 1:
            self.note("\(node.name) loses power during a write")
            self.count("power losses during a write")
            node.disk.powerFailsAt = node.disk.operations + 1 + Int(self.swarm.random.below(6))
        case 2:
            let room = Int(self.swarm.random.below(600))
            self.note("\(node.name) has \(room) bytes left on its disk")
            self.count("disks that were full")
            node.disk.capacity = node.disk.used + room
            node.diskBadUntil = self.now + length
        default:
            let operations: [DiskOperation?] = [nil, .write, .synchronize, .rename, .synchronizeDirectory]
            let fault = SimulatedDisk.Fault(
                operations[Int(self.swarm.random.below(UInt64(operations.count)))],
                skipping: Int(self.swarm.random.below(4)),
                count: self.swarm.random.chance(perMille: 500) ? 1 : 1000, code: .inputOutput)
            self.note("\(node.name) has a disk that fails: \(fault)")
            self.count("disks that failed")
            node.disk.inject(fault)
            node.diskFault = fault
            node.diskBadUntil = self.now + length
        }
    }

    /// The disk works again, unless something else has happened to it since.
    func mendDisk(of node: SimulatedNode) {
        guard self.now >= node.diskBadUntil else { return }
        node.disk.capacity = .max
        node.disk.heal()
        node.diskFault = nil
    }

    /// Part of `healEverything`.
    func endSwarmFaults(of node: SimulatedNode) {
        guard !self.swarm.isEmpty else { return }
        (node.diskBadUntil, node.diskHangsUntil) = (
            min(node.diskBadUntil, self.now), min(node.diskHangsUntil, self.now)
        )
        node.disk.powerFailsAt = nil
        self.mendDisk(of: node)
        guard self.now < node.guardDeadUntil else { return }
        node.guardDeadUntil = self.now
        if node.isOn { self.guardLook(node, node.boot) }
    }

    /// Before a daemon opens its log: what is wrong with the disk is still wrong.
    func meetDisk(of node: SimulatedNode) {
        if self.now >= node.diskBadUntil {
            self.mendDisk(of: node)
        } else if let fault = node.diskFault, fault.count > 1 {
            node.disk.inject(fault)
        }
    }

    /// The run directory may be behind the log. (Rule E2.4)
    func noteProgress(of log: LogStore, on node: SimulatedNode) {
        if self.swarm.strikes(.disks), node.progress != nil, self.swarm.random.chance(perMille: 100) { return }
        node.progress = log.progress
    }

    /// What becomes of a daemon whose log could not be written: it goes on for a moment, unless its machine does not. (Rule L5.2)
    func logFailed(_ error: any Error, of node: SimulatedNode) -> LogAnswer {
        guard self.swarm.has(.disks), let daemon = node.daemon else {
            self.fail("\(node.name) could not persist: \(error)")
            return .later
        }
        guard node.disk.isPowered else {
            self.diskLostPower(node)
            return .later
        }
        self.note("\(node.name) cannot write its log: \(error)")
        let words = self.now + self.swarm.random.span(.milliseconds(1), .milliseconds(300)).nanoseconds
        self.queue.add(.swarm(.diskEnds(node, daemon)), at: words)
        return .failed
    }

    /// The whole machine has.
    func diskLostPower(_ node: SimulatedNode) {
        self.powerOff(node)
        self.queue.add(
            .powerOn(node.id), at: self.now + self.swarm.random.span(.milliseconds(300), .seconds(15)).nanoseconds)
    }

    /// Such a daemon ends, and is started again until its log can be opened.
    func endDaemon(_ node: SimulatedNode, _ daemon: SimulatedDaemon, _ reason: String) {
        guard node.isOn, node.daemon === daemon else { return }
        guard self.now >= node.pausedUntil else {
            return self.queue.add(.swarm(.diskEnds(node, daemon)), at: node.pausedUntil)
        }
        self.note("\(node.name) ends its daemon: it \(reason)")
        self.stopDaemon(node)
        self.startLater(node)
    }

    func startLater(_ node: SimulatedNode) {
        let pause = self.swarm.random.span(.milliseconds(100), .seconds(2)).nanoseconds
        self.queue.add(.restartDaemon(node.id, boot: node.boot), at: self.now + pause)
    }

    /// How long the disk hangs from now on.
    func hangs(_ node: SimulatedNode, _ daemon: SimulatedDaemon) -> UInt64? {
        guard self.now < node.diskHangsUntil else { return nil }
        self.queue.add(.swarm(.diskPatience(node, daemon)), at: self.now + Self.patienceNanoseconds)
        return node.diskHangsUntil - self.now
    }

    func losePatience(_ node: SimulatedNode, _ daemon: SimulatedDaemon) {
        guard node.isOn, node.daemon === daemon, !daemon.unwritten.isEmpty, self.now < node.diskHangsUntil else {
            return
        }
        self.count("daemons that lost patience with a disk")
        self.endDaemon(node, daemon, "has waited for its disk long enough")
    }
}
