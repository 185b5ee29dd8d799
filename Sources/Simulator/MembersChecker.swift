import Basis
import Cluster
import Raft
import Resources

/// The machines follow what the log says of nodes, and what may no longer be after it.
extension Simulation {
    /// A machine for each id that was given; and whoever was expelled is switched off for good, sooner or later.
    func followMembers() {
        guard self.swarm.has(.members), self.checkers.history.state.appliedIndex != self.roster.lookedUpTo else {
            return
        }
        self.roster.lookedUpTo = self.checkers.history.state.appliedIndex
        let state = self.checkers.history.state
        while self.nodes.count < Int(state.nodesEver) { self.addMachine(state) }
        for node in self.nodes where !node.hasLeft && node.id.rawValue <= state.nodesEver {
            guard let record = state.node(node.id) else {
                self.expelled(node)
                continue
            }
            if record.isRetiring { node.mayEndUntil = self.now + 10_000_000_000 }
        }
    }

    private func addMachine(_ state: ClusterState) {
        let id = NodeID(UInt32(self.nodes.count) + 1)
        let about = state.node(id)?.about
        let node = SimulatedNode(id: id, name: about?.name ?? "nobody-\(id.rawValue)", role: about?.role ?? .member)
        node.isPresent = false
        node.isOn = false
        self.nodes.append(node)
        self.open.append(0)
        self.note("\(node.name) is node \(id)")
        self.count("machines that came")
        let pause = self.swarm.isOver ? 100_000_000 : self.swarm.random.below(8_000_000_000)
        self.queue.add(.swarm(.bootsFirst(node)), at: self.now + pause)
    }

    func bootFirst(_ node: SimulatedNode) {
        guard !node.hasLeft else { return }
        node.isPresent = true
        self.powerOn(node)
    }

    private func expelled(_ node: SimulatedNode) {
        node.hasLeft = true
        self.roster.left += 1
        self.note("\(node.name) has left the cluster")
        self.count("nodes that left")
        self.checkLeft(node)
        let pause = self.swarm.isOver ? 0 : self.swarm.random.below(60_000_000_000)
        self.queue.add(.swarm(.switchOff(node)), at: self.now + pause)
    }

    /// Who has left is switched off for good.
    func switchOff(_ node: SimulatedNode) {
        self.powerOff(node)
        node.isGone = true
        for volume in node.volumes { volume.isWanted = false }
    }

    /// Who sends to a node that knows that it has left is told so; the daemons' links do that for the supervisor. (Rule J6)
    func showOut(_ sender: NodeID, by node: SimulatedNode) {
        // Whom any node knows to have left, the simulation knows to have left.
        guard self.node(sender).hasLeft, let state = node.daemon?.supervisor.state, state.hasLeft(sender),
            !self.network.isCut(from: node.id, to: sender)
        else { return }
        let delay = self.network.delay(&self.swarm.random)
        self.queue.add(.swarm(.farewell(self.node(sender), from: node.id, of: state.base)), at: self.now + delay)
    }

    func hearFarewell(_ node: SimulatedNode, _ other: NodeID, of generation: Generation) {
        self.count("farewells")
        let farewell = SupervisorInput.shownOut(by: other, of: generation)
        self.input(node, farewell, orRetry: .swarm(.farewell(node, from: other, of: generation)))
    }

    /// Rule J2: whose node is none any more holds no lease and runs nothing, from the moment that the entry is applied anywhere.
    func checkLeft(_ node: SimulatedNode) {
        guard node.isOn, self.now >= node.pausedUntil, !node.isFrozen, self.now >= node.overlapsUntil else { return }
        if let running = node.allRunning.first {
            self.fail("J2: \(node.name) has left the cluster, and runs \(running)")
        }
        // In doubt it runs nothing by a lease that it may still have. (Rule L20)
        if !node.isInDoubt, node.daemon?.supervisor.hasLease(at: node.tick(at: self.now)) == true {
            self.fail("J2: \(node.name) has left the cluster, and holds a lease")
        }
    }

    /// Where nothing is broken no change of who is in the cluster costs a node its lease, but for those that leave. (Rule L8)
    func leaseEnded(_ node: SimulatedNode) {
        guard self.swarm.has(.members), !self.options.hasFaults, !node.hasLeft, self.now >= node.mayEndUntil else {
            return
        }
        self.fail("CalmLease: \(node.name) has lost its lease on a network without a fault")
    }

    /// Rule J1, counted by other means: an odd number votes, at most seven, no site alone is a majority where that can be,
    /// and then there are as many as there can be.
    func checkVoters(_ leader: Supervisor) {
        guard self.swarm.has(.members) else { return }
        let voters = leader.consensus.membership.voters
        let may = leader.state.nodes.filter { $0.about.role.mayVote && !$0.isRetiring }
        func share(_ nodes: [ClusterState.NodeRecord]) -> [Int] {
            Dictionary(grouping: nodes, by: \.about.site).values.map(\.count)
        }
        let most = [7, 5, 3, 1].first { $0 <= may.count } ?? 0
        let best = [7, 5, 3].first { number in
            number <= most && share(may).reduce(0) { $0 + min($1, number / 2) } >= number
        }
        let chosen = may.filter { voters.contains($0.id) }
        let largest = share(chosen).max() ?? 0
        let isRight =
            chosen.count == voters.count && voters.count == best ?? most
            && (best == nil || largest * 2 < voters.count)
        if leader.consensus.membership.isJoint || !isRight {
            let nodes = may.map { "\($0.id) \($0.about.site) \($0.about.role)" }
            self.fail("J1: \(voters) vote although all are well, of \(nodes.joined(separator: ", "))")
        }
    }
}

extension Simulation {
    /// As the daemon does: who runs groups and is not to, or the other way round, becomes that with its next start.
    func keep(_ roll: PeerRoll, on node: SimulatedNode) {
        guard roll.isCurrent, let role = roll.own?.role, role != node.role else { return }
        guard role.runsGroups != node.role.runsGroups else { return node.role = role }
        self.queue.add(.swarm(.becomes(node, role)), at: self.now + 50_000_000)
    }

    func become(_ role: NodeRole, _ node: SimulatedNode) {
        node.role = role
        self.killDaemon(
            node, until: self.now + self.swarm.random.span(.milliseconds(50), .milliseconds(400)).nanoseconds)
    }

    /// What holds also where no fault ever happened.
    func checkMembersCalmly() {
        guard self.swarm.has(.members) else { return }
        let history = self.checkers.history
        self.counts["changes of members"] = history.memberChanges
        self.counts["changes of voters"] = history.voterChanges
        self.checkWishes()
    }
}

/// How many messages of some kinds were sent.
struct SentCounts {
    private var renewals: UInt64 = 0
    private var answers: UInt64 = 0
    private var summaries: UInt64 = 0
    private var pings: UInt64 = 0
    private var others: UInt64 = 0

    mutating func count(_ message: NodeMessage) {
        switch message {
        case .renewal: self.renewals += 1
        case .renewed: self.answers += 1
        case .summary: self.summaries += 1
        case .ping: self.pings += 1
        default: self.others += 1
        }
    }

    /// With the names for people.
    var named: [(String, UInt64)] {
        [
            ("renewals sent", self.renewals), ("renewals answered", self.answers), ("summaries sent", self.summaries),
            ("pings sent", self.pings), ("other messages sent", self.others),
        ]
    }
}

extension Simulation {
    func countSent() {
        for (name, count) in self.sent.named { self.counts[name] = count }
    }
}
