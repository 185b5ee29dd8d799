import Basis
import Raft

/// The first block of a segment: what was true when the segment was begun, so that older ones can be removed.
struct SegmentHeader: Equatable {
    /// The start that wrote the file; part of what makes the checksums of this file unlike those of any other.
    var startCounter: UInt64
    /// The number of its first frame.
    var firstFrame: UInt64
    /// The snapshot in force; zero for none.
    var snapshot: LogMark
    /// The last entry of the log.
    var last: LogMark
    /// A lower bound of the commit index.
    var commit: LogIndex

    func sealed(_ identity: LogIdentity) -> (bytes: [UInt8], checksum: UInt32) {
        var writer = ByteWriter(reserving: 160)
        identity.encode(into: &writer)
        writer.uint64(self.startCounter)
        writer.uint64(self.firstFrame)
        self.snapshot.encode(into: &writer)
        self.last.encode(into: &writer)
        writer.uint64(self.commit.rawValue)
        return SealedBlock.seal(.segment, writer.bytes)
    }
}

/// One request in a segment: magic (4), body length (4), number (8), CRC-32C of the body (4), CRC-32C of these 20 bytes
/// seeded with the header's checksum (4), body.
///
/// A frame is written by one call and the next one only after it is durable. So a frame is either wholly believed or
/// wholly cut, however its sectors were torn, and an invalid frame with a valid header behind it was once acknowledged.
struct Frame: Equatable {
    static let headerLength = 24
    static let magic: UInt32 = 0x6D72_6668

    /// Counts frames since the log was created; no number is used twice with content that was acknowledged.
    var number: UInt64
    /// A lower bound of the commit index.
    var commit: LogIndex
    /// The snapshot in force from here on, when the request had one.
    var snapshot: LogMark?
    /// Whether the log did not hold the snapshot's last entry, so that nothing of it stays. (Raft §7)
    var resets: Bool
    /// The entries; they replace whatever the log holds from the first one's index on.
    var entries: [Entry]

    /// The body.
    func encodedBody(reserving capacity: Int) -> [UInt8] {
        var writer = ByteWriter(reserving: capacity)
        writer.uint64(self.commit.rawValue)
        writer.optional(self.snapshot) { $1.encode(into: &$0) }
        writer.bool(self.resets)
        writer.list(self.entries) { $1.encode(into: &$0) }
        return writer.bytes
    }

    /// Appends header and body to a buffer.
    static func append(_ body: some Collection<UInt8>, number: UInt64, salt: UInt32, to buffer: inout [UInt8]) {
        precondition(body.count <= Int(UInt32.max), "one request must stay below 4 GiB")
        let start = buffer.count
        buffer.append(contentsOf: repeatElement(0, count: self.headerLength))
        buffer.append(contentsOf: body)
        buffer.withUnsafeMutableBytes { raw in
            let checksum = Checksum.crc32c(UnsafeRawBufferPointer(rebasing: raw[(start + self.headerLength)...]))
            raw.storeBytes(of: self.magic.littleEndian, toByteOffset: start, as: UInt32.self)
            raw.storeBytes(of: UInt32(body.count).littleEndian, toByteOffset: start + 4, as: UInt32.self)
            raw.storeBytes(of: number.littleEndian, toByteOffset: start + 8, as: UInt64.self)
            raw.storeBytes(of: checksum.littleEndian, toByteOffset: start + 16, as: UInt32.self)
            let head = Checksum.crc32c(UnsafeRawBufferPointer(rebasing: raw[start..<start + 20]), seed: salt)
            raw.storeBytes(of: head.littleEndian, toByteOffset: start + 20, as: UInt32.self)
        }
    }

    init(number: UInt64, commit: LogIndex, snapshot: LogMark?, resets: Bool, entries: [Entry]) {
        self.number = number
        self.commit = commit
        self.snapshot = snapshot
        self.resets = resets
        self.entries = entries
    }

    init(body: ArraySlice<UInt8>, number: UInt64) throws(CodecError) {
        var reader = ByteReader(body)
        self.number = number
        self.commit = LogIndex(try reader.uint64())
        self.snapshot = try reader.optional { (reader) throws(CodecError) in try LogMark.decode(from: &reader) }
        self.resets = try reader.bool()
        self.entries = try reader.list { (reader) throws(CodecError) in try Entry.decode(from: &reader) }
        try reader.finish()
    }
}

/// The header of a frame, as found at some offset of a segment.
struct FrameHeader {
    var length: Int
    var number: UInt64
    var bodyChecksum: UInt32

    /// Nil unless a header with this salt starts at `offset`.
    init?(in raw: UnsafeRawBufferPointer, at offset: Int, salt: UInt32) {
        guard offset + Frame.headerLength <= raw.count,
            UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) == Frame.magic
        else { return nil }
        let stored = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: offset + 20, as: UInt32.self))
        let head = UnsafeRawBufferPointer(rebasing: raw[offset..<offset + 20])
        guard Checksum.crc32c(head, seed: salt) == stored else { return nil }
        self.length = Int(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)))
        self.number = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
        self.bodyChecksum = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: offset + 16, as: UInt32.self))
    }
}

/// A segment as read from the disk.
struct Segment {
    var name: String
    var header: SegmentHeader
    var frames: [Frame]
    /// The bodies of the frames, as they were.
    var bodies: [ArraySlice<UInt8>]
    /// Bytes behind the last frame that were never acknowledged.
    var torn: Int

    /// The number of the frame that would come next.
    var nextFrame: UInt64 { self.header.firstFrame + UInt64(self.frames.count) }

    /// Reads a segment. An invalid end is accepted only in the last one, and only where nothing valid follows it.
    init(_ bytes: [UInt8], name: String, path: String, identity: LogIdentity, isLast: Bool) throws(StorageError) {
        let block = try SealedBlock(.segment, in: bytes, path: path)
        self.name = name
        self.header = try Self.header(block, path: path, identity: identity)
        guard LogNames.segment(firstFrame: self.header.firstFrame) == name else {
            throw .corrupt(path: path, offset: 0, reason: "it begins with frame \(self.header.firstFrame)")
        }
        self.frames = []
        self.bodies = []
        self.torn = 0
        var offset = block.end
        while offset < bytes.count {
            let next = self.nextFrame
            let found = bytes.withUnsafeBytes { raw in
                Self.body(in: raw, at: offset, number: next, salt: block.checksum)
            }
            guard let found else {
                let proof = bytes.withUnsafeBytes { raw in
                    (offset + 1..<max(offset + 1, raw.count)).first {
                        FrameHeader(in: raw, at: $0, salt: block.checksum).map { $0.number > next } ?? false
                    }
                }
                if let proof {
                    throw .corrupt(path: path, offset: offset, reason: "a later frame follows at byte \(proof)")
                }
                guard isLast else {
                    throw .corrupt(path: path, offset: offset, reason: "a later segment follows")
                }
                self.torn = bytes.count - offset
                return
            }
            do throws(CodecError) {
                self.frames.append(try Frame(body: bytes[found], number: next))
            } catch {
                throw .corrupt(path: path, offset: offset, reason: error.description)
            }
            self.bodies.append(bytes[found])
            offset = found.upperBound
        }
    }

    /// The range of the body of the frame at `offset`, if it is whole and has this number.
    private static func body(
        in raw: UnsafeRawBufferPointer, at offset: Int, number: UInt64, salt: UInt32
    ) -> Range<Int>? {
        guard let header = FrameHeader(in: raw, at: offset, salt: salt), header.number == number else { return nil }
        let start = offset + Frame.headerLength
        guard header.length <= raw.count - start else { return nil }
        let body = start..<start + header.length
        let checksum = Checksum.crc32c(UnsafeRawBufferPointer(rebasing: raw[body]))
        return checksum == header.bodyChecksum ? body : nil
    }

    private static func header(
        _ block: SealedBlock, path: String, identity: LogIdentity
    ) throws(StorageError) -> SegmentHeader {
        var reader = ByteReader(block.body)
        try identity.check(&reader, path: path)
        do throws(CodecError) {
            let header = SegmentHeader(
                startCounter: try reader.uint64(), firstFrame: try reader.uint64(),
                snapshot: try LogMark.decode(from: &reader), last: try LogMark.decode(from: &reader),
                commit: LogIndex(try reader.uint64()))
            try reader.finish()
            return header
        } catch {
            throw .corrupt(path: path, offset: block.end, reason: error.description)
        }
    }
}
