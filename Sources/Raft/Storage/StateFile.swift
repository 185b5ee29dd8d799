import Basis

/// What the file `state` holds: the part of a node that is replaced as a whole.
struct StateRecord: Equatable {
    /// Opens of this log that completed. Zero: the first one did not, so nothing was ever acknowledged.
    var startCounter: UInt64 = 0
    /// Term, vote and a lower bound of the commit index.
    var hardState = HardState()

    func encoded(_ identity: LogIdentity) -> [UInt8] {
        var writer = ByteWriter(reserving: 96)
        identity.encode(into: &writer)
        writer.uint64(self.startCounter)
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
            let record = StateRecord(
                startCounter: try reader.uint64(), hardState: try HardState.decode(from: &reader))
            try reader.finish()
            guard block.end == bytes.count else { throw .trailing(count: bytes.count - block.end) }
            return record
        } catch {
            throw .corrupt(path: path, offset: block.end, reason: error.description)
        }
    }
}

extension Snapshot {
    /// The content of a snapshot file.
    func encodedFile(_ identity: LogIdentity) -> [UInt8] {
        var writer = ByteWriter(reserving: 256 + self.data.count)
        identity.encode(into: &writer)
        self.encode(into: &writer)
        return SealedBlock.seal(.snapshot, writer.bytes).bytes
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
