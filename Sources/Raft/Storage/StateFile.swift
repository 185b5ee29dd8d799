import Basis
import Raft

/// What the file `state` holds: the part of a node that is replaced as a whole.
struct StateRecord: Equatable {
    /// Which directory it is, and the marks of its starts.
    var memory = LogMemory(directory: .none)
    /// Term, vote, the marks noted, and a lower bound of the commit index.
    var hardState = HardState()

    /// Opens of this log that completed. Zero: the first one did not, so nothing was ever acknowledged.
    var startCounter: UInt64 = 0
    /// So many frames were acknowledged: none of them may be missing, the last one neither.
    var acknowledgedFrames: UInt64 = 0
    /// How often this file was replaced.
    var writes: UInt64 = 0

    func encoded(_ identity: LogIdentity) -> [UInt8] {
        var writer = ByteWriter(reserving: 512)
        identity.encode(into: &writer)
        writer.uint64(self.startCounter)
        writer.uint64(self.acknowledgedFrames)
        writer.uint64(self.writes)
        self.memory.encode(into: &writer)
        self.hardState.encode(into: &writer)
        return SealedBlock.seal(.state, writer.bytes).bytes
    }

    static func decode(
        _ bytes: [UInt8], path: String, identity: LogIdentity
    ) throws(StorageError) -> StateRecord {
        let block = try SealedBlock(.state, in: bytes, path: path)
        var reader = ByteReader(block.body)
        try identity.check(&reader, path: path)
        do throws(CodecError) {
            var record = StateRecord()
            record.startCounter = try reader.uint64()
            record.acknowledgedFrames = try reader.uint64()
            record.writes = try reader.uint64()
            record.memory = try LogMemory.decode(from: &reader)
            record.hardState = try HardState.decode(from: &reader)
            try reader.finish()
            guard block.end == bytes.count else { throw .trailing(count: bytes.count - block.end) }
            return record
        } catch {
            throw .corrupt(path: path, offset: block.end, reason: error.description)
        }
    }
}

extension Snapshot {
    /// The content of a snapshot file, in parts: its data may be large, and are not copied.
    func encodedFile(_ identity: LogIdentity) -> [[UInt8]] {
        var writer = ByteWriter(reserving: 256)
        identity.encode(into: &writer)
        self.encodeHead(into: &writer)
        return [SealedBlock.prefix(.snapshot, parts: [writer.bytes, self.data]) + writer.bytes, self.data]
    }

    /// Reads a snapshot file, which must hold the snapshot that ends at `mark`.
    static func decodeFile(
        _ bytes: [UInt8], mark: LogMark, path: String, identity: LogIdentity
    ) throws(StorageError) -> Snapshot {
        let block = try SealedBlock(.snapshot, in: bytes, path: path)
        var reader = ByteReader(block.body)
        try identity.check(&reader, path: path)
        do throws(CodecError) {
            let snapshot = try Snapshot.decode(from: &reader)
            try reader.finish()
            guard block.end == bytes.count else { throw .trailing(count: bytes.count - block.end) }
            guard snapshot.mark == mark else { throw .invalid(field: "mark", offset: block.end) }
            return snapshot
        } catch {
            throw .corrupt(path: path, offset: block.end, reason: error.description)
        }
    }
}
