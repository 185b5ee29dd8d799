import Basis
import Raft
import Resources

// The bytes of what commands carry.

extension GroupRemains {
    func encode(into writer: inout ByteWriter) {
        writer.uint8(self.kind.rawValue)
        writer.string(self.reason)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> GroupRemains {
        guard let kind = Kind(rawValue: try reader.uint8()) else {
            throw .invalid(field: "kind of remains", offset: reader.offset)
        }
        return GroupRemains(kind: kind, reason: try reader.string())
    }
}

extension ClusterState.Finding {
    func encode(into writer: inout ByteWriter) {
        writer.node(self.node)
        writer.string(self.resource.rawValue)
        writer.bool(self.isRunning)
        writer.string(self.reason)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> Self {
        Self(
            node: try reader.node(), resource: ResourceName(try reader.string()), isRunning: try reader.bool(),
            reason: try reader.string())
    }
}

extension JoiningNode {
    func encode(into writer: inout ByteWriter) {
        writer.string(self.name)
        writer.string(self.site)
        writer.string(self.address)
        writer.uint8(self.role.rawValue)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> JoiningNode {
        JoiningNode(
            name: try reader.string(), site: try reader.string(), address: try reader.string(),
            role: try reader.role())
    }
}

extension GroupFailure {
    func encode(into writer: inout ByteWriter) {
        writer.string(self.resource.rawValue)
        writer.string(self.reason)
        writer.bool(self.isFatal)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> GroupFailure {
        GroupFailure(
            resource: ResourceName(try reader.string()), reason: try reader.string(), isFatal: try reader.bool())
    }
}
