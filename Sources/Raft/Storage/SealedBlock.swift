import Basis

/// Whose log it is. Both parts are in every file, so that a file in the wrong place is noticed.
public struct LogIdentity: Equatable, Sendable {
    /// The cluster: something no other cluster has, such as its unique id.
    public let cluster: String
    /// The node.
    public let node: NodeID
    /// Combines both parts.
    public init(cluster: String, node: NodeID) {
        self.cluster = cluster
        self.node = node
    }

    func encode(into writer: inout ByteWriter) {
        writer.string(self.cluster)
        writer.uint32(self.node.rawValue)
    }

    /// Takes an identity off the reader and refuses any other than `self`.
    func check(_ reader: inout ByteReader, path: String) throws(StorageError) {
        let found: LogIdentity
        do throws(CodecError) {
            found = LogIdentity(cluster: try reader.string(), node: NodeID(try reader.uint32()))
        } catch {
            throw .corrupt(path: path, offset: reader.offset, reason: error.description)
        }
        guard found.cluster == self.cluster else {
            throw .otherCluster(path: path, found: found.cluster, expected: self.cluster)
        }
        guard found.node == self.node else { throw .otherNode(path: path, found: found.node, expected: self.node) }
    }
}

/// A checksummed block that starts a file: magic (8), format version (4), body length (8), CRC-32C of those and the
/// body (4), body. These 24 bytes are the same in every format version.
struct SealedBlock {
    static let prefixLength = 24
    static let version = Format.logFiles.version

    enum Kind: String, CaseIterable {
        case state = "hf-state"
        case segment = "hf-log  "
        case snapshot = "hf-snap "
    }

    /// What it protects.
    var body: ArraySlice<UInt8>
    /// The checksum.
    var checksum: UInt32
    /// Where the bytes after it start.
    var end: Int

    /// What goes before a body that is written in parts.
    static func prefix(_ kind: Kind, parts: [[UInt8]]) -> [UInt8] {
        var head = ByteWriter(reserving: self.prefixLength)
        head.raw(kind.rawValue.utf8)
        head.uint32(self.version)
        head.uint64(UInt64(parts.reduce(0) { $0 + $1.count }))
        head.uint32(parts.reduce(Checksum.crc32c(head.bytes)) { Checksum.crc32c($1, seed: $0) })
        return head.bytes
    }

    /// The whole block, and its checksum.
    static func seal(_ kind: Kind, _ body: [UInt8]) -> (bytes: [UInt8], checksum: UInt32) {
        var head = ByteWriter(reserving: self.prefixLength + body.count)
        head.raw(kind.rawValue.utf8)
        head.uint32(self.version)
        head.uint64(UInt64(body.count))
        let checksum = Checksum.crc32c(body, seed: Checksum.crc32c(head.bytes))
        head.uint32(checksum)
        head.raw(body)
        return (head.bytes, checksum)
    }

    /// Reads the block at the start of a file.
    init(_ kind: Kind, in bytes: [UInt8], path: String) throws(StorageError) {
        var reader = ByteReader(bytes)
        let version: UInt32
        do throws(CodecError) {
            let magic = try reader.raw(8)
            version = try reader.uint32()
            let length = try reader.uint64()
            self.checksum = try reader.uint32()
            guard magic == Array(kind.rawValue.utf8) else { throw .invalid(field: "magic", offset: 8) }
            guard length <= UInt64(reader.remaining) else { throw .truncated(offset: bytes.count) }
            self.end = Self.prefixLength + Int(length)
        } catch {
            throw .corrupt(path: path, offset: 0, reason: "no valid file header (\(error.description))")
        }
        self.body = bytes[Self.prefixLength..<self.end]
        let end = self.end
        let actual = bytes.withUnsafeBytes { raw in
            Checksum.crc32c(
                UnsafeRawBufferPointer(rebasing: raw[Self.prefixLength..<end]),
                seed: Checksum.crc32c(UnsafeRawBufferPointer(rebasing: raw[..<20])))
        }
        guard actual == self.checksum else {
            throw .corrupt(path: path, offset: 0, reason: "the checksum of the first \(self.end) bytes does not match")
        }
        guard version <= Self.version else {
            throw .newerFormat(path: path, found: version, supported: Self.version)
        }
    }
}
