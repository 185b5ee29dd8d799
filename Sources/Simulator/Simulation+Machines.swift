import Basis
import Cluster
import Raft
import RaftStorage
import Resources
import SimulatedDisks

/// Machines going on and off, daemons starting and stopping, the guard, and the founding of the cluster.
extension Simulation {
    static let clusterIdentity = "simulated"

    func setUp() {
        let count = self.options.nodes ?? [3, 3, 3, 3, 4, 5][Int(self.random.below(6))]
        for number in 1...count {
            let id = NodeID(UInt32(number))
            let isWitness = number == count && count % 2 == 1 && self.random.chance(perMille: 600)
            // Beyond those that can have a vote every second node is one that never gets one.
            let isObserver = number > 7 && number % 2 == 0
            let role: NodeRole = isWitness ? .witness : isObserver ? .observer : .member
            let node = SimulatedNode(id: id, name: "node-\(number)", role: role)
            self.nodes.append(node)
        }
        self.open = [Int](repeating: 0, count: count)
        let members = self.nodes.filter { !$0.isWitness }
        self.addVolume(Self.volume, to: Array(members.prefix(2 + Int(self.random.below(2)))))
        self.drawStage(members)
        self.drawHardwareClocks()
        if self.random.chance(perMille: 500) { self.longestFaultPause = .seconds(60) }
        if self.swarm.has(.joins) {
            self.scheduleJoins(Array(self.nodes.suffix(1 + Int(self.swarm.random.below(UInt64(count) - 2)))))
        }
        self.found()
        for node in self.nodes { self.powerOn(node, isFirst: true) }
        self.queue.add(.workload, at: 1_000_000_000)
        if self.options.hasEdits { self.queue.add(.edit, at: 15_000_000_000) }
        if self.options.hasShutDowns { self.queue.add(.shutDown, at: 25_000_000_000) }
    }

    /// The first node's log: membership, bootstrap, the other nodes, and the policy.
    private func found() {
        let members = self.nodes.filter { !$0.isWitness }.map(\.name)
        let holders = self.nodes.filter { $0.volume(Self.volume) != nil }
        func resource(_ name: String, _ agent: String, _ volume: String? = nil) -> ResourcePolicy {
            ResourcePolicy(
                name: ResourceName(name), agent: agent, parameters: volume.map { [.init("volume", $0)] } ?? [],
                startTimeout: .seconds(10), stopTimeout: .seconds(5), monitorInterval: .seconds(5),
                monitorTimeout: .seconds(2))
        }
        let policy = ClusterPolicy(
            name: "simulated", timing: self.drawTiming(),
            volumes: [
                VolumePolicy(
                    name: Self.volume, sizeBytes: SimulatedVolume.sizeBytes,
                    replicas: holders.map { .init(node: $0.name, backing: "/v", address: "a:1") })
            ],
            groups: [
                GroupPolicy(
                    name: Self.group, nodes: holders.map(\.name),
                    failback: self.random.chance(perMille: 300), maximumMoves: 100_000,
                    resources: [
                        resource("disk", "volume", Self.volume.rawValue), resource("fs", "filesystem"),
                        resource("db", "exec"), resource("ip", "address"),
                    ]),
                GroupPolicy(
                    name: Self.quickGroup, nodes: members.reversed(), takeover: .immediate, maximumMoves: 100_000,
                    resources: [resource("app", "exec")]),
            ])
        var commands: [Command] = []
        for (place, node) in self.nodes.enumerated() where node.isPresent {
            let about = self.about(node)
            commands.append(
                place == 0
                    ? .bootstrap(clusterID: 1, clusterName: "simulated", node: about) : .addNode(about))
        }
        // What some features' operators ask for needs all that this release can do. (Rule U1)
        if self.swarm.has(.pauses) || self.swarm.has(.sites) {
            let levels = (FeatureLevel.first.rawValue + 1)..<(Release.present.level.rawValue + 1)
            commands += levels.map { .raise(FeatureLevel($0), counting: self.nodes.filter(\.isPresent).map(\.id)) }
        }
        commands.append(.configure(self.edited(self.staged(policy)), text: "", expectedIndex: .zero))
        let first = NodeID(1)
        var entries = [
            Entry(
                mark: LogMark(term: Term(1), index: LogIndex(1)), payload: .membership(Membership(voters: [first])))
        ]
        for command in commands {
            let index = LogIndex(UInt64(entries.count) + 1)
            let log = LogCommand(
                origin: first, nonce: 0, sequence: 0, clusterMilliseconds: 0, wallMilliseconds: 0, command: command)
            entries.append(Entry(mark: LogMark(term: Term(1), index: index), payload: .command(log.encoded)))
        }
        let node = self.node(first)
        let opened = try? LogStore.open(
            directory: "log", on: node.disk, identity: self.logIdentity(node), draw: self.drawStart(node))
        guard let (store, _) = opened else { return self.fail("the first log could not be founded") }
        let request = PersistRequest(
            sequence: 1, entries: entries,
            hardState: HardState(term: Term(1), votedFor: first, commit: LogIndex(UInt64(entries.count))))
        do { try store.persist(request) } catch { self.fail("the first log could not be written: \(error)") }
        store.close()
        node.disk.restartProcess()
    }

    /// The default times, or others that an operator may configure. (Rule L13)
    private func drawTiming() -> Timing {
        guard self.random.chance(perMille: 500) else { return .standard }
        while true {
            let timing = Timing(
                leaseDuration: self.random.span(.milliseconds(1500), .seconds(6)),
                leaseGrace: self.random.span(.milliseconds(500), .seconds(2)),
                renewalInterval: self.random.span(.milliseconds(100), .milliseconds(600)),
                detection: self.random.span(.milliseconds(400), .seconds(3)), clockRateErrorPartsPerMillion: 1000,
                guardKill: .milliseconds(500), daemonRestart: .seconds(1))
            if timing.problems.isEmpty { return timing }
        }
    }

    private func logIdentity(_ node: SimulatedNode) -> LogIdentity {
        LogIdentity(cluster: Self.clusterIdentity, node: node.id)
    }

    func powerOn(_ node: SimulatedNode, isFirst: Bool = false) {
        guard node.isPresent, !node.isGone, isFirst || !node.isOn else { return }
        node.isOn = true
        node.boot += 1
        node.bootedAs = node.boot
        let rate = self.drawClockRate()
        node.setClock(
            at: self.now, offset: 1_000_000_000 + self.random.below(1_000_000_000_000), ratePartsPerMillion: rate)
        node.pausedUntil = 0
        node.daemonPausedUntil = 0
        node.guardDeadUntil = 0
        node.leaseEnd = .zero
        node.leaseIncarnation = .none
        node.facts = nil
        node.progress = nil
        node.processes = [:]
        node.calls = [:]
        node.killedCalls = []
        self.disturb()
        self.note("\(node.name) boots (boot \(node.boot), clock \(rate) ppm)")
        self.queue.add(.guardLook(node.id, boot: node.boot), at: self.now + 1_000_000)
        self.startDaemon(node)
    }

    private func drawClockRate() -> Int64 {
        let rate = Int64(self.random.below(1001)) - 500
        guard self.swarm.has(.clocks) else { return rate }
        let bound = Int64(1000)
        return self.swarm.random.chance(perMille: 600) ? (rate < 0 ? -bound : bound) : rate * 2
    }

    func powerOff(_ node: SimulatedNode) {
        guard node.isOn else { return }
        self.disturb()
        self.note("\(node.name) loses power")
        self.count("power losses")
        node.isOn = false
        node.daemon = nil
        node.log = nil
        node.processes = [:]
        node.calls = [:]
        node.killedCalls = []
        node.disk.crash(random: &self.random)
        for volume in node.volumes {
            self.dropLinks(of: node.id, volume.name)
            volume.losePower(&self.random)
        }
        for number in self.workloads.indices { self.workloads[number].nodeLostPower(node.id, at: self.now) }
        self.wishes.daemonEnded(node.id)
    }

    func startDaemon(_ node: SimulatedNode) {
        // A machine that stands still starts nothing.
        guard self.now >= node.pausedUntil else {
            return self.queue.add(.restartDaemon(node.id, boot: node.boot), at: node.pausedUntil)
        }
        guard self.now >= node.diskHangsUntil else {
            return self.queue.add(.restartDaemon(node.id, boot: node.boot), at: node.diskHangsUntil)
        }
        if self.swarm.has(.disks) { self.meetDisk(of: node) }
        let tick = node.tick(at: self.now)
        do {
            let (store, restored) = try self.openLog(node)
            node.log = store
            self.noteProgress(of: store, on: node)
            let identity = Supervisor.Identity(
                node: node.id, bootID: node.bootID, memory: store.memory, nonce: self.random.next(),
                generation: node.generation)
            let facts = node.facts
            if facts == nil { node.processes = [:] }
            node.daemon = SimulatedDaemon(
                try Supervisor(
                    identity: identity, settings: self.consensusSettings, restored: restored, facts: facts,
                    leaseEnd: node.leaseEnd, seed: self.random.next(), at: tick))
            self.disturb()
            self.note("\(node.name) daemon starts (\(store.memory.present), log \(restored.entries.count))")
            self.checkers.restarted(node, restored, in: self)
        } catch StorageError.disk(let error) where self.swarm.has(.disks) {
            self.note("\(node.name) cannot open its log: \(error)")
            let isPowered = node.disk.isPowered
            node.disk.restartProcess()
            guard !isPowered else { return self.startLater(node) }
            self.powerOff(node)
            return self.queue.add(.powerOn(node.id), at: self.now + 1_000_000_000)
        } catch {
            self.fail("\(node.name) cannot start: \(error)")
            return
        }
        node.wakeAt = .max
        node.guardShownAt = 0
        node.markAt = self.now + self.memoryRandom.span(.seconds(10), .seconds(200)).nanoseconds
        if node.isInDoubt { self.step(node, .doubt(since: node.doubtSince, nonce: nil)) }
        self.step(node, .tick)
        for volume in node.volumes where volume.core != nil || volume.absence != nil {
            self.step(node, .volumeConnected(volume.name))
        }
    }

    /// As the daemon does: a log that is damaged, or not what it was, is kept aside.
    private func openLog(_ node: SimulatedNode) throws(StorageError) -> (LogStore, RestoredState) {
        do throws(StorageError) {
            let opened = try LogStore.open(
                directory: "log", on: node.disk, identity: self.logIdentity(node), draw: self.drawStart(node),
                resuming: node.progress, segmentBytes: self.segmentBytes)
            node.mayLoseLog = false
            return opened
        } catch {
            switch error {
            case .corrupt, .forgotten: break
            case .disk, .locked, .otherCluster, .otherNode, .newerFormat, .poisoned: throw error
            }
            guard node.mayLoseLog else { throw error }
            self.note("\(node.name) sets its log aside: \(error)")
            self.count("logs set aside")
            self.checkers[model: node.id].harmed(node.id)
        }
        node.disk.emptyLog()
        node.progress = nil
        return try LogStore.open(
            directory: "log", on: node.disk, identity: self.logIdentity(node), draw: self.drawStart(node),
            segmentBytes: self.segmentBytes)
    }

    /// From a few entries to all that a short run writes: what a start reads, and where a snapshot lets go of files.
    private var segmentBytes: Int { self.swarm.isEmpty ? 8 << 20 : 4096 << Int(self.options.seed >> 2 & 7) }

    /// What a start of a log draws: from a stream of its own, so that it changes nothing else of a run.
    private func drawStart(_ node: SimulatedNode) -> StartDraw {
        StartDraw(
            directory: DirectoryID(high: self.memoryRandom.next(), low: self.memoryRandom.next()),
            random: self.memoryRandom.next(), bootID: node.bootID)
    }

    /// Rule E2.2: the daemon has found that its log was rolled back, keeps it aside, and is started anew.
    func forget(_ node: SimulatedNode, _ reason: String) {
        self.note("\(node.name) has forgotten: \(reason)")
        self.count("logs set aside")
        self.checkers[model: node.id].harmed(node.id)
        node.disk.emptyLog()
        node.progress = nil
        self.stopDaemon(node)
        // The guard looks at the lease, whatever the daemon does.
        if node.leaseEnd == .zero { self.queue.add(.clockLook(node.id, boot: node.boot), at: self.now + 200_000_000) }
        self.queue.add(.restartDaemon(node.id, boot: node.boot), at: self.now + 100_000_000)
    }

    func stopDaemon(_ node: SimulatedNode) {
        guard node.isOn, node.daemon != nil else { return }
        self.disturb()
        self.note("\(node.name) daemon is killed")
        self.count("daemon kills")
        node.daemon = nil
        node.log = nil
        self.wishes.daemonEnded(node.id)
        // Calls die with the daemon; what they had started keeps running.
        for (_, call) in node.calls where call.action == .start {
            node.processes[call.group, default: [:]][call.resource.name] = call.epoch
        }
        node.calls = [:]
        node.killedCalls = []
        node.disk.restartProcess()
    }

    // MARK: The guard (rule L12)

    func guardLook(_ node: SimulatedNode, _ boot: UInt64) {
        guard node.isOn, node.boot == boot else { return }
        guard self.now >= node.pausedUntil else {
            // Its timers stand still with a machine that was stopped from outside.
            let shift = node.hiding(at: self.now).map { $0.until - $0.from }
            self.queue.add(.guardLook(node.id, boot: boot), at: shift.map { self.now + $0 } ?? node.pausedUntil)
            return
        }
        // Who looks late, or not at all, lets nothing begin. (Rule L12)
        guard self.now >= node.guardDeadUntil else {
            return self.queue.add(.guardLook(node.id, boot: boot), at: node.guardDeadUntil)
        }
        let tick = node.tick(at: self.now)
        self.compareClocks(node)
        self.guardKill(node, at: tick)
        // Sleeps until the lease could end; that it is scheduled late now and then is part of K.
        let late =
            self.swarm.has(.guards)
            ? self.swarm.random.below(self.swarm.guardLatenessNanoseconds + 1) : self.random.below(30_000_000)
        let end = node.lastEnd > tick ? node.time(of: node.lastEnd) : self.now + 50_000_000
        self.queue.add(.guardLook(node.id, boot: boot), at: min(end, self.now + 1_000_000_000) + late)
    }

    func guardKill(_ node: SimulatedNode, at tick: Tick) {
        guard tick >= node.lastEnd, self.options.sabotage != "L12" else { return }
        let alive = node.processes.contains { !$0.value.isEmpty } || !node.calls.isEmpty
        guard alive else { return }
        self.note("\(node.name) guard kills: lease ended at \(node.lastEnd), now \(tick)")
        self.count("guard kills")
        self.leaseEnded(node)
        node.processes = [:]
        // Of what is killed the daemon hears that it failed. A search runs nothing, and is left to end.
        node.killedCalls.formUnion(node.calls.filter { $0.value.action != .probe }.keys)
        node.calls = node.calls.filter { $0.value.action == .probe }
        node.isFrozen = false
        self.checkers.look(at: node, in: self)
    }
}
