import Basis
import Cluster
import Raft
import Resources

/// An operator who edits the configuration all the time: addresses change hands between running groups, and running
/// groups change their names. (Rule B5)
struct Edits {
    /// Its own chance, so that a seed means the same without edits.
    var random: SeededRandom
    /// The present names of the groups that are edited.
    var names = ["one", "two"]
    /// Which of them has each address; nobody beyond the end.
    var holders = [0, 1]
    /// Nobody edits before that.
    var heldUntil: UInt64 = 0

    static let allNames = ["one", "two", "uno", "due"]

    init(seed: UInt64) { self.random = SeededRandom(seed: seed ^ 0xED17_5EED_ED17_5EED) }

    /// Another name for one of the groups, which is to be removed under the present one.
    mutating func rename(_ place: Int) {
        let other = ["one": "uno", "uno": "one", "two": "due", "due": "two"]
        self.names[place] = other[self.names[place]] ?? self.names[place]
    }

    mutating func change() {
        let place = Int(self.random.below(2))
        switch self.random.below(4) {
        case 0: self.holders.swapAt(0, 1)
        case 1: self.holders[place] = Int(self.random.below(3))
        case 2: self.holders = [place, place]
        default: self.rename(place)
        }
    }
}

extension Simulation {
    /// The policy with the edited groups as they are to be now.
    func edited(_ policy: ClusterPolicy) -> ClusterPolicy {
        guard self.options.hasEdits else { return policy }
        let members = self.hosts
        func resource(_ name: String, _ agent: String, _ key: String, _ value: String) -> ResourcePolicy {
            ResourcePolicy(
                name: ResourceName(name), agent: agent, parameters: [.init(key, value)], startTimeout: .seconds(10),
                stopTimeout: .seconds(5), monitorInterval: .seconds(5), monitorTimeout: .seconds(2))
        }
        let groups = self.edits.names.enumerated().map { place, name in
            var resources = [resource("app-\(place)", "exec", "command", "serve \(place)")]
            for (address, holder) in self.edits.holders.enumerated() where holder == place {
                resources.append(resource("ip-\(address)", "address", "address", "10.0.0.\(address + 1)/24"))
            }
            return GroupPolicy(
                name: GroupName(name), nodes: place == 0 ? members : members.reversed(), maximumMoves: 100_000,
                resources: resources)
        }
        let others = policy.groups.filter { !Edits.allNames.contains($0.name.rawValue) }
        return ClusterPolicy(
            name: policy.name, timing: policy.timing, volumes: policy.volumes, groups: others + groups,
            leaderSites: policy.leaderSites)
    }

    /// Changes something, and applies it where somebody leads.
    func edit() {
        guard self.options.hasEdits, self.now < self.options.length.nanoseconds else { return }
        self.queue.add(.edit, at: self.now + self.edits.random.span(.seconds(1), .seconds(40)).nanoseconds)
        guard self.now >= self.edits.heldUntil, !self.drill.isInTheMiddle else { return }
        self.edits.change()
        self.applyEdits()
    }

    /// Applies the configuration as it is to be now, where somebody leads.
    func applyEdits() {
        self.count("edits")
        for node in self.nodes where node.isOn && self.now >= node.scheduledFrom {
            guard let supervisor = node.daemon?.supervisor, supervisor.consensus.isLeader else { continue }
            let policy = self.edited(supervisor.state.policy)
            self.wishes.lose(.configure(policy, text: "", expectedIndex: .zero))
            // A group that comes back under a name which one had before is another: it runs, whatever was wished of that one.
            for name in Edits.allNames.map({ GroupName($0) })
            where (policy.group(name) == nil) != (supervisor.state.policy.group(name) == nil) {
                self.wishes.lose(.want(name, isRunning: true))
            }
            self.note("an operator edits: \(self.edits.names) have \(self.edits.holders)")
            let command = Command.configure(policy, text: "", expectedIndex: supervisor.state.policyIndex)
            self.disturb()
            self.step(node, .client(id: self.checkers.history.ask(command), .propose(command)))
        }
    }

    /// One holder of each address and of each service, whatever its group is called; and one owner of each name. A paused
    /// machine runs nothing.
    func checkClaims(of node: SimulatedNode) {
        let mine = self.claims(of: node)
        guard !mine.isEmpty, node.isOn, self.now >= node.pausedUntil else { return }
        if let twice = mine.first(where: { claim in mine.filter { $0.what == claim.what }.count > 1 }) {
            return self.fail("Claims: \(twice.what) is held twice on \(node.name), by \(twice.group) too")
        }
        for other in self.nodes where other.id != node.id && other.isOn && self.now >= other.pausedUntil {
            for claim in self.claims(of: other) {
                guard let met = mine.first(where: { $0.what == claim.what }) else { continue }
                // What no rule can take away; and what is frozen, without its addresses, runs nothing. (Rules L17 to L20)
                if self.now < max(node.overlapsUntil, other.overlapsUntil) || node.isFrozen || other.isFrozen {
                    continue
                }
                return self.fail(
                    "Claims: \(claim.what) is held by \(claim.group) on \(other.name) and by \(met.group) on "
                        + "\(node.name)")
            }
        }
    }

    private func claims(of node: SimulatedNode) -> [(what: String, group: String)] {
        Edits.allNames.flatMap { name -> [(what: String, group: String)] in
            let running = node.running(GroupName(name)).keys.map(\.rawValue).sorted()
            let held = running.map { (what: $0, group: name) }
            return held + (running.isEmpty ? [] : [(what: name, group: name)])
        }
    }

    /// BoundedRecovery for what was edited: all runs as the configuration in force says.
    func checkEdited(_ leader: Supervisor) {
        guard self.options.hasEdits else { return }
        for group in leader.state.policy.groups where Edits.allNames.contains(group.name.rawValue) {
            let owners = self.nodes.filter { node in
                node.daemon?.supervisor.groups.runners.contains {
                    $0.name == group.name && $0.isUp && $0.agrees(with: group)
                } == true
            }
            if owners.count != 1 {
                self.fail(
                    "BoundedRecovery: \(group.name) runs whole on \(owners.map(\.name)) although all are well: "
                        + "\(leader.state.group(group.name).map { String(describing: $0) } ?? "no record")")
            }
        }
    }
}
