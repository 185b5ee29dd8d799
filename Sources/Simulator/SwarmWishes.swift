import Basis
import Cluster
import Raft
import Resources

/// What clients asked for, and what they were told. Linearizable: an answer stands for one entry of the log, which is in
/// it for ever; who asks after an answer gets a later entry; and what was acknowledged holds until somebody else asked.
struct Wishes {
    /// A request that was not answered yet, or in vain.
    struct Open {
        var command: Command
        var node: NodeID
        /// The highest index that anybody was told before it was asked.
        var after: LogIndex
    }

    /// What a wish is about: the latest that was acknowledged holds until another one about it is asked.
    enum Subject: Hashable {
        case group(GroupName)
        case drain(NodeID)
        case leaving(NodeID)
        case role(NodeID)
        case site(NodeID)
        case configuration
    }

    /// What was acknowledged.
    private struct Held {
        var command: Command
        var index: LogIndex
    }

    private var nextClient: UInt64 = 1000
    /// Other clients, who put and read attributes.
    var attributes = AttributeClients()
    private(set) var open: [UInt64: Open] = [:]
    private var answered: Set<UInt64> = []
    /// Up to which number the requests of a machine count for nothing.
    private var void: [NodeID: UInt64] = [:]
    /// The same of all machines.
    private var voidUpTo: UInt64 = 0
    /// The highest index in any answer.
    private(set) var acknowledged = LogIndex.zero
    private var clientOf: [LogIndex: UInt64] = [:]
    private var held: [Subject: Held] = [:]
    /// Of all that was acknowledged about it what comes last in the log: answers may come in another order.
    private var latest: [Subject: Held] = [:]
    /// Something was asked about it whose fate nobody knows.
    private var uncertain: Set<Subject> = []
    /// Requests under way about it.
    private var underWay: [Subject: Int] = [:]

    static func subject(of command: Command) -> Subject? {
        switch command {
        case .want(let group, _): .group(group)
        case .drain(let node, _): .drain(node)
        case .configure: .configuration
        case .retire(let node, _), .replaceNode(let node, _): .leaving(node)
        case .setNode(let node, let change):
            change.role != nil ? .role(node) : change.site != nil ? .site(node) : nil
        default: nil
        }
    }

    mutating func ask(_ command: Command, of node: NodeID) -> UInt64 {
        self.nextClient += 1
        self.open[self.nextClient] = Open(command: command, node: node, after: self.acknowledged)
        if let subject = Self.subject(of: command) {
            self.held[subject] = nil
            self.underWay[subject, default: 0] += 1
        }
        return self.nextClient
    }

    /// Somebody whose answers nobody notes asked for something.
    mutating func lose(_ command: Command) {
        guard let subject = Self.subject(of: command) else { return }
        self.held[subject] = nil
        self.uncertain.insert(subject)
    }

    /// The daemon that was asked is gone: nobody will know.
    mutating func daemonEnded(_ node: NodeID) {
        self.attributes.lose(node)
        for id in self.open.keys.sorted() where self.open[id]?.node == node { self.give(up: id) }
    }

    mutating func give(up id: UInt64) {
        guard let request = self.open.removeValue(forKey: id) else { return }
        self.answered.insert(id)
        guard let subject = Self.subject(of: request.command) else { return }
        self.underWay[subject, default: 1] -= 1
        self.held[subject] = nil
        self.uncertain.insert(subject)
    }

    /// The machine is what it was before, and so are the clients on it: what they ask and hear there counts for nothing.
    mutating func takenBack(_ node: NodeID) {
        self.daemonEnded(node)
        self.void[node] = self.nextClient
    }

    /// A lost majority was left behind: what anybody was told before counts no more, and nobody hears what is answered to that.
    mutating func beginAnew() {
        for id in self.open.keys { self.answered.insert(id) }
        self.open = [:]
        self.voidUpTo = self.nextClient
        self.acknowledged = .zero
        self.clientOf = [:]
        self.held = [:]
        self.latest = [:]
        self.uncertain = []
        self.underWay = [:]
    }

    /// What is wrong with an answer; nil when nothing is.
    mutating func take(
        _ id: UInt64, _ outcome: Outcome, at index: LogIndex, _ entry: LogCommand?, from node: NodeID
    ) -> String? {
        if id <= max(self.voidUpTo, self.void[node] ?? 0) { return nil }
        if self.answered.contains(id) { return "request \(id) was answered twice, now with \(outcome) at \(index)" }
        guard let request = self.open[id] else { return "an answer to request \(id), which nobody made" }
        guard outcome == .accepted else {
            self.open[id] = nil
            self.answered.insert(id)
            if let subject = Self.subject(of: request.command) { self.underWay[subject, default: 1] -= 1 }
            return nil
        }
        if let other = self.clientOf[index] { return "requests \(other) and \(id) were both told \(index)" }
        if index <= request.after {
            return "request \(id) was told \(index), and began after somebody was told \(request.after)"
        }
        if let entry, entry.command != request.command || entry.origin != request.node {
            return "request \(id) for \(request.command) was told \(index), where the log has \(entry.command)"
        }
        self.open[id] = nil
        self.answered.insert(id)
        self.clientOf[index] = id
        self.acknowledged = max(self.acknowledged, index)
        guard let subject = Self.subject(of: request.command) else { return nil }
        self.underWay[subject, default: 1] -= 1
        if index > self.latest[subject]?.index ?? .zero {
            self.latest[subject] = Held(command: request.command, index: index)
        }
        if self.underWay[subject] == 0, !self.uncertain.contains(subject) { self.held[subject] = self.latest[subject] }
        return nil
    }

    /// What was acknowledged and does not show in this state.
    func missing(in state: ClusterState) -> String? {
        for (subject, held) in self.held.sorted(by: { $0.value.index < $1.value.index })
        where state.appliedIndex >= held.index {
            let isThere =
                switch held.command {
                case .want(let group, let isRunning):
                    state.group(group).map { $0.isWanted == isRunning } ?? (state.policy.group(group) == nil)
                case .drain(let node, let isDrained):
                    state.hasLeft(node) || state.node(node)?.isDrained == isDrained
                case .retire(let node, let isRetiring):
                    state.hasLeft(node) ? isRetiring : state.node(node)?.isRetiring == isRetiring
                case .setNode(let node, let change):
                    state.hasLeft(node) || state.node(node).map { change.applied(to: $0.about) == $0.about } ?? false
                case .configure(let policy, _, _): state.policyIndex == held.index && state.policy == policy
                default: true
                }
            if !isThere { return "\(subject): \(held.command) was acknowledged at \(held.index)" }
        }
        return nil
    }
}

extension Simulation {
    /// A client asks some daemon, and notes what it is told.
    func ask(_ command: Command, of node: SimulatedNode) {
        guard node.isOn, self.now >= node.scheduledFrom, node.daemon != nil else { return }
        let id = self.wishes.ask(command, of: node.id)
        self.note("client \(id) asks \(node.name): \(command)")
        self.count("wishes")
        self.step(node, .client(id: id, .propose(command)))
    }

    func answer(_ id: UInt64, _ reply: ClientReply, from node: SimulatedNode) {
        if id >= RecoveryDrill.firstID { return self.drill.answers[id] = reply }
        if id >= AttributeClients.firstID { return self.attributeAnswered(id, reply) }
        if case .applied(.accepted, let index) = reply, id >= History.firstID {
            self.checkers.history.answered(id, at: index)
        }
        guard id > 1000, id < History.firstID else { return }
        switch reply {
        case .applied(let outcome, let index):
            self.note("client \(id) is told: \(outcome) at \(index)")
            self.count(outcome == .accepted ? "wishes acknowledged" : "wishes refused")
            let entry = outcome == .accepted ? self.command(at: index, on: node) : nil
            if let broken = self.wishes.take(id, outcome, at: index, entry, from: node.id) {
                self.fail("Linearizable: \(broken)")
            }
        case .noQuorum: self.wishes.give(up: id)
        default: return
        }
    }

    private func command(at index: LogIndex, on node: SimulatedNode) -> LogCommand? {
        guard case .command(let bytes)? = node.daemon?.supervisor.consensus.entry(at: index)?.payload else {
            return nil
        }
        return try? LogCommand(decoding: bytes)
    }

    /// One wish of an operator, or a look at what was wished.
    func wish() {
        guard self.now < self.options.length.nanoseconds, !self.swarm.isOver else { return }
        self.queue.add(
            .swarm(.wish), at: self.now + self.swarm.random.span(.milliseconds(50), .seconds(12)).nanoseconds)
        self.checkWishes()
        let node = self.anyNode()
        guard let groups = node.daemon?.supervisor.state.policy.groups, self.now >= node.scheduledFrom else { return }
        guard !groups.isEmpty else { return }
        let group = groups[Int(self.swarm.random.below(UInt64(groups.count)))]
        let target = self.anyNode()
        switch self.swarm.random.below(12) {
        case 0, 1, 2: self.ask(.move(group.name, to: target.id), of: node)
        case 3, 4: self.ask(.want(group.name, isRunning: false), of: node)
        case 5, 6, 7: self.ask(.want(group.name, isRunning: true), of: node)
        case 8: self.ask(.drain(target.id, isDrained: true), of: node)
        case 9: self.ask(.drain(target.id, isDrained: false), of: node)
        case 10: if let volume = group.volumes.first { self.ask(.compare(volume), of: node) }
        default:
            guard self.now >= self.quietUntil else { return }
            self.step(node, .client(id: 1, .transferLeadership(to: target.id)))
        }
    }

    func anyNode() -> SimulatedNode { self.anyNode(&self.swarm.random) }

    /// One that has not left the cluster.
    func anyNode(_ random: inout SeededRandom) -> SimulatedNode {
        let living = self.living
        return living[Int(random.below(UInt64(living.count)))]
    }

    /// Nothing that was acknowledged is lost, on any node that has come that far.
    func checkWishes() {
        for node in self.nodes {
            guard let state = node.daemon?.supervisor.state, let missing = self.wishes.missing(in: state) else {
                continue
            }
            return self.fail("Linearizable: on \(node.name) it does not show that \(missing)")
        }
    }
}
