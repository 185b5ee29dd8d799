import Basis
import Cluster
import Raft
import Resources

/// Who and what there is besides the nodes, the two groups and the one volume of every seed: nodes that join later, more
/// groups, more volumes, each with its group and its clients.
struct Stage {
    /// Groups without a volume that exist from the start.
    fileprivate(set) var groups: [GroupPolicy] = []
    /// A group for each further volume.
    fileprivate(set) var stores: [GroupPolicy] = []
    fileprivate(set) var volumes: [VolumePolicy] = []
    /// How many services and later groups were ever named: a name is used once.
    private var services = 0
    private var names = 0

    /// A name that no group ever had.
    mutating func groupName() -> GroupName {
        self.names += 1
        return GroupName("g-\(100 + self.names)")
    }

    /// Some of these, in any order.
    func nodes(of members: [String], _ random: inout SeededRandom) -> [String] {
        var nodes = members
        for place in nodes.indices.reversed() { nodes.swapAt(place, Int(random.below(UInt64(place) + 1))) }
        return Array(nodes.prefix(max(2, Int(random.below(UInt64(members.count) + 1)))))
    }

    /// A service or an address that nothing else in the cluster is called like.
    mutating func resource(_ random: inout SeededRandom) -> ResourcePolicy {
        self.services += 1
        let number = self.services
        let isAddress = random.chance(perMille: 300)
        return ResourcePolicy(
            name: ResourceName("\(isAddress ? "ip" : "svc")-\(number)"), agent: isAddress ? "address" : "exec",
            parameters: [
                isAddress
                    ? .init("address", "10.1.\(number / 250).\(number % 250 + 1)/24")
                    : .init("command", "run \(number)")
            ],
            startTimeout: random.span(.seconds(1), .seconds(10)), stopTimeout: random.span(.seconds(1), .seconds(5)),
            monitorInterval: random.span(.seconds(1), .seconds(10)), monitorTimeout: .seconds(2))
    }

    mutating func group(_ name: GroupName, members: [String], _ random: inout SeededRandom) -> GroupPolicy {
        let nodes = self.nodes(of: members, &random)
        var resources: [ResourcePolicy] = []
        for _ in 0...random.below(3) { resources.append(self.resource(&random)) }
        return GroupPolicy(
            name: name, nodes: nodes, failback: random.chance(perMille: 300),
            restartAttempts: Int(random.below(4)), restartWindow: random.span(.seconds(20), .seconds(600)),
            maximumMoves: 100_000, resources: resources)
    }
}

extension Simulation {
    /// Draws all of it, before the cluster is founded; `members` can run groups.
    func drawStage(_ members: [SimulatedNode]) {
        var random = self.swarm.random
        defer { self.swarm.random = random }
        if self.swarm.has(.groups) {
            for number in 1...(1 + random.below(6)) {
                self.stage.groups.append(
                    self.stage.group(GroupName("g-\(number)"), members: members.map(\.name), &random))
            }
        }
        guard self.swarm.has(.volumes) else { return }
        for number in 1...(1 + random.below(3)) {
            let name = VolumeName("vol-\(number)")
            var holders = members
            for place in holders.indices.reversed() { holders.swapAt(place, Int(random.below(UInt64(place) + 1))) }
            holders = Array(holders.prefix(2 + Int(random.below(2))))
            self.addVolume(name, to: holders)
            func resource(_ resource: String, _ agent: String) -> ResourcePolicy {
                ResourcePolicy(
                    name: ResourceName("\(resource)-\(number)"), agent: agent,
                    parameters: agent == "volume" ? [.init("volume", name.rawValue)] : [], startTimeout: .seconds(10),
                    stopTimeout: .seconds(5), monitorInterval: .seconds(5), monitorTimeout: .seconds(2))
            }
            self.stage.volumes.append(
                VolumePolicy(
                    name: name, sizeBytes: SimulatedVolume.sizeBytes,
                    replicas: holders.map { .init(node: $0.name, backing: "/v", address: "a:\(1 + number)") }))
            self.stage.stores.append(
                GroupPolicy(
                    name: GroupName("store-\(number)"), nodes: holders.map(\.name),
                    failback: random.chance(perMille: 300), maximumMoves: 100_000,
                    resources: [resource("disk", "volume"), resource("fs", "filesystem"), resource("db", "exec")]))
        }
    }

    func addVolume(_ name: VolumeName, to holders: [SimulatedNode]) {
        let number = self.workloads.count
        self.workloads.append(Workload(writersPerBlock: self.swarm.has(.clients) ? 2 : 1))
        self.copiesHaveMet.append(true)
        for node in holders {
            let peers = holders.map(\.id).filter { $0 != node.id }
            node.volumes.append(SimulatedVolume(name: name, number: number, node: node.id, peers: peers))
        }
    }

    /// The first configuration, with all of that.
    func staged(_ policy: ClusterPolicy) -> ClusterPolicy {
        guard !self.swarm.isEmpty else { return policy }
        return ClusterPolicy(
            name: policy.name, timing: policy.timing, volumes: policy.volumes + self.stage.volumes,
            groups: policy.groups + self.stage.groups + self.stage.stores)
    }

    /// All groups that are to run in the end.
    func groupNames(_ state: ClusterState) -> [GroupName] {
        self.swarm.isEmpty ? [Self.group, Self.quickGroup] : state.policy.groups.map(\.name)
    }

    /// What clients of the volume wait for: that its service runs.
    func isServing(_ volume: SimulatedVolume, on node: SimulatedNode) -> Bool {
        let running = node.processes[volume.group]
        return self.swarm.isEmpty ? running?.count == 4 : running?[volume.service] != nil
    }

    // MARK: Nodes that join later

    func scheduleJoins(_ late: [SimulatedNode]) {
        var at = UInt64(20_000_000_000)
        for node in late {
            node.isPresent = false
            node.isOn = false
            // Also the last of many comes while there is time to see what becomes of it.
            let most = max(1_000_000_000, self.options.length.nanoseconds / UInt64(max(4, late.count)))
            at += self.swarm.random.below(most)
            self.queue.add(.swarm(.join(node)), at: at)
        }
    }

    func about(_ node: SimulatedNode) -> JoiningNode {
        JoiningNode(
            name: node.name, site: "site-\((node.id.rawValue - 1) % 3)", address: "\(node.name):1",
            role: node.role)
    }

    /// Asks for a node until the log has it, then switches it on; one after the other, for they get the next numbers.
    func join(_ node: SimulatedNode) {
        guard !self.drill.isInTheMiddle else {
            return self.queue.add(.swarm(.join(node)), at: self.now + 2_000_000_000)
        }
        let isNext = self.nodes.allSatisfy { $0.id >= node.id || $0.isPresent }
        let isKnown = self.nodes.contains { other in
            other.daemon?.supervisor.consensus.isLeader == true
                && other.daemon?.supervisor.state.node(named: node.name) != nil
        }
        if isNext, isKnown {
            self.note("\(node.name) has joined")
            self.count("nodes that joined")
            node.isPresent = true
            return self.powerOn(node)
        }
        let member = self.anyNode()
        if isNext, !member.isWitness, member.daemon != nil, self.now >= member.scheduledFrom {
            self.step(member, .client(id: 1, .propose(.addNode(self.about(node)))))
        }
        self.queue.add(.swarm(.join(node)), at: self.now + 2_000_000_000)
    }

    // MARK: Owners

    /// SingleOwner of every group but those of each seed, which have a check of their own; and of every service, whatever
    /// its group is called now. (Rule B5)
    func checkOwners(of node: SimulatedNode) {
        node.lookedAtVersion = node.runsVersion
        if node.hasLeft { self.checkLeft(node) }
        guard node.isOn, self.now >= node.pausedUntil, !node.isFrozen else { return }
        let mine = node.allRunning.filter { $0.group != Self.quickGroup }
        for other in self.nodes where other !== node && other.isOn && self.now >= other.pausedUntil {
            guard !other.isFrozen, self.now >= max(node.overlapsUntil, other.overlapsUntil) else { continue }
            for theirs in other.allRunning where theirs.group != Self.quickGroup {
                let met = mine.first {
                    $0.group == theirs.group || $0.resource == theirs.resource && $0.isNamedOnce && theirs.isNamedOnce
                }
                guard let met else { continue }
                return self.fail("SingleOwner: \(theirs) runs on \(other.name), and \(met) on \(node.name)")
            }
        }
    }
}

extension SimulatedNode {
    /// Something that runs, or whose start is under way.
    struct Running {
        var group: GroupName
        var resource: ResourceName
        var epoch: Epoch
        /// Nothing else in the cluster was ever called so.
        var isNamedOnce: Bool {
            let name = self.resource.rawValue
            return name.hasPrefix("svc-") || name.hasPrefix("ip-") && !Edits.allNames.contains(self.group.rawValue)
        }
    }

    /// Sorted.
    var allRunning: [Running] {
        if let known = self.knownRunning { return known }
        let all = self.lookForRunning()
        self.knownRunning = all
        return all
    }

    private func lookForRunning() -> [Running] {
        var all: [Running] = []
        for (group, resources) in self.processes {
            for (resource, epoch) in resources { all.append(Running(group: group, resource: resource, epoch: epoch)) }
        }
        for call in self.calls.values where call.action == .start {
            all.append(Running(group: call.group, resource: call.resource.name, epoch: call.epoch))
        }
        return all.sorted { ($0.group, $0.resource) < ($1.group, $1.resource) }
    }
}
