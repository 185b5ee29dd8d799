import Basis
import Raft
import Resources

extension LogCommand {
    /// The bytes of a log entry.
    public var encoded: [UInt8] {
        var writer = ByteWriter(reserving: 128)
        writer.node(self.origin, version: self.command.kindLevel.rawValue)
        writer.uint64(self.nonce)
        writer.uint64(self.sequence)
        writer.uint64(self.clusterMilliseconds)
        writer.uint64(self.wallMilliseconds)
        self.command.encode(into: &writer)
        return writer.bytes
    }

    /// Reads what `encoded` wrote.
    public init(decoding bytes: [UInt8]) throws(CodecError) {
        var reader = ByteReader(bytes)
        (self.origin, _) = try reader.versionedNode(.logEntry)
        self.nonce = try reader.uint64()
        self.sequence = try reader.uint64()
        self.clusterMilliseconds = try reader.uint64()
        self.wallMilliseconds = try reader.uint64()
        self.command = try Command.decode(from: &reader)
        try reader.finish()
    }

    /// Where the type of the command stands in the bytes of an entry, in every version: who has a `suspect` in the log has made its
    /// promise, whatever else of the entry it can read. (Rule L4)
    private static let typeOffset = 4 + 4 * 8

    /// Whether these bytes of an entry hold a `suspect`, without reading the rest of them.
    static func isSuspicion(_ bytes: [UInt8]) -> Bool {
        bytes.count > self.typeOffset && bytes[self.typeOffset] == Command.suspectType
    }

    /// Whether these bytes of an entry hold an `admit`, likewise.
    static func isAdmission(_ bytes: [UInt8]) -> Bool {
        bytes.count > self.typeOffset && bytes[self.typeOffset] == Command.admitType
    }

    /// Whether these bytes of an entry hold a `recovered`, likewise.
    static func isRecovery(_ bytes: [UInt8]) -> Bool {
        bytes.count > self.typeOffset && bytes[self.typeOffset] == Command.recoveredType
    }

    /// The feature level that these bytes of an entry raise the cluster to, likewise; nil when they hold no `raise`.
    static func raisedLevel(_ bytes: [UInt8]) -> FeatureLevel? {
        guard bytes.count > self.typeOffset, bytes[self.typeOffset] == Command.raiseType else { return nil }
        var reader = ByteReader(Array(bytes[(self.typeOffset + 1)...]))
        return (try? reader.uint32()).map { FeatureLevel($0) }
    }

    /// The D of the policy in these bytes of an entry, without reading the rest of them; nil when they hold no `configure`.
    static func configuredLease(_ bytes: [UInt8]) -> Span? {
        guard bytes.count > self.typeOffset, Command.configureTypes.contains(bytes[self.typeOffset]) else { return nil }
        var reader = ByteReader(Array(bytes[(self.typeOffset + 1)...]))
        return try? ClusterPolicy.decodeTiming(from: &reader).leaseDuration
    }
}

extension Command {
    /// The type byte of `suspect`.
    static let admitType: UInt8 = 3
    static let suspectType: UInt8 = 4
    /// The type byte of `recovered`.
    static let recoveredType: UInt8 = 34
    /// The type byte of `raise`.
    static let raiseType: UInt8 = 100
    /// The type bytes of `configure`: as it ever was, and with the sites in which a node should lead.
    static let configureTypes: [UInt8] = [8, 106]

    /// Appends a type byte and the fields.
    public func encode(into writer: inout ByteWriter) {
        switch self {
        case .bootstrap(let clusterID, let clusterName, let node):
            writer.uint8(1)
            writer.uint64(clusterID)
            writer.string(clusterName)
            node.encode(into: &writer)
        case .addNode(let node):
            writer.uint8(2)
            node.encode(into: &writer)
        case .admit(let node, let bootID, let mark):
            writer.uint8(Self.admitType)
            writer.node(node)
            writer.string(bootID)
            mark.encode(into: &writer)
        case .suspect(let node, let incarnation):
            writer.uint8(Self.suspectType)
            writer.node(node)
            writer.uint64(incarnation.rawValue)
        case .trust(let node, let incarnation, let suspectedAt):
            writer.suspicion(5, node, incarnation, suspectedAt)
        case .lost(let node, let incarnation, let suspectedAt):
            writer.suspicion(6, node, incarnation, suspectedAt)
        case .fenced(let node, let incarnation, let suspectedAt, let fencingBeganAfter):
            writer.suspicion(7, node, incarnation, suspectedAt)
            writer.uint64(fencingBeganAfter.rawValue)
        case .configure(let policy, let text, let expectedIndex):
            writer.uint8(Self.configureTypes[policy.leaderSites.isEmpty ? 0 : 1])
            policy.encode(into: &writer)
            writer.string(text)
            writer.uint64(expectedIndex.rawValue)
            // Without them the entry is what it was in version 1.
            if !policy.leaderSites.isEmpty { writer.list(policy.leaderSites) { $0.string($1) } }
        case .want(let group, let isRunning):
            writer.uint8(15)
            writer.string(group.rawValue)
            writer.bool(isRunning)
        case .move(let group, let node):
            writer.uint8(16)
            writer.string(group.rawValue)
            writer.node(node)
        case .drain(let node, let isDrained):
            writer.uint8(17)
            writer.node(node)
            writer.bool(isDrained)
        case .remark(let node, let incarnation, let mark):
            writer.uint8(25)
            writer.node(node)
            writer.uint64(incarnation.rawValue)
            mark.encode(into: &writer)
        case .depart(let node, let incarnation, let isDeparting):
            writer.uint8(24)
            writer.node(node)
            writer.uint64(incarnation.rawValue)
            writer.bool(isDeparting)
        case .setNode, .retire, .replaceNode, .expel, .recovered, .raise, .certified, .expectPause, .changeAuthority,
            .duplicated, .original:
            self.encodeMembers(into: &writer)
        case .leaves, .joins, .opens, .copy, .lacks, .yields, .compare, .allowRepair, .acceptLoss:
            self.encodeVolume(into: &writer)
        case .putAttribute, .deleteAttribute: self.encodeAttribute(into: &writer)
        default:
            self.encodeOwnership(into: &writer)
        }
    }

    private func encodeOwnership(into writer: inout ByteWriter) {
        switch self {
        case .absent(let group, let node, let incarnation, let since):
            writer.uint8(9)
            writer.string(group.rawValue)
            writer.node(node)
            writer.uint64(incarnation.rawValue)
            writer.uint64(since.rawValue)
        case .found(let group, let finding, let incarnation, let since):
            writer.uint8(70)
            writer.string(group.rawValue)
            finding.encode(into: &writer)
            writer.uint64(incarnation.rawValue)
            writer.uint64(since.rawValue)
        case .assign(let group, let node, let incarnation, let replacing, let isTakeover, let reason):
            writer.uint8(10)
            writer.string(group.rawValue)
            writer.node(node)
            writer.uint64(incarnation.rawValue)
            writer.epoch(replacing)
            writer.bool(isTakeover)
            writer.string(reason)
        case .release(let group, let epoch, let target, let reason):
            writer.uint8(11)
            writer.string(group.rawValue)
            writer.epoch(epoch)
            writer.optional(target) { $0.node($1) }
            writer.string(reason)
        case .stopped(let group, let epoch, let failure):
            writer.uint8(12)
            writer.string(group.rawValue)
            writer.epoch(epoch)
            writer.optional(failure) { $1.encode(into: &$0) }
        case .dropped(let group, let epoch, let version):
            writer.uint8(71)
            writer.string(group.rawValue)
            writer.epoch(epoch)
            writer.uint64(version)
        case .started(let group, let epoch):
            writer.uint8(13)
            writer.string(group.rawValue)
            writer.epoch(epoch)
        default:
            self.encodePlanning(into: &writer)
        }
    }

    private func encodePlanning(into writer: inout ByteWriter) {
        switch self {
        case .park(let group, let epoch, let seenAt, let reason):
            writer.uint8(19)
            writer.string(group.rawValue)
            writer.epoch(epoch)
            writer.uint64(seenAt.rawValue)
            writer.string(reason)
        case .forgive(let group, let node, let since):
            writer.uint8(21)
            writer.string(group.rawValue)
            writer.node(node)
            writer.uint64(since)
        case .restarted(let group, let epoch, let resource, let reason):
            writer.uint8(60)
            writer.string(group.rawValue)
            writer.epoch(epoch)
            writer.optional(resource) { $0.string($1.rawValue) }
            writer.string(reason)
        case .declareAbsent(let group, let nodes, let since, let statement):
            writer.uint8(22)
            writer.string(group.rawValue)
            writer.list(nodes) { $0.node($1) }
            writer.uint64(since.rawValue)
            writer.string(statement)
        default:
            self.encodeRemains(into: &writer)
        }
    }

    private func encodeRemains(into writer: inout ByteWriter) {
        switch self {
        case .remains(let group, let node, let incarnation, let remains):
            writer.uint8(90)
            writer.string(group.rawValue)
            writer.node(node)
            writer.uint64(incarnation.rawValue)
            writer.optional(remains) { $1.encode(into: &$0) }
        case .confirmStopped(let group, let node, let statement):
            writer.uint8(91)
            writer.string(group.rawValue)
            writer.node(node)
            writer.string(statement)
        case .note(let text, let node):
            writer.uint8(92)
            writer.string(text)
            writer.optional(node) { $0.node($1) }
        default:
            preconditionFailure("a command without an encoding: \(self)")
        }
    }

    /// Reads what `encode` wrote.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> Command {
        let type = try reader.uint8()
        switch type {
        case 1:
            return .bootstrap(
                clusterID: try reader.uint64(), clusterName: try reader.string(),
                node: try JoiningNode.decode(from: &reader))
        case 2: return .addNode(try JoiningNode.decode(from: &reader))
        case Self.admitType:
            return .admit(try reader.node(), bootID: try reader.string(), mark: try StartMark.decode(from: &reader))
        case Self.suspectType: return .suspect(try reader.node(), Incarnation(try reader.uint64()))
        case 5:
            let (node, incarnation, at) = try reader.suspicion()
            return .trust(node, incarnation, suspectedAt: at)
        case 6:
            let (node, incarnation, at) = try reader.suspicion()
            return .lost(node, incarnation, suspectedAt: at)
        case 7:
            let (node, incarnation, at) = try reader.suspicion()
            return .fenced(
                node, incarnation, suspectedAt: at, fencingBeganAfter: LogIndex(try reader.uint64()))
        case 8, 106:
            var policy = try ClusterPolicy.decode(from: &reader)
            let (text, expectedIndex) = (try reader.string(), LogIndex(try reader.uint64()))
            if type == 106 {
                policy.leaderSites = try reader.list { (reader) throws(CodecError) in try reader.string() }
            }
            return .configure(policy, text: text, expectedIndex: expectedIndex)
        case 15: return .want(try reader.group(), isRunning: try reader.bool())
        case 16: return .move(try reader.group(), to: try reader.node())
        case 17: return .drain(try reader.node(), isDrained: try reader.bool())
        case 24:
            return .depart(
                try reader.node(), Incarnation(try reader.uint64()), isDeparting: try reader.bool())
        case 25:
            return .remark(
                try reader.node(), Incarnation(try reader.uint64()), mark: try StartMark.decode(from: &reader))
        case 35, 36: return try self.decodeAttribute(type, from: &reader)
        case 14, 18, 20, 23, 40...44: return try self.decodeVolume(type, from: &reader)
        case 30...34, 37...39, 46, 47, Self.raiseType: return try self.decodeMembers(type, from: &reader)
        default:
            return try self.decodeOwnership(type, from: &reader)
        }
    }

    private static func decodeOwnership(
        _ type: UInt8, from reader: inout ByteReader
    ) throws(CodecError) -> Command {
        switch type {
        case 9:
            return .absent(
                try reader.group(), try reader.node(), Incarnation(try reader.uint64()),
                since: LogIndex(try reader.uint64()))
        case 70:
            return .found(
                try reader.group(), try ClusterState.Finding.decode(from: &reader),
                Incarnation(try reader.uint64()), since: LogIndex(try reader.uint64()))
        case 10:
            return .assign(
                try reader.group(), try reader.node(), Incarnation(try reader.uint64()),
                replacing: try reader.epoch(), isTakeover: try reader.bool(), reason: try reader.string())
        case 11:
            return .release(
                try reader.group(), try reader.epoch(),
                target: try reader.optional { (reader) throws(CodecError) in try reader.node() },
                reason: try reader.string())
        case 12:
            return .stopped(
                try reader.group(), try reader.epoch(),
                failure: try reader.optional { (reader) throws(CodecError) in
                    try GroupFailure.decode(from: &reader)
                })
        case 71: return .dropped(try reader.group(), try reader.epoch(), version: try reader.uint64())
        case 13: return .started(try reader.group(), try reader.epoch())
        case 60:
            return .restarted(
                try reader.group(), try reader.epoch(),
                try reader.optional { (reader) throws(CodecError) in ResourceName(try reader.string()) },
                reason: try reader.string())
        case 90:
            return .remains(
                try reader.group(), try reader.node(), Incarnation(try reader.uint64()),
                try reader.optional { (reader) throws(CodecError) in try GroupRemains.decode(from: &reader) })
        case 92:
            return .note(
                try reader.string(), about: try reader.optional { (reader) throws(CodecError) in try reader.node() })
        case 91: return .confirmStopped(try reader.group(), try reader.node(), statement: try reader.string())
        default: return try self.decodePlanning(type, from: &reader)
        }
    }

    private static func decodePlanning(_ type: UInt8, from reader: inout ByteReader) throws(CodecError) -> Command {
        switch type {
        case 19:
            return .park(
                try reader.group(), try reader.epoch(), seenAt: LogIndex(try reader.uint64()),
                reason: try reader.string())
        case 21: return .forgive(try reader.group(), try reader.node(), since: try reader.uint64())
        case 22:
            return .declareAbsent(
                try reader.group(),
                nodes: try reader.list { (reader) throws(CodecError) in try reader.node() },
                since: LogIndex(try reader.uint64()), statement: try reader.string())
        default: throw .invalid(field: "command type \(type)", offset: reader.offset)
        }
    }
}

extension ByteWriter {
    mutating func node(_ node: NodeID) { self.uint32(node.rawValue) }
    /// A node, and above it in the same word the version of the format that begins with it; 0 stands for version 1.
    mutating func node(_ node: NodeID, version: UInt32) {
        precondition(node.rawValue <= ClusterState.nodesMaximum, "\(node) leaves no room for a version")
        self.uint32(node.rawValue | (version - 1) << 24)
    }
    mutating func epoch(_ epoch: Epoch) {
        self.uint32(epoch.generation)
        self.uint64(epoch.index)
    }
    mutating func span(_ span: Span) { self.uint64(span.nanoseconds) }
    fileprivate mutating func suspicion(
        _ type: UInt8, _ node: NodeID, _ incarnation: Incarnation, _ at: LogIndex
    ) {
        self.uint8(type)
        self.node(node)
        self.uint64(incarnation.rawValue)
        self.uint64(at.rawValue)
    }
}

extension ByteReader {
    mutating func node() throws(CodecError) -> NodeID { NodeID(try self.uint32()) }
    mutating func versionedNode(_ format: Format) throws(CodecError) -> (NodeID, version: UInt32) {
        let word = try self.uint32()
        let version = (word >> 24) + 1
        try format.check(version)
        return (NodeID(word & ClusterState.nodesMaximum), version)
    }
    mutating func group() throws(CodecError) -> GroupName { GroupName(try self.string()) }
    mutating func epoch() throws(CodecError) -> Epoch {
        Epoch(generation: try self.uint32(), index: try self.uint64())
    }
    mutating func span() throws(CodecError) -> Span { Span(nanoseconds: try self.uint64()) }
    fileprivate mutating func suspicion() throws(CodecError) -> (NodeID, Incarnation, LogIndex) {
        (try self.node(), Incarnation(try self.uint64()), LogIndex(try self.uint64()))
    }
}
