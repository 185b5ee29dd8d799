import Basis
import Cluster
import Mirror
import Raft
import Resources

/// Operators who give the replicas of a volume other backings or other nodes, and do not care where the complete copies are:
/// what would leave none has to be refused, and what stays in use has to stay. (Rule V21)
extension Simulation {
    private static let backings = ["/v", "/w", "/x"]

    func changeBackings() {
        guard self.now < self.options.length.nanoseconds, !self.swarm.isOver else { return }
        let pause = self.swarm.random.span(.seconds(2), .seconds(15) + self.swarm.longestPause).nanoseconds
        self.queue.add(.swarm(.changeBackings), at: self.now + pause)
        // What takes a copy away is not asked for while another one is lost, and nobody has noticed. (`docs/guarantees.md`, limits)
        let state = self.checkers.history.state
        guard self.haveCopiesMet, !state.volumes.isEmpty else { return }
        let record = state.volumes[Int(self.swarm.random.below(UInt64(state.volumes.count)))]
        guard var policy = state.policy.volume(record.name) else { return }
        let complete = record.holders.map { self.node($0).name }
        let owner = record.owner.map { self.node($0).name }
        switch self.swarm.random.below(8) {
        case 0, 1:
            let place = Int(self.swarm.random.below(UInt64(policy.replicas.count)))
            self.exchange([policy.replicas[place].node], of: &policy)
        case 2: self.exchange(policy.replicas.map(\.node), of: &policy)
        case 3, 4: self.exchange(complete, of: &policy)
        case 5: if let owner { self.exchange([owner], of: &policy) }
        case 6: if let owner { self.replace([owner], of: &policy) }
        default: self.replace(complete, of: &policy)
        }
        guard policy.replicas.count > 1 else { return }
        self.count("replicas that operators exchange")
        guard self.swarm.random.chance(perMille: 500), let group = self.group(of: record.name, in: state) else {
            return self.configure(policy)
        }
        self.operate(.want(group, isRunning: false))
        let later = self.swarm.random.span(.milliseconds(200), .seconds(4)).nanoseconds
        self.queue.add(.swarm(.configureVolume(policy)), at: self.now + later)
        self.queue.add(.swarm(.startAgain(group)), at: self.now + 2 * later)
    }

    private func group(of volume: VolumeName, in state: ClusterState) -> GroupName? {
        state.policy.groups.first { $0.volumes.contains(volume) }?.name
    }

    /// These replicas get another backing, or one that they had before.
    private func exchange(_ nodes: [String], of policy: inout VolumePolicy) {
        for place in policy.replicas.indices where nodes.contains(policy.replicas[place].node) {
            let others = Self.backings.filter { $0 != policy.replicas[place].backing }
            policy.replicas[place].backing = others[Int(self.swarm.random.below(UInt64(others.count)))]
        }
    }

    /// These replicas go; others come on nodes that have none, as far as there are any, and the rest may change backings.
    private func replace(_ nodes: [String], of policy: inout VolumePolicy) {
        let before = policy.replicas
        let free = self.hosts.filter { host in !before.contains { $0.node == host } }
        policy.replicas.removeAll { nodes.contains($0.node) }
        for host in free where policy.replicas.count < before.count {
            policy.replicas.append(.init(node: host, backing: "/v", address: before[0].address))
        }
        if self.swarm.random.chance(perMille: 300) { self.exchange(policy.replicas.map(\.node), of: &policy) }
    }

    func configure(_ volume: VolumePolicy) {
        let state = self.checkers.history.state
        var (policy, asked) = (state.policy, self.anyNode())
        if self.now < asked.scheduledFrom || asked.daemon == nil {
            asked = self.nodes.first { $0.daemon != nil } ?? asked
        }
        guard let place = policy.volumes.firstIndex(where: { $0.name == volume.name }) else { return }
        policy.volumes[place] = volume
        // The group follows its copies.
        let nodes = volume.replicas.map(\.node)
        if let group = policy.groups.firstIndex(where: { $0.volumes.contains(volume.name) }) {
            let staying = policy.groups[group].nodes.filter { nodes.contains($0) }
            policy.groups[group].nodes = staying + nodes.filter { !staying.contains($0) }
        }
        policy = ClusterPolicy(
            name: policy.name, timing: policy.timing, volumes: policy.volumes, groups: policy.groups,
            leaderSites: policy.leaderSites)
        guard policy != state.policy, self.haveCopiesMet else { return }
        self.replicasAskedAt = self.now
        self.ask(.configure(policy, text: "", expectedIndex: state.policyIndex), of: asked)
    }

    /// Complete copies may be on their way out: what happens to another one in that very moment is a second failure.
    var areReplicasChanging: Bool {
        guard self.swarm.has(.backings) else { return false }
        let state = self.checkers.history.state
        return self.now < self.replicasAskedAt + 2_000_000_000
            || state.volumes.contains { record in
                record.definition.replicas.count != state.policy.volume(record.name)?.replicas.count
            }
    }

    // MARK: Servers

    /// A server that runs starts anew with another backing: at once, or once its volume is open there no more.
    func use(_ backing: String, for volume: SimulatedVolume) {
        guard backing != volume.wantedBacking else { return }
        volume.wantedBacking = backing
        guard backing != volume.backing else { return }
        self.queue.add(.swarm(.useBacking(volume)), at: self.now + 1_000_000)
    }

    func useBacking(of volume: SimulatedVolume) {
        let node = self.node(volume.node)
        guard node.isOn, volume.isWanted, volume.wantedBacking != volume.backing else { return }
        if self.now < node.pausedUntil || volume.core?.isInUse == true {
            return self.queue.add(
                .swarm(.useBacking(volume)), at: max(node.pausedUntil, self.now + 100_000_000))
        }
        self.note("\(node.name) gives \(volume.name) the backing \(volume.wantedBacking)")
        self.count("backings exchanged")
        if volume.absence != nil { self.lookAgain(volume, on: node) } else { self.stopServer(volume, on: node) }
    }
}
