import Basis
import Cluster
import Mirror
import Raft
import Resources
import Testing

/// Three supervisors (or five) in virtual time, with a network that delivers at once or not at all. Agents succeed at once.
final class Trio {
    var supervisors: [NodeID: Supervisor] = [:]
    private var performers: [NodeID: Performer] = [:]
    var now: UInt64 = 1_000_000_000
    var cuts: Set<[NodeID]> = []
    var stopped: Set<NodeID> = []
    var running: [NodeID: Set<String>] = [:]
    var notes: [String] = []
    var calls: [NodeID: [AgentCall]] = [:]
    var leases: [NodeID: Tick] = [:]
    var facts: [NodeID: Facts] = [:]
    var forgetful: Set<NodeID> = []
    /// What each follows, beside its log. (Rule R1)
    var generations: [NodeID: GenerationRecord] = [:]
    /// Nodes that cannot write that.
    var fullDisks: Set<NodeID> = []
    /// Nodes whose guard does not look at the lease.
    var unguarded: Set<NodeID> = []
    /// Nodes whose disk does not answer, with what waits for it.
    var held: [NodeID: [UInt64]] = [:]
    /// Snapshots that were written beside the log, of nodes that are not told so yet.
    var heldSnapshots: [NodeID: [SnapshotWord]] = [:]
    /// Nodes whose clocks are found parted before each start. (Rule L20)
    var parted: Set<NodeID> = []
    /// What the step under way asked for.
    var asked: [SupervisorEffect] = []
    /// What cannot be taken down of the group on a node.
    var undying: [NodeID: GroupRemains] = [:]
    /// Nodes whose kills take until `finishKills`.
    var slowKills: Set<NodeID> = []
    var heldKills: [(node: NodeID, group: GroupName)] = []
    /// Nodes whose volume server finds no copy.
    var isWithoutCopy: Set<NodeID> = []
    /// Nodes whose volume servers get no word that their copies were taken back.
    var unheard: Set<NodeID> = []
    /// The starts of a node's copy, and what it has accepted, if it is not as ever.
    var copies: [NodeID: (starts: [UInt64], epoch: Epoch)] = [:]
    /// The groups whose started resources each node was told to forget.
    var forgotten: [NodeID: [GroupName]] = [:]
    /// What was started anew, in order.
    var renewed: [String] = []
    /// Messages for which this holds are lost.
    var isLost: (Envelope) -> Bool = { _ in false }
    /// What a search of a node is answered, instead of what runs.
    var probes: [NodeID: AgentOutcome] = [:]
    /// Nodes where a stop goes on until it is let through; and what was held there.
    var slow: Set<NodeID> = []
    var heldStops: [(node: NodeID, call: AgentCall)] = []
    var volumeIdentities: [VolumeName: UInt64] = [:]
    /// With whom each node's volume server keeps its copy equal.
    var volumePeers: [NodeID: [NodeID]] = [:]
    /// What each node's volume server was told, in order, besides reports.
    var volumeCommands: [NodeID: [VolumeCommand]] = [:]
    /// What clients were told, by their numbers.
    var replies: [UInt64: ClientReply] = [:]
    var queue: [(Envelope, via: NodeID, to: NodeID)] = []

    let ids: [NodeID]
    static let ids = [NodeID(1), NodeID(2), NodeID(3)]
    static let orders = GroupName("orders")

    /// `voters` vote from the start; the others have joined as nodes and are to be promoted.
    /// With `volume` the group stands on a mirrored volume of a and b.
    /// `others` are joined too, as members 4 and up.
    init(
        voters: [NodeID] = Trio.ids, volume: Bool = false, others: [String] = [], restartWindow: Span? = nil,
        releases: [NodeID: Release] = [:], sites: [String: String] = [:], leaderSites: [String] = [],
        settings: Consensus.Settings = Consensus.Settings()
    ) throws {
        self.ids = Trio.ids + others.indices.map { NodeID(UInt32($0) + 4) }
        var entries = [
            Entry(
                mark: LogMark(term: Term(1), index: LogIndex(1)), payload: .membership(Membership(voters: voters)))
        ]
        func about(_ name: String, isWitness: Bool = false) -> JoiningNode {
            JoiningNode(
                name: name, site: sites[name] ?? "s", address: "\(name):1", role: isWitness ? .witness : .member)
        }
        var policy = Self.policy(volume: volume)
        if let restartWindow { policy.groups[0].restartWindow = restartWindow }
        policy.leaderSites = leaderSites
        let levels: [Command] =
            leaderSites.isEmpty ? [] : [2, 3].map { .raise(FeatureLevel($0), counting: Trio.ids) }
        let commands: [Command] =
            [
                .bootstrap(clusterID: 1, clusterName: "prod", node: about("a")), .addNode(about("b")),
                .addNode(about("w", isWitness: true)),
            ] + levels + [
                .configure(policy, text: "", expectedIndex: .zero)
            ] + others.map { .addNode(about($0)) }
        for command in commands {
            let log = LogCommand(
                origin: NodeID(1), nonce: 0, sequence: 0, clusterMilliseconds: 0, wallMilliseconds: 0,
                command: command)
            entries.append(
                Entry(
                    mark: LogMark(term: Term(1), index: LogIndex(UInt64(entries.count) + 1)),
                    payload: .command(log.encoded)))
        }
        for id in self.ids {
            let restored = RestoredState(
                hardState: HardState(term: Term(1), commit: LogIndex(UInt64(entries.count))), entries: entries)
            self.supervisors[id] = try Supervisor(
                identity: .init(
                    node: id, bootID: "boot", memory: Self.memory(UInt64(id.rawValue)), nonce: UInt64(id.rawValue),
                    release: releases[id] ?? .present),
                settings: settings, restored: restored, facts: nil, leaseEnd: .zero,
                seed: UInt64(id.rawValue), at: self.tick)
        }
    }

    /// A log directory that was opened once.
    static func memory(_ directory: UInt64) -> LogMemory {
        var memory = LogMemory(directory: DirectoryID(high: directory << 32, low: 1))
        memory.begin(nonce: StartMark.nonce(directory * 1000 + 1, ofBoot: "boot"))
        return memory
    }

    static func policy(volume: Bool) -> ClusterPolicy {
        var resources = [ResourcePolicy(name: ResourceName("db"), agent: "exec")]
        var volumes: [VolumePolicy] = []
        if volume {
            let disk = ResourcePolicy(
                name: ResourceName("disk"), agent: "volume", parameters: [.init("volume", "data")])
            resources.insert(disk, at: 0)
            let replicas = ["a", "b"].map { VolumePolicy.Replica(node: $0, backing: "/b", address: "h:2") }
            volumes = [VolumePolicy(name: VolumeName("data"), sizeBytes: 4096, replicas: replicas)]
        }
        return ClusterPolicy(
            name: "prod", volumes: volumes,
            groups: [GroupPolicy(name: Self.orders, nodes: ["a", "b"], resources: resources)])
    }

    /// A machine as a hypervisor keeps it, with its memory. (Rule E4)
    private struct Kept {
        var at: UInt64
        var supervisor: Supervisor?
        var performer: Performer?
        var running: Set<String>?
        var lease: Tick?
        var facts: Facts?
    }
    private var kept: [NodeID: Kept] = [:]

    func keep(_ id: NodeID) {
        self.kept[id] = Kept(
            at: self.now - (self.hidden[id] ?? 0), supervisor: self.supervisors[id],
            performer: self.performers[id], running: self.running[id],
            lease: self.leases[id], facts: self.facts[id])
    }

    /// The machine goes on from what was kept; its clock shows what it showed then.
    func takeBack(_ id: NodeID) {
        guard let kept = self.kept[id] else { return }
        self.supervisors[id] = kept.supervisor
        self.performers[id] = kept.performer
        self.running[id] = kept.running
        self.leases[id] = kept.lease
        self.facts[id] = kept.facts
        self.hidden[id] = self.now - kept.at
    }

    var tick: Tick { Tick(nanoseconds: self.now) }

    /// By how much a node's clock is behind: it was stopped from outside.
    var hidden: [NodeID: UInt64] = [:]

    func tick(of id: NodeID) -> Tick { Tick(nanoseconds: self.now - (self.hidden[id] ?? 0)) }

    func cut(_ left: NodeID, _ right: NodeID) {
        self.cuts.insert([left, right])
        self.cuts.insert([right, left])
    }

    func cutOneWay(from: NodeID, to: NodeID) { self.cuts.insert([from, to]) }

    /// Lets time pass in steps of 25 ms; stops early once `condition` holds. False when it never did.
    @discardableResult func pass(
        milliseconds: UInt64, until condition: (Trio) -> Bool = { _ in false }
    ) -> Bool {
        for _ in 0..<(milliseconds / 25) {
            self.now += 25_000_000
            for id in self.ids where !self.stopped.contains(id) {
                if !self.unguarded.contains(id) { self.step(id, .guardSeen(self.tick(of: id))) }
                self.step(id, .tick)
            }
            self.drain()
            if condition(self) { return true }
        }
        return false
    }

    /// Performs the effects, and returns them.
    @discardableResult func step(_ id: NodeID, _ input: SupervisorInput) -> [SupervisorEffect] {
        self.asked = []
        var world = TrioMachine(trio: self, id: id)
        self.performers[id, default: Performer()].step(input, in: &world, at: self.tick(of: id))
        if self.forgetful.remove(id) != nil { self.startEmpty(id) }
        return self.asked
    }

    /// The disk answers again, all that waits for it at once.
    func release(_ id: NodeID) {
        guard let last = self.held.removeValue(forKey: id)?.last else { return }
        var world = TrioMachine(trio: self, id: id)
        self.performers[id]?.persisted(last, in: &world)
        self.step(id, .persisted(sequence: last))
    }

    /// The kills under way on a node end: with all of the group dead, or not.
    func finishKills(_ id: NodeID, areDead: Bool) {
        let kills = self.heldKills.filter { $0.node == id }
        self.heldKills.removeAll { $0.node == id }
        for kill in kills { self.step(id, .groupKilled(kill.group, isDead: areDead)) }
    }

    /// The daemon of a node is started with a new log directory.
    func startEmpty(_ id: NodeID) {
        guard let before = self.supervisors[id] else { return }
        self.performers[id] = nil
        self.supervisors[id] = try? Supervisor(
            identity: .init(
                node: id, bootID: before.identity.bootID, memory: Self.memory(before.identity.nonce + 1000),
                nonce: before.identity.nonce + 100, generation: self.generations[id] ?? GenerationRecord(.first)),
            settings: Consensus.Settings(), restored: RestoredState(), facts: self.facts[id],
            leaseEnd: self.leases[id] ?? .zero, seed: before.identity.nonce, at: self.tick(of: id))
    }

    /// Rule V7.1: nothing starts on a volume before the log knows who holds what is written from here on.
    func check(_ call: AgentCall, of id: NodeID) {
        guard call.action == .start, let record = self.supervisors[id]?.state.volumes.first, record.owner == id else {
            return
        }
        #expect(record.former == [], "\(call.resource.name) starts on \(id) before \(record.name) was opened")
    }

    /// With its machine a volume server has started anew.
    func restartServer(of id: NodeID) {
        let old = self.copies[id] ?? ([1], .none)
        let epoch = self.supervisors[id]?.state.volumes.first?.epoch ?? old.epoch
        self.copies[id] = (old.starts + [(old.starts.last ?? 0) + 1], epoch)
    }

    /// What a volume server says to a command. One that finds no copy says so when it is to open it, not before.
    func answer(_ name: VolumeName, _ command: VolumeCommand, of id: NodeID) -> [VolumeEvent] {
        let copy = self.copies[id] ?? ([1], .none)
        let mark = CopyMark(
            identity: UInt64(id.rawValue), starts: copy.starts, epoch: copy.epoch,
            isNoted: command == .noted(mark: copy.starts.last ?? 1))
        var report = CopyReport(
            volume: self.volumeIdentities[name] ?? 0, backing: "/b", capacityBytes: .max, finding: .ready(mark))
        switch command {
        case .report(let question): report.answers = question
        case .noted: break
        default: self.volumeCommands[id, default: []].append(command)
        }
        let isAbsent = self.isWithoutCopy.contains(id)
        switch command {
        case .report, .noted: return isAbsent ? [] : [.copy(report)]
        case .open where isAbsent:
            report.finding = .none(reason: "/b is missing", mayMake: true)
            return [.copy(report), .failed(reason: "/b is missing")]
        case .open(let epoch, _, _, _, _, _): return [.opened(epoch: epoch)]
        case .close(let epoch): return [.closed(epoch: epoch)]
        case .takenBack where !self.unheard.contains(id):
            self.copies[id] = ([4711], copy.epoch)
            return [.takenBack(reason: "its machine was taken back")]
        default: return []
        }
    }

    func answer(_ call: AgentCall, of id: NodeID) -> SupervisorInput {
        var outcome = AgentOutcome.success
        let name = Self.name(call.group, call.resource.name)
        switch call.action {
        case .start: self.running[id, default: []].insert(name)
        case .stop: self.running[id]?.remove(name)
        case .monitor, .probe:
            if self.running[id]?.contains(name) != true { outcome = .notRunning }
            if call.action == .probe, let answer = self.probes[id] { outcome = answer }
        }
        return .agentFinished(id: call.id, outcome)
    }

    /// A resource of `orders` goes by its own name.
    private static func name(_ group: GroupName, _ resource: ResourceName) -> String {
        group == Self.orders ? resource.rawValue : "\(group)/\(resource)"
    }

    static func belongs(_ name: String, to group: GroupName) -> Bool {
        group == Self.orders ? !name.contains("/") : name.hasPrefix("\(group)/")
    }

    /// Lets the stops of a node through.
    func letThrough(_ id: NodeID) {
        self.slow.remove(id)
        let calls = self.heldStops.filter { $0.node == id }
        self.heldStops.removeAll { $0.node == id }
        for entry in calls { self.step(id, self.answer(entry.call, of: id)) }
    }

    private func drain() {
        var rounds = 0
        while !self.queue.isEmpty, rounds < 1000 {
            rounds += 1
            let (envelope, via, to) = self.queue.removeFirst()
            guard !self.cuts.contains([via, to]), !self.stopped.contains(to), self.supervisors[to] != nil,
                !self.isLost(envelope)
            else { continue }
            self.step(to, .receive(envelope, via: via))
        }
    }

    var leader: NodeID? {
        self.ids.first { !self.stopped.contains($0) && self.supervisors[$0]?.consensus.isLeader == true }
    }

    var owner: NodeID? { Self.ids.first { self.running[$0]?.isEmpty == false } }

    func standing(of id: NodeID, seenBy other: NodeID) -> ClusterState.Standing? {
        self.supervisors[other]?.state.node(id)?.standing
    }

    func settle() -> Bool {
        self.pass(milliseconds: 10_000) {
            $0.owner != nil && $0.supervisors.values.allSatisfy { $0.me?.standing == .trusted }
        }
    }
}
