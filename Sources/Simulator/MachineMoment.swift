import Basis
import Cluster
import Raft
import RaftStorage
import Resources
import SimulatedDisks

/// A machine at one moment, with its memory and its disks, as a hypervisor keeps it: what was under way on the machine is in
/// it, what was under way on the network is not. (Rule E4)
struct MachineMoment {
    /// The lease as the run directory has it, and what became of it.
    fileprivate struct PublishedLease {
        let end: Tick
        let incarnation: Incarnation
        let sentAt: Tick
        let grace: Span
        let doubtSince: Tick
        let isFrozen: Bool
    }

    /// When it was taken.
    let takenAt: UInt64
    /// The boot clock then.
    let tick: Tick
    fileprivate let bootedAs: UInt64
    fileprivate let clock: SimulatedNode.ClockMoment
    fileprivate let disk: SimulatedDisk
    fileprivate let diskMoment: SimulatedDisk.Moment
    fileprivate let log: LogStore.Moment
    fileprivate let supervisor: Supervisor
    fileprivate let performer: Performer
    fileprivate let unwritten: [PersistRequest]
    fileprivate let snapshotOrder: SnapshotOrder?
    fileprivate let isSealed: Bool
    fileprivate let volumes: [SimulatedVolume.Moment]
    /// The connections of its volumes.
    fileprivate let links: [(owner: NodeID, replica: NodeID, volume: VolumeName)]
    // What runs, and what keeps an eye on it.
    fileprivate let lease: PublishedLease
    fileprivate let comparison: ClockComparison
    fileprivate let facts: Facts?
    fileprivate let progress: LogProgress?
    fileprivate let processes: [GroupName: [ResourceName: Epoch]]
    /// What is also needed to bring the machine back after a log of it was tampered with.
    fileprivate let mayLoseLog: Bool
}

extension Simulation {
    /// Keeps the machine as it is now; nil when something is under way there that only the queue of events knows.
    func moment(of node: SimulatedNode) -> MachineMoment? {
        guard node.isOn, self.now >= node.scheduledFrom, node.hiding(at: self.now) == nil, node.calls.isEmpty,
            let daemon = node.daemon, let log = node.log, daemon.supervisor.isAdmitted,
            daemon.supervisor.consensus.membership.voters.count > 1,
            node.volumes.allSatisfy({ $0.core != nil && $0.wantedBacking == $0.backing || !$0.isWanted }),
            !self.queue.contains(where: { self.concerns($0, node) })
        else { return nil }
        let links = node.volumes.flatMap { volume in
            self.links.all(of: node.id, volume.name).map { (owner: $0.owner, replica: $0.replica, volume: $0.volume) }
        }
        return MachineMoment(
            takenAt: self.now, tick: node.tick(at: self.now), bootedAs: node.bootedAs,
            clock: node.clockMoment(at: self.now), disk: node.disk, diskMoment: node.disk.moment, log: log.moment,
            supervisor: daemon.supervisor, performer: daemon.performer, unwritten: daemon.unwritten,
            snapshotOrder: daemon.snapshotOrder,
            isSealed: node.sealAt == .max, volumes: node.volumes.map(\.moment), links: links,
            lease: .init(
                end: node.leaseEnd, incarnation: node.leaseIncarnation, sentAt: node.leaseSentAt,
                grace: node.leaseGrace,
                doubtSince: node.doubtSince, isFrozen: node.isFrozen), comparison: node.comparison,
            facts: node.facts, progress: node.progress, processes: node.processes,
            mayLoseLog: node.mayLoseLog)
    }

    /// Whether an event is a message, or an end of something, on this very machine.
    private func concerns(_ event: Event, _ node: SimulatedNode) -> Bool {
        switch event {
        case .restartDaemon(let id, let boot), .killed(let id, let boot, _), .resume(let id, let boot),
            .doubtHeard(let id, let boot, _), .clockLook(let id, let boot), .shutDownLook(let id, let boot, _):
            id == node.id && boot == node.boot
        case .volumeControl(let volume, let server, _): volume.node == node.id && volume.server == server
        case .volumeEvent(let volume, let boot, _), .startServer(let volume, let boot):
            volume.node == node.id && boot == node.boot
        case .linkClosed(let link, let toOwner): (toOwner ? link.owner : link.replica) == node.id
        default: false
        }
    }

    /// The machine goes on from that moment: its hardware clock is right, its boot clock is not, and its connections are gone.
    func bringBack(_ node: SimulatedNode, to moment: MachineMoment) {
        self.note("\(node.name) is taken back by \(Span(nanoseconds: self.now - moment.takenAt)), with its memory")
        self.count("machines taken back with their memory")
        self.wishes.takenBack(node.id)
        for number in self.workloads.indices { self.workloads[number].exportEnded(node.id) }
        for volume in node.volumes { self.dropLinks(of: node.id, volume.name) }
        node.boot += 1
        node.bootedAs = moment.bootedAs
        node.isOn = true
        node.bringBackClock(moment.clock, at: self.now)
        node.pausedUntil = 0
        node.daemonPausedUntil = 0
        // The store closes its files when it goes: before the disk is what it was.
        node.daemon = nil
        node.log = nil
        node.disk = moment.disk
        node.disk.bringBack(moment.diskMoment)
        node.log = LogStore(moment.log)
        self.bringBackRunDirectory(node, moment)
        self.bringBackDaemon(node, moment)
        for (volume, then) in zip(node.volumes, moment.volumes) { self.bringBack(volume, then, on: node) }
        // What came since was not there then.
        for volume in node.volumes.dropFirst(moment.volumes.count) {
            volume.stop()
            for blocks in volume.disk.blocks.values { blocks.remove() }
            volume.disk.emptyLog()
            volume.absence = nil
            volume.isWanted = false
        }
        for link in moment.links { self.breakLater(link, of: node) }
        self.queue.add(.guardLook(node.id, boot: node.boot), at: self.now + self.revertRandom.below(250_000_000))
    }

    private func bringBackRunDirectory(_ node: SimulatedNode, _ moment: MachineMoment) {
        node.leaseEnd = moment.lease.end
        node.leaseIncarnation = moment.lease.incarnation
        node.leaseSentAt = moment.lease.sentAt
        node.leaseGrace = moment.lease.grace
        node.comparison = moment.comparison
        node.doubtSince = moment.lease.doubtSince
        node.isFrozen = moment.lease.isFrozen
        node.facts = moment.facts
        node.progress = moment.progress
        node.processes = moment.processes
        node.calls = [:]
        node.killedCalls = []
        node.mayLoseLog = moment.mayLoseLog
        node.guardDeadUntil = 0
    }

    private func bringBackDaemon(_ node: SimulatedNode, _ moment: MachineMoment) {
        let daemon = SimulatedDaemon(moment.supervisor)
        daemon.performer = moment.performer
        daemon.unwritten = moment.unwritten
        daemon.snapshotOrder = moment.snapshotOrder
        node.daemon = daemon
        node.guardShownAt = 0
        node.markAt = self.now + self.memoryRandom.span(.seconds(10), .seconds(200)).nanoseconds
        node.sealAt = moment.isSealed ? .max : self.now + 1_000_000_000
        node.wakeAt = .max
        self.checkers.takenBack(node, appliedUpTo: moment.supervisor.state.appliedIndex)
        if !daemon.unwritten.isEmpty {
            self.queue.add(.logWritten(node, daemon), at: self.now + self.revertRandom.below(100_000_000))
        }
        if daemon.snapshotOrder != nil {
            let later = self.snapshotRandom.below(1_000_000_000)
            self.queue.add(.snapshotStage(node, daemon, .write), at: self.now + later)
        }
        self.wake(node)
    }

    private func bringBack(_ volume: SimulatedVolume, _ moment: SimulatedVolume.Moment, on node: SimulatedNode) {
        volume.server += 1
        volume.bringBack(moment)
        // Whoever mended it since did so for a server that is gone: the one of then has failed, and somebody sees that anew.
        if moment.isToBeMended, !volume.isToBeMended { self.mendLater(volume) }
        volume.busyUntil = self.now
        for _ in 0..<volume.completions.count {
            volume.busyUntil += self.revertRandom.below(1_500_000)
            self.queue.add(.volumeDone(volume, server: volume.server), at: volume.busyUntil)
        }
        for peer in volume.dialling.sorted() {
            self.queue.add(
                .dial(volume, server: volume.server, peer: peer), at: self.now + self.revertRandom.below(200_000_000))
        }
        self.queue.add(
            .volumeTick(volume, server: volume.server), at: self.now + self.revertRandom.below(200_000_000))
    }

    /// The machine believes in a connection that its other end knows nothing of; the first packet, or a timer, ends that.
    private func breakLater(_ link: (owner: NodeID, replica: NodeID, volume: VolumeName), of node: SimulatedNode) {
        let isOwner = link.owner == node.id
        guard let owner = self.node(link.owner).volume(link.volume),
            let replica = self.node(link.replica).volume(link.volume)
        else { return }
        let ghost = self.links.addBroken(owner: owner, replica: replica, unlearnedByOwner: isOwner)
        let later = self.revertRandom.span(.milliseconds(1), .milliseconds(1500)).nanoseconds
        self.queue.add(.linkClosed(ghost, toOwner: isOwner), at: self.now + later)
        if isOwner {
            self.queue.add(.dial(owner, server: owner.server, peer: link.replica), at: self.now + later + 100_000_000)
        }
    }
}
