import Basis
import Resources

extension InspectionQuestion {
    func encode(into writer: inout ByteWriter) {
        switch self {
        case .agent(let name): Self.write(1, name, into: &writer)
        case .user(let name): Self.write(2, name, into: &writer)
        case .interface(let name): Self.write(3, name, into: &writer)
        case .filesystem(let type): Self.write(4, type, into: &writer)
        case .file(let path): Self.write(5, path, into: &writer)
        }
    }

    private static func write(_ kind: UInt8, _ text: String, into writer: inout ByteWriter) {
        writer.uint8(kind)
        writer.string(text)
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> InspectionQuestion {
        switch try reader.uint8() {
        case 1: return .agent(try reader.string())
        case 2: return .user(try reader.string())
        case 3: return .interface(try reader.string())
        case 4: return .filesystem(try reader.string())
        case 5: return .file(try reader.string())
        default: throw .invalid(field: "inspection question", offset: reader.offset)
        }
    }
}

extension InspectionAnswer {
    func encode(into writer: inout ByteWriter) {
        switch self {
        case .yes: writer.uint8(1)
        case .no(let reason):
            writer.uint8(2)
            writer.string(reason)
        case .agent(let metadata):
            writer.uint8(3)
            metadata.encode(into: &writer)
        case .unknown(let reason):
            writer.uint8(4)
            writer.string(reason)
        }
    }

    static func decode(from reader: inout ByteReader) throws(CodecError) -> InspectionAnswer {
        switch try reader.uint8() {
        case 1: return .yes
        case 2: return .no(try reader.string())
        case 3: return .agent(try AgentMetadata.decode(from: &reader))
        case 4: return .unknown(try reader.string())
        default: throw .invalid(field: "inspection answer", offset: reader.offset)
        }
    }
}

extension AgentMetadata {
    fileprivate func encode(into writer: inout ByteWriter) {
        writer.string(self.summary)
        writer.list(self.parameters) { writer, parameter in
            writer.string(parameter.name)
            writer.bool(parameter.isRequired)
            writer.optional(parameter.standard) { $0.string($1) }
            writer.string(parameter.summary)
        }
        writer.list(self.actions) { writer, action in
            writer.string(action.name)
            writer.optional(action.timeout) { $0.span($1) }
        }
    }

    fileprivate static func decode(from reader: inout ByteReader) throws(CodecError) -> AgentMetadata {
        var metadata = AgentMetadata()
        metadata.summary = try reader.string()
        metadata.parameters = try reader.list { (reader) throws(CodecError) in
            Parameter(
                name: try reader.string(), isRequired: try reader.bool(),
                standard: try reader.optional { (reader) throws(CodecError) in try reader.string() },
                summary: try reader.string())
        }
        metadata.actions = try reader.list { (reader) throws(CodecError) in
            Action(
                name: try reader.string(),
                timeout: try reader.optional { (reader) throws(CodecError) in try reader.span() })
        }
        return metadata
    }
}
