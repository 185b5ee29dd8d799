import Basis

/// The attributes of a cluster: a small map that every node has. What it may grow to is bounded, for a snapshot carries it.
public struct Attributes: Equatable, Sendable {
    /// Sorted by key.
    public private(set) var records: [Attribute] = []

    /// How many there may be.
    public static let countMaximum = 1000
    /// What names and values of all of them may take together, in bytes.
    public static let bytesMaximum = 256 << 10

    init() {}

    /// What one says.
    public subscript(key: AttributeKey) -> Attribute? { self.place(of: key).map { self.records[$0] } }

    private func place(of key: AttributeKey) -> Int? { self.records.place(of: key, by: \.key) }

    /// Puts one in the place of what was there; nil when it did, else why there is no room.
    fileprivate mutating func put(_ attribute: Attribute) -> Refusal? {
        let place = self.place(of: attribute.key)
        if place == nil, self.records.count >= Self.countMaximum {
            return .unfit("there are \(Self.countMaximum) attributes, which is the most; delete what is not needed")
        }
        let others = self.bytes - (place.map { self.records[$0].bytes } ?? 0)
        guard others + attribute.bytes <= Self.bytesMaximum else {
            return .unfit(
                "the attributes of a cluster have at most \(Self.bytesMaximum) bytes together, and it would be "
                    + "\(others + attribute.bytes); delete what is not needed")
        }
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
        self.records.remove(at: place)
        return true
    }

    fileprivate mutating func removeAll(where isGone: (Attribute) -> Bool) {
        if self.records.contains(where: isGone) { self.records.removeAll(where: isGone) }
    }

    private var bytes: Int { self.records.reduce(0) { $0 + $1.bytes } }

    func encode(into writer: inout ByteWriter) { writer.list(self.records) { $1.encode(into: &$0) } }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Attributes {
        var attributes = Attributes()
        attributes.records = try reader.list { (reader) throws(CodecError) in try Attribute.decode(from: &reader) }
        return attributes
    }

    /// Sorted, within bounds, and nothing that entries to come are to bring.
    func checkInvariants(in state: ClusterState) throws(BrokenInvariant) {
        try invariant(self.records.isAscending(by: \.key), "ClusterState: attributes are out of order (A1)")
        try invariant(
            self.records.count <= Self.countMaximum && self.bytes <= Self.bytesMaximum,
            "ClusterState: \(self.records.count) attributes of \(self.bytes) bytes")
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
            return self.attributes.put(attribute).map { .refused($0) } ?? .accepted
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
