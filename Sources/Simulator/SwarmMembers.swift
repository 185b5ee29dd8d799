import Basis
import Cluster
import Raft
import Resources

/// What operators are about to do with the nodes, and how far the machines have followed the log.
struct Roster {
    /// Up to where the log's word on nodes was compared with the machines.
    var lookedUpTo = LogIndex.zero
    /// So many nodes have left.
    var left = 0
    /// Names and addresses that were thought of so far.
    var named = 0
    /// A machine that will never come back, until the cluster has done without it.
    var destroyed: NodeID?
    /// Who is to leave, while operators take it out of the configuration.
    var leaver: NodeID?
}

/// Operators who change who is in the cluster, and what each node is for, while everything else goes on. (Rules J1 to J6)
extension Simulation {
    /// The nodes that have not left.
    var living: [SimulatedNode] { self.roster.left == 0 ? self.nodes : self.nodes.filter { !$0.hasLeft } }

    /// Names of the nodes that groups may run on and that are to stay.
    var hosts: [String] {
        let known = self.checkers.history.state.nodes
        guard self.swarm.has(.members), !known.isEmpty else {
            return self.nodes.filter { !$0.isWitness }.map(\.name)
        }
        return known.filter { $0.about.role.runsGroups && !$0.isRetiring }.map(\.about.name)
    }

    /// Nodes that stay, may vote and may lead: with less of them operators let nobody go.
    private static let leastMembers = 3
    /// Operators let no more than this in: mostly few, for large clusters take most of the time there is; and as many as may vote.
    private var mostNodes: Int { [4, 5, 4, 7][Int(self.options.seed % 4)] }

    /// One change.
    func changeMembers() {
        guard self.now < self.options.length.nanoseconds, !self.swarm.isOver else { return }
        let longest: Span = self.options.hasFaults ? .seconds(30) : .seconds(2)
        self.queue.add(
            .swarm(.changeMembers), at: self.now + self.swarm.random.span(.milliseconds(200), longest).nanoseconds)
        let asked = self.anyNode()
        guard let state = asked.daemon?.supervisor.state, !state.nodes.isEmpty else { return }
        let record = state.nodes[Int(self.swarm.random.below(UInt64(state.nodes.count)))]
        switch self.swarm.random.below(14) {
        case 0, 1, 2:
            let role = NodeRole.allCases[Int(self.swarm.random.below(UInt64(NodeRole.allCases.count)))]
            if role == .member || self.mayLoseMember(state) {
                self.ask(.setNode(record.id, .init(role: role)), of: asked)
            }
        case 3, 4: self.ask(.setNode(record.id, .init(site: "site-\(self.swarm.random.below(4))")), of: asked)
        case 5:
            self.roster.named += 1
            let address = "\(record.about.name)-\(self.roster.named):1"
            self.ask(.setNode(record.id, .init(address: address)), of: asked)
        case 6:
            let label = NodeLabel(name: "rack", value: self.swarm.random.chance(perMille: 300) ? "" : "a1")
            self.ask(.setNode(record.id, .init(labels: [label])), of: asked)
        case 7, 8: self.chooseLeaver(state)
        case 9, 10: self.keepSomebody(state, asking: asked)
        case 11, 12: self.addSomebody(state, asking: asked)
        default: self.destroySomebody()
        }
    }

    /// Whether one member less leaves enough of them.
    private func mayLoseMember(_ state: ClusterState) -> Bool {
        let members = state.nodes.filter { $0.about.role == .member && !$0.isRetiring }
        // Now and then operators go down to two nodes, of which one votes.
        return members.count > Self.leastMembers || members.count == 3 && self.swarm.random.chance(perMille: 100)
    }

    // MARK: Nodes that leave

    private func chooseLeaver(_ state: ClusterState) {
        guard self.roster.leaver == nil, self.mayLoseMember(state) else { return }
        let leader = self.living.first { $0.daemon?.supervisor.consensus.isLeader == true }
        let owner = self.living.first { $0.isOn && $0.isOwning }
        let away = self.living.first { !$0.isOn }
        let chosen: SimulatedNode? =
            switch self.swarm.random.below(10) {
            case 0, 1, 2: leader
            case 3, 4, 5: owner
            case 6: away
            default: nil
            }
        let leaver = chosen ?? self.anyNode()
        guard state.node(leaver.id) != nil else { return }
        self.count("nodes chosen to leave")
        self.roster.leaver = leaver.id
        self.queue.add(.swarm(.letGo(leaver.id, until: self.now + 120_000_000_000)), at: self.now)
    }

    /// Takes a node out of the configuration, step by step, then asks it to leave.
    func letGo(_ id: NodeID, until: UInt64) {
        guard self.now < until, !self.swarm.isOver || id == self.roster.destroyed else {
            self.roster.leaver = nil
            return
        }
        let asked = self.anyNode()
        if let state = asked.daemon?.supervisor.state, self.now >= asked.scheduledFrom {
            guard let record = state.node(id), !record.isRetiring else {
                self.roster.leaver = nil
                return
            }
            if let policy = self.withoutNode(record.about.name, state.policy) {
                if policy != state.policy {
                    self.ask(.configure(policy, text: "", expectedIndex: state.policyIndex), of: asked)
                }
            } else {
                self.ask(.retire(id, isRetiring: true), of: asked)
            }
        }
        self.queue.add(
            .swarm(.letGo(id, until: until)),
            at: self.now + self.swarm.random.span(.milliseconds(500), .seconds(4)).nanoseconds)
    }

    /// The configuration with one mention less of this node; nil when it is not named at all.
    private func withoutNode(_ name: String, _ policy: ClusterPolicy) -> ClusterPolicy? {
        var volumes = policy.volumes
        var groups = policy.groups
        var isNamed = false
        let hosts = self.hosts.filter { $0 != name }
        for place in volumes.indices where volumes[place].replicas.contains(where: { $0.node == name }) {
            isNamed = true
            let group = groups.firstIndex { $0.volumes == [volumes[place].name] }
            let others = hosts.filter { host in !volumes[place].replicas.contains { $0.node == host } }
            if volumes[place].replicas.count < 3 {
                // Another copy first. Where there is no place for one, the node stays.
                guard let other = self.pick(others) else { continue }
                volumes[place].replicas.append(.init(node: other, backing: "/v", address: "a:\(place + 1)"))
                if let group { groups[group].nodes.append(other) }
            } else {
                volumes[place].replicas.removeAll { $0.node == name }
                if let group { groups[group].nodes.removeAll { $0 == name } }
            }
        }
        for place in groups.indices where groups[place].volumes.isEmpty && groups[place].nodes.contains(name) {
            isNamed = true
            groups[place].nodes.removeAll { $0 == name }
            if let other = self.pick(hosts.filter { !groups[place].nodes.contains($0) }) {
                groups[place].nodes.append(other)
            }
            if groups[place].nodes.isEmpty { return policy }
        }
        guard isNamed else { return nil }
        return ClusterPolicy(
            name: policy.name, timing: policy.timing, volumes: volumes, groups: groups, leaderSites: policy.leaderSites)
    }

    private func pick(_ names: [String]) -> String? {
        names.isEmpty ? nil : names[Int(self.swarm.random.below(UInt64(names.count)))]
    }

    private func keepSomebody(_ state: ClusterState, asking asked: SimulatedNode) {
        let leaving = state.nodes.filter(\.isRetiring)
        guard !leaving.isEmpty else { return }
        let record = leaving[Int(self.swarm.random.below(UInt64(leaving.count)))]
        self.ask(.retire(record.id, isRetiring: false), of: asked)
    }

    // MARK: Nodes that come

    private var mayAdd: Bool {
        // Those that the seed has from the start get their ids first; and packets know so many.
        self.nodes.allSatisfy { $0.isPresent || $0.hasLeft } && self.nodes.count < SimulatedNetwork.idsMaximum - 3
    }

    private func machine(named name: String) -> JoiningNode {
        self.roster.named += 1
        let role: NodeRole =
            switch self.swarm.random.below(10) {
            case 0: .witness
            case 1, 2: .observer
            default: .member
            }
        return JoiningNode(
            name: name, site: "site-\(self.swarm.random.below(4))", address: "\(name)-\(self.roster.named):1",
            role: role)
    }

    private func addSomebody(_ state: ClusterState, asking asked: SimulatedNode) {
        guard self.mayAdd, state.nodes.count < self.mostNodes else { return }
        self.ask(.addNode(self.machine(named: "new-\(self.roster.named + 1)")), of: asked)
    }

    /// A machine is lost for good, with its disks, while all else is well: no other failure excuses what is lost with it.
    private func destroySomebody() {
        guard self.options.hasFaults, self.now >= self.quietUntil, self.roster.destroyed == nil, self.mayAdd,
            self.isAllWell, self.isMajorityLeft, self.now >= self.healedAt + 3_000_000_000
        else { return }
        // A copy that was asked to leave while the network was broken is not in the set a moment later.
        let victim = self.anyNode()
        self.note("\(victim.name) is destroyed")
        self.count("machines destroyed")
        self.faultAt = self.now
        self.powerOff(victim)
        victim.isGone = true
        self.roster.destroyed = victim.id
        self.queue.add(
            .swarm(.doWithout(victim.id, isReplaced: self.swarm.random.chance(perMille: 700))),
            at: self.now + 2_000_000_000)
    }

    /// Three or more vote, and everybody knows the same of that.
    private var isMajorityLeft: Bool {
        self.living.allSatisfy { node in
            guard let membership = node.daemon?.supervisor.consensus.membership else { return false }
            return !membership.isJoint && membership.voters.count >= 3
        }
    }

    /// Brings another machine in the place of one that is destroyed, or lets it go: again and again until the log agrees.
    func doWithout(_ id: NodeID, isReplaced: Bool) {
        let state = self.checkers.history.state
        guard let record = state.node(id) else {
            self.roster.destroyed = nil
            return
        }
        self.queue.add(
            .swarm(.doWithout(id, isReplaced: isReplaced)),
            at: self.now + self.swarm.random.span(.seconds(1), .seconds(3)).nanoseconds)
        let asked = self.anyNode()
        guard !record.isRetiring, record.standing == .lost, asked.daemon != nil, self.now >= asked.scheduledFrom else {
            return
        }
        if isReplaced || self.swarm.isOver || !self.mayLoseMember(state) {
            var machine = self.machine(named: record.about.name)
            machine.role = record.about.role
            if self.swarm.random.chance(perMille: 300) { machine.address = record.about.address }
            self.ask(.replaceNode(id, machine), of: asked)
        } else if self.roster.leaver == nil {
            self.roster.leaver = id
            self.queue.add(.swarm(.letGo(id, until: self.now + 60_000_000_000)), at: self.now)
        }
    }
}
