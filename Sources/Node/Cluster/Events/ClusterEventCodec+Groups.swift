import Basis
import Resources

// The bytes of what happens to groups and volumes. A number is never given to another case.

extension GroupHappening {
    func encode(into writer: inout ByteWriter) {
        switch self {
        case .found(let finding, let node):
            writer.uint8(0)
            finding.encode(into: &writer)
            writer.string(node.name)
        case .absenceSigned(let nodes, let statement):
            writer.uint8(1)
            writer.list(nodes) { $0.named($1) }
            writer.words(statement)
        case .assigned(let node, let epoch, let isTakeover, let reason):
            writer.place(2, node, epoch)
            writer.bool(isTakeover)
            writer.words(reason)
        case .released(let node, let epoch, let reason):
            writer.place(3, node, epoch)
            writer.words(reason)
        case .started(let node, let epoch): writer.place(4, node, epoch)
        case .restarted(let node, let epoch, let resource, let reason):
            writer.place(5, node, epoch)
            writer.optional(resource) { $0.string($1.rawValue) }
            writer.words(reason)
        case .gaveUp(let node, let epoch, let resource, let reason):
            writer.place(6, node, epoch)
            writer.string(resource.rawValue)
            writer.words(reason)
        case .stopped(let node, let epoch): writer.place(7, node, epoch)
        case .parked(let reason):
            writer.uint8(8)
            writer.words(reason)
        case .mayRunAgain(let node): writer.place(9, node)
        case .wantedRunning: writer.uint8(10)
        case .wantedStopped: writer.uint8(11)
        case .moveWanted(let node): writer.place(12, node)
        case .remains(let node, let remains):
            writer.place(13, node)
            remains.encode(into: &writer)
        case .remainsOver(let node): writer.place(14, node)
        case .stopSigned(let node, let statement):
            writer.place(15, node)
            writer.words(statement)
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        switch try reader.uint8() {
        case 0:
            let finding = try ClusterState.Finding.decode(from: &reader)
            return .found(finding, on: NamedNode(finding.node, try reader.string()))
        case 1:
            return .absenceSigned(on: try reader.namedNodes(), statement: try reader.words())
        case 2:
            return .assigned(
                to: try reader.named(), try reader.epoch(), isTakeover: try reader.bool(), reason: try reader.words())
        case 3: return .released(on: try reader.named(), try reader.epoch(), reason: try reader.words())
        case 4: return .started(on: try reader.named(), try reader.epoch())
        case 5:
            return .restarted(
                on: try reader.named(), try reader.epoch(),
                try reader.optional { (reader) throws(CodecError) in ResourceName(try reader.string()) },
                reason: try reader.words())
        case 6:
            return .gaveUp(
                on: try reader.named(), try reader.epoch(), ResourceName(try reader.string()),
                reason: try reader.words())
        case 7: return .stopped(on: try reader.named(), try reader.epoch())
        case 8: return .parked(reason: try reader.words())
        case 9: return .mayRunAgain(on: try reader.named())
        case 10: return .wantedRunning
        case 11: return .wantedStopped
        case 12: return .moveWanted(to: try reader.named())
        case 13: return .remains(on: try reader.named(), try GroupRemains.decode(from: &reader))
        case 14: return .remainsOver(on: try reader.named())
        case 15: return .stopSigned(on: try reader.named(), statement: try reader.words())
        default: throw .invalid(field: "event of a group", offset: reader.offset)
        }
    }
}

extension VolumeHappening {
    func encode(into writer: inout ByteWriter) {
        switch self {
        case .leftSet(let node, let epoch): writer.place(0, node, epoch)
        case .joinedSet(let node, let epoch): writer.place(1, node, epoch)
        case .keptWrites(let nodes, let epoch):
            writer.uint8(2)
            writer.list(nodes) { $0.named($1) }
            writer.epoch(epoch)
        case .yielded(let node, let others, let epoch):
            writer.place(3, node, epoch)
            writer.list(others) { $0.named($1) }
        case .copyLost(let node, let reason, let wasInSync):
            writer.place(4, node)
            writer.words(reason)
            writer.bool(wasInSync)
        case .lossAccepted(let node, let statement):
            writer.place(5, node)
            writer.words(statement)
        case .repairAllowed(let statement):
            writer.uint8(6)
            writer.words(statement)
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        switch try reader.uint8() {
        case 0: return .leftSet(try reader.named(), try reader.epoch())
        case 1: return .joinedSet(try reader.named(), try reader.epoch())
        case 2: return .keptWrites(try reader.namedNodes(), try reader.epoch())
        case 3:
            let node = try reader.named()
            let epoch = try reader.epoch()
            return .yielded(from: node, to: try reader.namedNodes(), epoch)
        case 4: return .copyLost(on: try reader.named(), reason: try reader.words(), wasInSync: try reader.bool())
        case 5: return .lossAccepted(try reader.named(), statement: try reader.words())
        case 6: return .repairAllowed(statement: try reader.words())
        default: throw .invalid(field: "event of a volume", offset: reader.offset)
        }
    }
}

extension ByteWriter {
    /// The number of a case, where it happened, and under which epoch.
    fileprivate mutating func place(_ number: UInt8, _ node: NamedNode, _ epoch: Epoch? = nil) {
        self.uint8(number)
        self.named(node)
        if let epoch { self.epoch(epoch) }
    }
}

extension ByteReader {
    fileprivate mutating func namedNodes() throws(CodecError) -> [NamedNode] {
        try self.list { (reader) throws(CodecError) in try reader.named() }
    }
}
