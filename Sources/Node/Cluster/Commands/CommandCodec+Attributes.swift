import Basis

// The bytes of commands about attributes, and of what they carry.

extension Command {
    func encodeAttribute(into writer: inout ByteWriter) {
        switch self {
        case .putAttribute(let key, let value, let lifetime, let expected):
            writer.uint8(35)
            key.encode(into: &writer)
            writer.string(value)
            lifetime.encode(into: &writer)
            writer.optional(expected) { $1.encode(into: &$0) }
        case .deleteAttribute(let key, let expected):
            writer.uint8(36)
            key.encode(into: &writer)
            writer.optional(expected) { $1.encode(into: &$0) }
        default: preconditionFailure("a command without an encoding: \(self)")
        }
    }

    static func decodeAttribute(_ type: UInt8, from reader: inout ByteReader) throws(CodecError) -> Command {
        let key = try AttributeKey.decode(from: &reader)
        switch type {
        case 35:
            return .putAttribute(
                key, value: try reader.string(), lifetime: try AttributeLifetime.decode(from: &reader),
                expecting: try reader.expectation())
        case 36: return .deleteAttribute(key, expecting: try reader.expectation())
        default: throw .invalid(field: "command type \(type)", offset: reader.offset)
        }
    }
}

extension ByteReader {
    fileprivate mutating func expectation() throws(CodecError) -> AttributeExpectation? {
        try self.optional { (reader) throws(CodecError) in try AttributeExpectation.decode(from: &reader) }
    }
}

extension AttributeKey {
    fileprivate func encode(into writer: inout ByteWriter) {
        switch self.scope {
        case .cluster: writer.node(NodeID(0))
        case .node(let node): writer.node(node)
        }
        writer.string(self.name)
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> AttributeKey {
        // No node has that number.
        let node = try reader.node()
        return AttributeKey(node == NodeID(0) ? .cluster : .node(node), try reader.string())
    }
}

extension AttributeLifetime {
    fileprivate func encode(into writer: inout ByteWriter) {
        switch self {
        case .forever: writer.uint64(Incarnation.none.rawValue)
        case .boot(let life): writer.uint64(life.rawValue)
        }
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> AttributeLifetime {
        let life = Incarnation(try reader.uint64())
        return life == .none ? .forever : .boot(life)
    }
}

extension AttributeExpectation {
    fileprivate func encode(into writer: inout ByteWriter) {
        switch self {
        case .absent: writer.uint8(0)
        case .value(let value):
            writer.uint8(1)
            writer.string(value)
        case .version(let version):
            writer.uint8(2)
            writer.uint64(version.rawValue)
        }
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> AttributeExpectation {
        switch try reader.uint8() {
        case 0: return .absent
        case 1: return .value(try reader.string())
        case 2: return .version(LogIndex(try reader.uint64()))
        default: throw .invalid(field: "expectation of an attribute", offset: reader.offset)
        }
    }
}

extension Attribute {
    func encode(into writer: inout ByteWriter) {
        self.key.encode(into: &writer)
        writer.string(self.value)
        self.lifetime.encode(into: &writer)
        writer.uint64(self.version.rawValue)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Attribute {
        Attribute(
            key: try AttributeKey.decode(from: &reader), value: try reader.string(),
            lifetime: try AttributeLifetime.decode(from: &reader), version: LogIndex(try reader.uint64()))
    }
}
