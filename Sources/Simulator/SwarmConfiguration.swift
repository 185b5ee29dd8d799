import Basis
import Cluster
import Mirror
import Raft
import Resources

/// An operator who changes every part of the configuration of a cluster that runs. (Rules K1, K2, L5.1, L9, B5, V21)
extension Simulation {
    func reconfigure() {
        guard self.now < self.options.length.nanoseconds, !self.swarm.isOver else { return }
        self.queue.add(
            .swarm(.reconfigure), at: self.now + self.swarm.random.span(.milliseconds(500), .seconds(40)).nanoseconds)
        let node = self.anyNode()
        guard let supervisor = node.daemon?.supervisor, self.now >= node.scheduledFrom,
            supervisor.state.policyIndex != .zero
        else { return }
        var policy = supervisor.state.policy
        var random = self.swarm.random
        for _ in 0...random.below(2) { self.change(&policy, &random) }
        self.swarm.random = random
        policy = ClusterPolicy(
            name: policy.name, timing: policy.timing, volumes: policy.volumes, groups: policy.groups,
            leaderSites: policy.leaderSites)
        guard policy != supervisor.state.policy else { return }
        self.count("configurations asked for")
        self.ask(
            .configure(policy, text: "", expectedIndex: supervisor.state.policyIndex), of: node)
    }

    private func change(_ policy: inout ClusterPolicy, _ random: inout SeededRandom) {
        let members = self.hosts
        let free = policy.groups.indices.filter { policy.groups[$0].name.rawValue.hasPrefix("g-") }
        let any = policy.groups.isEmpty ? nil : Int(random.below(UInt64(policy.groups.count)))
        switch random.below(14) {
        case 0, 1: policy.timing = Self.anyTiming(&random)
        case 2:
            guard free.count < 8 else { return }
            policy.groups.append(self.stage.group(self.stage.groupName(), members: members, &random))
        case 3:
            guard let place = Self.pick(free, &random) else { return }
            policy.groups.remove(at: place)
        case 4:
            guard let place = Self.pick(free, &random) else { return }
            policy.groups[place].name = self.stage.groupName()
        case 5:
            guard let any, !Edits.allNames.contains(policy.groups[any].name.rawValue) else { return }
            let count = policy.groups[any].resources.count
            // What a volume carries stands behind it.
            let first = policy.groups[any].volumes.isEmpty ? 0 : 2
            guard count < 7 else { return }
            let place = first + Int(random.below(UInt64(count - min(count, first)) + 1))
            policy.groups[any].resources.insert(self.stage.resource(&random), at: min(place, count))
        case 6:
            guard let any else { return }
            let own = policy.groups[any].resources.indices.filter {
                let name = policy.groups[any].resources[$0].name.rawValue
                return name.hasPrefix("svc-")
                    || name.hasPrefix("ip-") && policy.groups[any].name.rawValue.hasPrefix("g-")
            }
            guard policy.groups[any].resources.count > 1, let place = Self.pick(own, &random) else { return }
            policy.groups[any].resources.remove(at: place)
        case 7:
            guard let any, policy.groups[any].volumes.isEmpty else { return }
            policy.groups[any].nodes = self.stage.nodes(of: members, &random)
        case 8:
            guard let any else { return }
            let nodes = policy.groups[any].nodes
            policy.groups[any].nodes = nodes.reversed()
        case 9:
            guard let any else { return }
            policy.groups[any].restartAttempts = Int(random.below(5))
            policy.groups[any].restartWindow = random.span(.seconds(10), .seconds(600))
        case 10:
            guard let any, !policy.groups[any].resources.isEmpty else { return }
            let place = Int(random.below(UInt64(policy.groups[any].resources.count)))
            policy.groups[any].resources[place].monitorInterval = random.span(.seconds(1), .seconds(20))
            policy.groups[any].resources[place].startTimeout = random.span(.seconds(2), .seconds(10))
            policy.groups[any].resources[place].stopTimeout = random.span(.seconds(1), .seconds(5))
        case 11, 12: self.changeReplicas(&policy, &random)
        default:
            guard let any else { return }
            policy.groups[any].failback.toggle()
        }
    }

    /// A volume gets a replica, or loses one, and its group's nodes follow.
    private func changeReplicas(_ policy: inout ClusterPolicy, _ random: inout SeededRandom) {
        let places = policy.volumes.indices.filter { policy.volumes[$0].name != Self.volume }
        guard let place = Self.pick(places, &random) else { return }
        let name = policy.volumes[place].name
        let holders = policy.volumes[place].replicas.map(\.node)
        let others = self.hosts.filter { !holders.contains($0) }
        let group = policy.groups.firstIndex { $0.volumes == [name] }
        if holders.count < 3, let other = Self.pick(Array(others.indices), &random) {
            policy.volumes[place].replicas.append(
                .init(node: others[other], backing: "/v", address: "a:\(place + 1)"))
            if let group { policy.groups[group].nodes.append(others[other]) }
        } else if holders.count > 2 {
            let gone = Int(random.below(UInt64(holders.count)))
            policy.volumes[place].replicas.remove(at: gone)
            if let group { policy.groups[group].nodes.removeAll { $0 == holders[gone] } }
        }
    }

    /// Times that an operator may configure. (Rule L13)
    private static func anyTiming(_ random: inout SeededRandom) -> Timing {
        guard random.chance(perMille: 700) else { return .standard }
        while true {
            let timing = Timing(
                leaseDuration: random.span(.milliseconds(1500), .seconds(8)),
                leaseGrace: random.span(.milliseconds(500), .seconds(3)),
                renewalInterval: random.span(.milliseconds(100), .milliseconds(600)),
                detection: random.span(.milliseconds(400), .seconds(3)), clockRateErrorPartsPerMillion: 1000,
                guardKill: .milliseconds(500), daemonRestart: .seconds(1))
            if timing.problems.isEmpty { return timing }
        }
    }

    // MARK: Volume servers

    /// Which servers run, and who their peers are; a copy whose replica is taken away stays on its disk. Which of them have
    /// outlived the daemon that started them.
    func keepServers(_ specs: [VolumeServerSpec], on node: SimulatedNode) -> [VolumeName] {
        for volume in node.volumes where !specs.contains(where: { $0.policy.name == volume.name }) {
            volume.isWanted = false
            guard volume.core != nil || volume.absence != nil else { continue }
            self.note("\(node.name) needs no volume server of \(volume.name) any more")
            self.workloads[volume.number].exportEnded(node.id)
            volume.stop()
            volume.absence = nil
            self.dropLinks(of: node.id, volume.name)
        }
        var found: [VolumeName] = []
        for spec in specs {
            let peers = spec.peers.map(\.node).filter { $0 != node.id }.sorted()
            guard let volume = self.volume(spec.policy.name, on: node, peers) else { continue }
            volume.isWanted = true
            self.use(spec.replica.backing, for: volume)
            let isNew = volume.peers != peers
            volume.peers = peers
            guard volume.core == nil, volume.absence == nil else {
                found.append(volume.name)
                if isNew {
                    let places = spec.peers.map { PeerPlace(node: $0.node, address: $0.address) }
                    self.queue.add(
                        .volumeControl(volume, server: volume.server, .peers(places)), at: self.now + 100_000)
                }
                continue
            }
            volume.identity = spec.identity
            self.queue.add(.startServer(volume, boot: node.boot), at: self.now + 20_000_000)
        }
        return found
    }

    private func volume(_ name: VolumeName, on node: SimulatedNode, _ peers: [NodeID]) -> SimulatedVolume? {
        if let known = node.volume(name) { return known }
        guard let twin = self.nodes.lazy.compactMap({ $0.volume(name) }).first else { return nil }
        let volume = SimulatedVolume(name: name, number: twin.number, node: node.id, peers: peers)
        node.volumes.append(volume)
        return volume
    }

    private static func pick(_ places: [Int], _ random: inout SeededRandom) -> Int? {
        places.isEmpty ? nil : places[Int(random.below(UInt64(places.count)))]
    }
}
