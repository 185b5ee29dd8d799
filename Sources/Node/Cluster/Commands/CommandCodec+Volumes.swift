import Basis
import Mirror

/// Commands about volumes.
extension Command {
    func encodeVolume(into writer: inout ByteWriter) {
        switch self {
        case .leaves(let volume, let epoch, let version, let node):
            writer.setChange(14, volume, epoch, version, node)
        case .joins(let volume, let epoch, let version, let node, let copy):
            writer.setChange(18, volume, epoch, version, node)
            writer.uint64(copy)
        case .opens(let volume, let epoch, let version, let inSync, let copies):
            writer.uint8(23)
            writer.string(volume.rawValue)
            writer.epoch(epoch)
            writer.uint64(version)
            writer.list(inSync) { $0.node($1) }
            writer.list(copies) { $0.uint64($1) }
        case .acceptLoss(let volume, let epoch, let version, let node, let statement):
            writer.setChange(20, volume, epoch, version, node)
            writer.string(statement)
        case .copy(let name, let volume, let node, let mark, let capacity, let against, let boot):
            writer.uint8(40)
            writer.string(name.rawValue)
            writer.uint64(volume)
            writer.node(node)
            mark.encode(into: &writer)
            writer.uint64(capacity)
            writer.optional(against) { writer, against in
                writer.uint64(against.mark)
                writer.epoch(against.epoch)
            }
            writer.string(boot)
        case .lacks(let name, let volume, let node, let copy):
            writer.uint8(41)
            writer.string(name.rawValue)
            writer.uint64(volume)
            writer.node(node)
            writer.uint64(copy)
        case .compare(let volume):
            writer.uint8(42)
            writer.string(volume.rawValue)
        case .allowRepair(let volume, let epoch, let statement):
            writer.uint8(43)
            writer.string(volume.rawValue)
            writer.epoch(epoch)
            writer.string(statement)
        case .yields(let volume, let epoch, let version):
            writer.uint8(44)
            writer.string(volume.rawValue)
            writer.epoch(epoch)
            writer.uint64(version)
        default: preconditionFailure("not about volumes: \(self)")
        }
    }

    static func decodeVolume(_ type: UInt8, from reader: inout ByteReader) throws(CodecError) -> Command {
        let name = VolumeName(try reader.string())
        switch type {
        case 14:
            return .leaves(name, try reader.epoch(), version: try reader.uint64(), try reader.node())
        case 18:
            return .joins(
                name, try reader.epoch(), version: try reader.uint64(), try reader.node(), copy: try reader.uint64())
        case 20:
            return .acceptLoss(
                name, try reader.epoch(), version: try reader.uint64(), try reader.node(),
                statement: try reader.string())
        case 23:
            return .opens(
                name, try reader.epoch(), version: try reader.uint64(),
                inSync: try reader.list { (reader) throws(CodecError) in try reader.node() },
                copies: try reader.list { (reader) throws(CodecError) in try reader.uint64() })
        case 40:
            return .copy(
                name, volume: try reader.uint64(), try reader.node(), try CopyMark.decode(from: &reader),
                capacityBytes: try reader.uint64(),
                against: try reader.optional { (reader) throws(CodecError) in
                    CopyKnowledge(mark: try reader.uint64(), epoch: try reader.epoch())
                }, boot: try reader.string())
        case 41:
            return .lacks(name, volume: try reader.uint64(), try reader.node(), copy: try reader.uint64())
        case 42: return .compare(name)
        case 43: return .allowRepair(name, try reader.epoch(), statement: try reader.string())
        case 44: return .yields(name, try reader.epoch(), version: try reader.uint64())
        default: throw .invalid(field: "command type \(type)", offset: reader.offset)
        }
    }
}

extension ByteWriter {
    fileprivate mutating func setChange(
        _ type: UInt8, _ volume: VolumeName, _ epoch: Epoch, _ version: UInt64, _ node: NodeID
    ) {
        self.uint8(type)
        self.string(volume.rawValue)
        self.epoch(epoch)
        self.uint64(version)
        self.node(node)
    }
}
