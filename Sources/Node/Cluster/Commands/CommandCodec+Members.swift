import Basis

/// The bytes of what operators want about nodes, and of what becomes of it.
extension Command {
    func encodeMembers(into writer: inout ByteWriter) {
        switch self {
        case .setNode(let node, let change):
            writer.uint8(30)
            writer.node(node)
            change.encode(into: &writer)
        case .retire(let node, let isRetiring):
            writer.uint8(31)
            writer.node(node)
            writer.bool(isRetiring)
        case .replaceNode(let node, let newcomer):
            writer.uint8(32)
            writer.node(node)
            newcomer.encode(into: &writer)
        case .expel(let node, let incarnation):
            writer.uint8(33)
            writer.node(node)
            writer.uint64(incarnation.rawValue)
        case .recovered(let plan):
            writer.uint8(Self.recoveredType)
            plan.encode(into: &writer)
        case .raise(let level, let nodes):
            writer.uint8(Self.raiseType)
            // In every release the level comes first. (Rule U2)
            writer.uint32(level.rawValue)
            writer.list(nodes) { $0.node($1) }
        case .changeAuthority(let change):
            writer.uint8(39)
            change.encode(into: &writer)
        case .expectPause(let node, let incarnation, let length):
            writer.uint8(38)
            writer.node(node)
            writer.uint64(incarnation.rawValue)
            writer.span(length)
        case .duplicated(let node, let twins, let settledAt):
            writer.uint8(46)
            writer.node(node)
            writer.list(twins) { $1.encode(into: &$0) }
            writer.uint64(settledAt.rawValue)
        case .original(let node, let bootID):
            writer.uint8(47)
            writer.node(node)
            writer.string(bootID)
        case .certified(let node, let record):
            writer.uint8(37)
            writer.node(node)
            record.encode(into: &writer)
        default:
            preconditionFailure("not about members: \(self)")
        }
    }

    static func decodeMembers(_ type: UInt8, from reader: inout ByteReader) throws(CodecError) -> Command {
        switch type {
        case 30: .setNode(try reader.node(), try NodeChange.decode(from: &reader))
        case 31: .retire(try reader.node(), isRetiring: try reader.bool())
        case 32: .replaceNode(try reader.node(), try JoiningNode.decode(from: &reader))
        case 33: .expel(try reader.node(), Incarnation(try reader.uint64()))
        case 39: .changeAuthority(try Authorities.Change.decode(from: &reader))
        case 38: .expectPause(try reader.node(), Incarnation(try reader.uint64()), try reader.span())
        case 46:
            .duplicated(
                try reader.node(),
                try reader.list { (reader) throws(CodecError) in try Twin.decode(from: &reader) },
                after: LogIndex(try reader.uint64()))
        case 47: .original(try reader.node(), bootID: ForeignText.line(try reader.string(), limit: 64))
        case 37: .certified(try reader.node(), try CertificateRecord.decode(from: &reader))
        case Self.raiseType:
            .raise(
                FeatureLevel(try reader.uint32()),
                counting: try reader.list { (reader) throws(CodecError) in try reader.node() })
        case Self.recoveredType: .recovered(try RecoveryPlan.decode(from: &reader))
        default: throw .invalid(field: "command about members", offset: reader.offset)
        }
    }
}
