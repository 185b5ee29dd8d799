import Basis

/// The attributes of a cluster: a map that every node has. What it may grow to is bounded, for a snapshot carries it.
public struct Attributes: Equatable, Sendable {
    /// What there may be.
    public struct Room: Equatable, Sendable {
        /// How many.
        public let count: Int
        /// What names and values of all of them may take together.
        public let bytes: Int

        /// Builds that do the first two levels wrote a snapshot in the loop of the daemon: there it had to be small.
        private static let first = Room(count: 1000, bytes: 256 << 10)
        private static let large = Room(count: 1 << 17, bytes: 128 << 20)

        /// What a cluster has that can do so much.
        public init(at level: FeatureLevel) { self = level < FeatureLevel(3) ? .first : .large }

        private init(count: Int, bytes: Int) {
            self.count = count
            self.bytes = bytes
        }
    }

    /// Sorted by key.
    public private(set) var records: [Attribute] = []
    /// What names and values take together.
    public private(set) var bytes = 0

    init() {}

    /// What one says.
    public subscript(key: AttributeKey) -> Attribute? { self.place(of: key).map { self.records[$0] } }

    private func place(of key: AttributeKey) -> Int? { self.records.place(of: key, by: \.key) }

    /// Puts one in the place of what was there; nil when it did, else why there is no room.
    fileprivate mutating func put(_ attribute: Attribute, in room: Room) -> Refusal? {
        let place = self.place(of: attribute.key)
        if place == nil, self.records.count >= room.count {
            return .unfit("there are \(room.count) attributes, which is the most; delete what is not needed")
        }
        let others = self.bytes - (place.map { self.records[$0].bytes } ?? 0)
        guard others + attribute.bytes <= room.bytes else {
            return .unfit(
                "the attributes of a cluster have at most \(room.bytes) bytes together, and it would be "
                    + "\(others + attribute.bytes); delete what is not needed")
        }
        self.bytes = others + attribute.bytes
        if let place {
            self.records[place] = attribute
        } else {
            self.records.insert(attribute, at: self.records.insertion(of: attribute.key, by: \.key))
        }
        return nil
    }

    /// Takes one away; false when it was not there.
    fileprivate mutating func remove(_ key: AttributeKey) -> Bool {
        guard let place = self.place(of: key) else { return false }
        self.bytes -= self.records.remove(at: place).bytes
        return true
    }

    fileprivate mutating func removeAll(where isGone: (Attribute) -> Bool) {
        guard self.records.contains(where: isGone) else { return }
        self.records.removeAll(where: isGone)
        self.count()
    }

    private mutating func count() { self.bytes = self.records.reduce(0) { $0 + $1.bytes } }

    func encode(into writer: inout ByteWriter) { writer.list(self.records) { $1.encode(into: &$0) } }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Attributes {
        var attributes = Attributes()
        attributes.records = try reader.list { (reader) throws(CodecError) in try Attribute.decode(from: &reader) }
        attributes.count()
        return attributes
    }

    /// Sorted, within bounds, and nothing that entries to come are to bring.
    func checkInvariants(in state: ClusterState) throws(BrokenInvariant) {
        let room = Room(at: state.level)
        try invariant(self.records.isAscending(by: \.key), "ClusterState: attributes are out of order (A1)")
        try invariant(
            self.records.count <= room.count && self.bytes <= room.bytes,
            "ClusterState: \(self.records.count) attributes of \(self.bytes) bytes")
        try invariant(
            self.bytes == self.records.reduce(0) { $0 + $1.bytes }, "ClusterState: attributes are not counted right")
        for record in self.records {
            try invariant(
                record.version <= state.appliedIndex, "ClusterState: \(record.key) was put by no entry yet (A1)")
            guard case .node(let node) = record.key.scope else { continue }
            try invariant(state.nodes.place(of: node) != nil, "ClusterState: \(record.key) is about nobody")
        }
    }
}

extension ClusterState {
    mutating func applyAttribute(_ command: Command, at index: LogIndex) -> Outcome {
        switch command {
        case .putAttribute(let key, let value, let lifetime, let expected):
            if let refusal = self.objection(toPutting: key, value, lifetime) ?? self.difference(key, expected) {
                return .refused(refusal)
            }
            let attribute = Attribute(key: key, value: value, lifetime: lifetime, version: index)
            return self.attributes.put(attribute, in: Attributes.Room(at: self.level)).map { .refused($0) } ?? .accepted
        case .deleteAttribute(let key, let expected):
            if let refusal = self.difference(key, expected) { return .refused(refusal) }
            return self.attributes.remove(key) ? .accepted : .refused(.unknown(.attribute(key)))
        default:
            preconditionFailure("not about attributes: \(command)")
        }
    }

    /// What is there is judged here, in the order of the log, and by what the asking node had seen not at all. (Rule A1)
    private func difference(_ key: AttributeKey, _ expected: AttributeExpectation?) -> Refusal? {
        let present = self.attributes[key]
        guard let expected, !expected.holds(for: present) else { return nil }
        return .differs(key, present: present)
    }

    private func objection(
        toPutting key: AttributeKey, _ value: String, _ lifetime: AttributeLifetime
    ) -> Refusal? {
        if let problem = key.problem ?? Attribute.problem(ofValue: value) { return .unfit(problem) }
        guard case .node(let node) = key.scope else {
            return lifetime == .forever
                ? nil : .unfit("only an attribute of a node can end with a boot, and \(key.name) is of the cluster")
        }
        guard let record = self.node(node) else { return .unknown(.node(node)) }
        guard case .boot(let life) = lifetime else { return nil }
        guard record.standing != .lost, record.standing != .never, record.incarnation == life else {
            return .over("that life of \(record.about.name) is over, and what would end with it ends now")
        }
        return nil
    }

    /// What was said of a node goes: all of it with the node, or what was to last as long as its life.
    mutating func forgetAttributes(of node: NodeID, ofItsLifeAlone: Bool = false) {
        self.attributes.removeAll { $0.key.scope == .node(node) && (!ofItsLifeAlone || $0.lifetime != .forever) }
    }
}
