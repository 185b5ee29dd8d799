import Basis
import Cluster
import Raft

/// Clients of attributes, and what they are told. Linearizable: each attribute is a register. Every answer must show what the log
/// makes of it at the index that it names, and nothing older than what anybody was told before it was asked. (Rules A1, A2)
struct AttributeClients {
    /// What a client wants.
    enum Wish: Equatable {
        case get
        case put(String, expecting: AttributeExpectation?)
        case delete(expecting: AttributeExpectation?)
    }

    private struct Open {
        var key: AttributeKey
        var wish: Wish
        var node: NodeID
        /// The latest change of it that anybody was told of before this was asked.
        var after: LogIndex
    }

    /// What a client was told: at this entry the attribute is this.
    private struct Told: CustomStringConvertible {
        var open: Open
        var index: LogIndex
        var attribute: Attribute?
        /// The change that was asked for is that entry; else it was refused for what is there, or nothing was to be changed.
        var isDone = false

        var description: String {
            let told = self.isDone ? "done" : "\(AttributeClients.words(self.attribute))"
            return "\(self.open.wish) of \(self.open.key) on \(self.open.node), told \(told) at \(self.index),"
        }
    }

    /// What an entry made of an attribute.
    private struct Change: CustomStringConvertible {
        var index: LogIndex
        var attribute: Attribute?
        var description: String { "\(AttributeClients.words(self.attribute)) since \(self.index)" }
    }

    private static func words(_ attribute: Attribute?) -> String {
        attribute.map { "\"\($0.value)\" of \($0.version)" } ?? "nothing"
    }

    /// Above all numbers of other clients.
    static let firstID: UInt64 = 1 << 40
    private var nextID = Self.firstID
    private var open: [UInt64: Open] = [:]
    private var changes: [AttributeKey: [Change]] = [:]
    private var known: [AttributeKey: LogIndex] = [:]
    /// Up to which entry the changes are known.
    private var upTo = LogIndex.zero
    private var waiting: [Told] = []
    private(set) var violation: String?
    /// Answers that were compared.
    private(set) var compared: UInt64 = 0
    /// Of its own, so that a seed means the same without it.
    var random = SeededRandom(seed: 0)

    mutating func ask(_ wish: Wish, about key: AttributeKey, of node: NodeID) -> UInt64 {
        self.nextID += 1
        self.open[self.nextID] = Open(key: key, wish: wish, node: node, after: self.known[key] ?? .zero)
        return self.nextID
    }

    /// The daemon that was asked is gone, or its machine is what it was before: nobody will know.
    mutating func lose(_ node: NodeID) {
        for id in self.open.keys.sorted() where self.open[id]?.node == node { self.open[id] = nil }
    }

    /// What the log makes of the attributes, after each of its entries.
    mutating func entered(_ state: ClusterState, keys: [AttributeKey]) {
        self.upTo = state.appliedIndex
        for key in keys {
            let present = state.attributes[key]
            guard present?.version != self.changes[key]?.last?.attribute?.version else { continue }
            self.changes[key, default: []].append(Change(index: state.appliedIndex, attribute: present))
        }
        while let told = self.waiting.first, told.index <= self.upTo {
            self.waiting.removeFirst()
            self.compare(told)
        }
    }

    /// An answer; of one that nobody waits for any more nothing is said.
    mutating func take(_ id: UInt64, _ reply: ClientReply) {
        guard let open = self.open.removeValue(forKey: id) else { return }
        var told = Told(open: open, index: .zero)
        switch reply {
        case .readable(let index, let attributes): (told.index, told.attribute) = (index, attributes[open.key])
        case .applied(.accepted, let index):
            (told.index, told.isDone) = (index, true)
        case .applied(.refused(.differs(_, let present)), let index): (told.index, told.attribute) = (index, present)
        case .applied(.refused(.unknown(.attribute)), let index): told.index = index
        default: return
        }
        if told.index <= self.upTo { self.compare(told) } else { self.waiting.append(told) }
    }

    private func change(of key: AttributeKey, at index: LogIndex) -> Change {
        self.changes[key]?.last { $0.index <= index } ?? Change(index: .zero, attribute: nil)
    }

    private mutating func compare(_ told: Told) {
        self.compared += 1
        let (key, truth) = (told.open.key, self.change(of: told.open.key, at: told.index))
        let before = self.change(of: key, at: told.index.previous)
        if truth.index < told.open.after {
            return self.fail("\(told) is from before \(told.open.after), which was told before it was asked")
        }
        switch told.open.wish {
        case .put(let value, let expected) where told.isDone:
            if truth.index != told.index || truth.attribute?.value != value || !Self.fits(before.attribute, expected) {
                return self.fail("\(told) was acknowledged, and the log has \(truth) after \(before)")
            }
        case .delete(let expected) where told.isDone:
            if truth.attribute != nil || before.attribute == nil || !Self.fits(before.attribute, expected) {
                return self.fail("\(told) was acknowledged, and the log has \(truth) after \(before)")
            }
        case .put(_, let expected), .delete(let expected):
            let isDelete = if case .delete = told.open.wish { true } else { false }
            let isUnmet = !Self.fits(before.attribute, expected) || isDelete && before.attribute == nil
            if !isUnmet || told.attribute != before.attribute {
                return self.fail("\(told) was refused, and the log has \(before) there")
            }
        case .get:
            if told.attribute != truth.attribute {
                return self.fail("\(told) was shown, and the log has \(truth) there")
            }
        }
        self.known[key] = max(self.known[key] ?? .zero, truth.index)
    }

    private static func fits(_ present: Attribute?, _ expected: AttributeExpectation?) -> Bool {
        switch expected {
        case nil: true
        case .absent?: present == nil
        case .value(let value)?: present?.value == value
        case .version(let version)?: present?.version == version
        }
    }

    private mutating func fail(_ text: String) {
        if self.violation == nil { self.violation = "Linearizable: \(text)" }
    }
}

extension Simulation {
    /// What clients put and read: two of the cluster, and one of each node that ends with its life.
    var attributeKeys: [AttributeKey] {
        [AttributeKey(.cluster, "a"), AttributeKey(.cluster, "b")]
            + self.nodes.map { AttributeKey(.node($0.id), "boot") }
    }

    /// One client asks some daemon.
    func useAttribute() {
        guard self.now < self.options.length.nanoseconds, !self.swarm.isOver else { return }
        // Many at once, and then nobody for a while: only those that overlap show anything.
        let isAtOnce = self.wishes.attributes.random.chance(perMille: 800)
        let pause = self.wishes.attributes.random.span(.zero, isAtOnce ? .milliseconds(4) : .seconds(16))
        self.queue.add(.swarm(.attribute), at: self.now + pause.nanoseconds)
        let node = self.anyNode(&self.wishes.attributes.random)
        guard node.isOn, self.now >= node.scheduledFrom, let daemon = node.daemon else { return }
        let keys = self.attributeKeys
        // Mostly the first, so that many change the same at once.
        let place = self.wishes.attributes.random.below(UInt64(keys.count) * 2)
        let key = keys[Int(place) < keys.count ? Int(place) : 0]
        let seen = daemon.supervisor.state.attributes[key]
        let expected: AttributeExpectation? =
            switch self.wishes.attributes.random.below(6) {
            case 0: .absent
            case 1: seen.map { .value($0.value) }
            case 2, 3: seen.map { .version($0.version) }
            default: nil
            }
        switch self.wishes.attributes.random.below(10) {
        case 0: self.ask(.delete(expecting: expected), about: key, .deleteAttribute(key, expecting: expected), of: node)
        case 1...4:
            // Few values, so that one comes again.
            let value = "\(self.wishes.attributes.random.below(4))"
            var lifetime = AttributeLifetime.forever
            if case .node(let subject) = key.scope { lifetime = .boot(daemon.incarnation(of: subject)) }
            self.ask(
                .put(value, expecting: expected), about: key,
                .putAttribute(key, value: value, lifetime: lifetime, expecting: expected), of: node)
        default: self.ask(.get, about: key, nil, of: node)
        }
    }

    private func ask(
        _ wish: AttributeClients.Wish, about key: AttributeKey, _ command: Command?, of node: SimulatedNode
    ) {
        let id = self.wishes.attributes.ask(wish, about: key, of: node.id)
        self.note("client \(id) asks \(node.name) about \(key): \(wish)")
        self.count(command == nil ? "attributes asked for" : "attributes changed")
        self.step(node, .client(id: id, command.map { .propose($0) } ?? .read))
    }

    func attributeAnswered(_ id: UInt64, _ reply: ClientReply) {
        self.note("client \(id) is told: \(reply)")
        self.wishes.attributes.take(id, reply)
        self.counts["attribute answers compared"] = self.wishes.attributes.compared
        if let violation = self.wishes.attributes.violation { self.fail(violation) }
    }

    /// An entry was applied somewhere for the first time.
    func attributesEntered(_ state: ClusterState) {
        guard self.swarm.has(.attributes) else { return }
        self.wishes.attributes.entered(state, keys: self.attributeKeys)
        if let violation = self.wishes.attributes.violation { self.fail(violation) }
    }

    /// What the features of this seed do for the first time.
    ///
    /// `begin`: when the faults of the run begin, or begin anew.
    func beginSwarm(after begin: UInt64 = 0) {
        guard !self.swarm.isEmpty else { return }
        self.note("the features of this seed: \(self.swarm.words)")
        self.queue.add(.swarm(.strike), at: begin + 20_000_000_000)
        if self.swarm.has(.wishes) { self.queue.add(.swarm(.wish), at: begin + 15_000_000_000) }
        if self.swarm.has(.members) { self.queue.add(.swarm(.changeMembers), at: begin + 12_000_000_000) }
        if self.swarm.has(.configuration) { self.queue.add(.swarm(.reconfigure), at: begin + 12_000_000_000) }
        if self.swarm.has(.backings) { self.queue.add(.swarm(.changeBackings), at: begin + 14_000_000_000) }
        if self.swarm.has(.sites) { self.queue.add(.swarm(.preferSites), at: begin + 10_000_000_000) }
        if self.swarm.has(.pauses) { self.queue.add(.swarm(.announcePause), at: begin + 11_000_000_000) }
        if self.swarm.has(.copies) { self.queue.add(.swarm(.imageCopy), at: begin + 15_000_000_000) }
        // Their clients know of one log alone.
        guard self.swarm.has(.attributes), begin == 0 else { return }
        self.wishes.attributes.random = SeededRandom(seed: self.options.seed ^ 0xA77_21B0_7E50)
        self.queue.add(.swarm(.attribute), at: begin + 10_000_000_000)
    }
}
