import Basis
import CLZ4
import Mirror

/// Frames as bytes: a header of 72 bytes, then a payload. Integers are little-endian.
///
///     0 magic · 4 kind (8 bits), flags (8), reserved (16) · 8 generation (32), session (32) · 16 epoch index (64)
///     24 sequence (64) · 32 offset (64) · 40 length (64) · 48 payload on the wire (32), payload (32) · 56 mask (64)
///     64 CRC32C of the payload (32) · 68 CRC32C of bytes 0 to 67 (32)
enum FrameCodec {
    static let headerBytes = 72
    /// Larger frames are refused: NBD writes have at most 32 MiB.
    static let maximumPayload = 40 << 20
    /// "HMF" and the digit of the version, as text.
    private static let magic: UInt32 = 0x3246_4D48
    private static let compressed: UInt8 = 1
    /// Payloads below are not worth a try.
    static let smallestCompressed = 512

    struct Header {
        var kind: UInt8 = 0
        var flags: UInt8 = 0
        var generation: UInt32 = 0
        var session: UInt32 = 0
        var index: UInt64 = 0
        var sequence: UInt64 = 0
        var offset: UInt64 = 0
        var length: UInt64 = 0
        var wireBytes: UInt32 = 0
        var payloadBytes: UInt32 = 0
        var mask: UInt64 = 0
        var payloadSum: UInt32 = 0
    }

    // MARK: Header bytes

    /// All but the sums.
    private static func put(_ header: Header, into buffer: UnsafeMutableRawBufferPointer) {
        buffer.storeBytes(of: self.magic.littleEndian, toByteOffset: 0, as: UInt32.self)
        buffer.storeBytes(of: header.kind, toByteOffset: 4, as: UInt8.self)
        buffer.storeBytes(of: header.flags, toByteOffset: 5, as: UInt8.self)
        buffer.storeBytes(of: 0, toByteOffset: 6, as: UInt16.self)
        buffer.storeBytes(of: header.generation.littleEndian, toByteOffset: 8, as: UInt32.self)
        buffer.storeBytes(of: header.session.littleEndian, toByteOffset: 12, as: UInt32.self)
        buffer.storeBytes(of: header.index.littleEndian, toByteOffset: 16, as: UInt64.self)
        buffer.storeBytes(of: header.sequence.littleEndian, toByteOffset: 24, as: UInt64.self)
        buffer.storeBytes(of: header.offset.littleEndian, toByteOffset: 32, as: UInt64.self)
        buffer.storeBytes(of: header.length.littleEndian, toByteOffset: 40, as: UInt64.self)
        buffer.storeBytes(of: header.wireBytes.littleEndian, toByteOffset: 48, as: UInt32.self)
        buffer.storeBytes(of: header.payloadBytes.littleEndian, toByteOffset: 52, as: UInt32.self)
        buffer.storeBytes(of: header.mask.littleEndian, toByteOffset: 56, as: UInt64.self)
    }

    /// Puts the sum of a header that is complete but for it.
    private static func seal(_ buffer: UnsafeMutableRawBufferPointer) {
        let sum = LinkChecksum.crc32c(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<68]))
        buffer.storeBytes(of: sum.littleEndian, toByteOffset: 68, as: UInt32.self)
    }

    /// Where a frame ends that `put` left with its plain payload behind it and without sums.
    static func end(ofQueued bytes: UnsafeRawBufferPointer, at start: Int) -> Int {
        let count = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start + 52, as: UInt32.self))
        return start + self.headerBytes + Int(count)
    }

    /// Puts the sums of a queued frame in place.
    static func seal(queued frame: UnsafeMutableRawBufferPointer) {
        let payload = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(frame)[self.headerBytes...])
        let sum = payload.isEmpty ? 0 : LinkChecksum.crc32c(payload)
        frame.storeBytes(of: sum.littleEndian, toByteOffset: 64, as: UInt32.self)
        self.seal(UnsafeMutableRawBufferPointer(rebasing: frame[..<self.headerBytes]))
    }

    /// Appends a queued frame with its payload compressed, where that is smaller; what was tried, and its size after.
    static func compress(
        queued frame: UnsafeRawBufferPointer, into buffer: inout RawBuffer
    ) -> (tried: Int, compressed: Int) {
        let start = buffer.count
        let payload = UnsafeRawBufferPointer(rebasing: frame[self.headerBytes...])
        guard payload.count >= self.smallestCompressed else {
            buffer.append(frame)
            self.seal(queued: buffer.room(at: start, count: frame.count))
            return (0, 0)
        }
        buffer.append(UnsafeRawBufferPointer(rebasing: frame[..<self.headerBytes]))
        let size = self.compress(payload, into: &buffer)
        guard size > 0 else {
            buffer.append(payload)
            self.seal(queued: buffer.room(at: start, count: frame.count))
            return (payload.count, payload.count)
        }
        let header = buffer.room(at: start, count: self.headerBytes)
        header.storeBytes(of: self.compressed, toByteOffset: 5, as: UInt8.self)
        header.storeBytes(of: UInt32(size).littleEndian, toByteOffset: 48, as: UInt32.self)
        header.storeBytes(of: LinkChecksum.crc32c(payload).littleEndian, toByteOffset: 64, as: UInt32.self)
        self.seal(header)
        return (payload.count, size)
    }

    /// Appends the compressed bytes; 0, and nothing appended, if they are not at least a sixteenth fewer.
    static func compress(_ payload: UnsafeRawBufferPointer, into buffer: inout RawBuffer) -> Int {
        let start = buffer.count
        let room = buffer.extend(by: payload.count)
        let size = LZ4_compress_default(
            payload.baseAddress?.assumingMemoryBound(to: CChar.self),
            room.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(payload.count),
            Int32(payload.count - payload.count / 16))
        buffer.shrink(to: start + Int(max(0, size)))
        return Int(max(0, size))
    }

    static func header(_ bytes: UnsafeRawBufferPointer) throws(LinkError) -> Header {
        func word(_ offset: Int) -> UInt32 {
            UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        }
        func long(_ offset: Int) -> UInt64 {
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        guard word(0) == self.magic else {
            let digit = word(0) >> 24
            guard word(0) & 0xFF_FFFF == self.magic & 0xFF_FFFF, (0x30...0x39).contains(digit) else { throw .notAFrame }
            throw .foreignVersion(digit - 0x30)
        }
        guard word(68) == LinkChecksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<68])) else { throw .damaged }
        let header = Header(
            kind: bytes[4], flags: bytes[5], generation: word(8), session: word(12), index: long(16),
            sequence: long(24), offset: long(32), length: long(40), wireBytes: word(48), payloadBytes: word(52),
            mask: long(56), payloadSum: word(64))
        guard header.wireBytes <= self.maximumPayload, header.payloadBytes <= self.maximumPayload else {
            throw .unexpected("a payload of \(header.payloadBytes) bytes")
        }
        return header
    }

    // MARK: Frames

    /// The header of a frame, without its payload's length and sum, and what of it travels as payload.
    static func split(_ frame: Frame) -> (Header, [UInt8]) {
        var header = Header()
        var fields = ByteWriter(reserving: 0)
        header.generation = frame.epoch.generation
        header.index = frame.epoch.index
        header.session = frame.session
        func extent(_ extent: Extent) {
            header.offset = extent.offset
            header.length = extent.length
        }
        switch frame.body {
        case .hello(let owner, let sizeBytes, let word):
            header.kind = 1
            fields.replicas([owner])
            fields.uint64(sizeBytes)
            fields.word(word)
        case .write(let sequence, let range):
            header.kind = 2
            header.sequence = sequence
            extent(range)
        case .zero(let sequence, let range, let zeroing):
            header.kind = 3
            header.sequence = sequence
            header.mask = UInt64(zeroing.rawValue)
            extent(range)
        case .flush(let sequence): (header.kind, header.sequence) = (4, sequence)
        case .compare(let chunk):
            header.kind = 5
            extent(chunk)
        case .blocks(let sequence, let chunk, let mask):
            header.kind = 6
            header.sequence = sequence
            header.mask = mask
            extent(chunk)
        case .clear(let sequence, let covered, let turn):
            header.kind = 7
            header.sequence = sequence
            header.mask = turn
            fields.replicas(covered)
        case .ping(let word):
            header.kind = 8
            fields.word(word)
        case .welcome(let welcome):
            header.kind = 9
            fields.uint64(welcome.identity)
            fields.uint64(welcome.instance)
            fields.uint64(welcome.regionBytes)
            welcome.marks.encode(into: &fields)
            fields.replicas(welcome.covered)
            fields.bool(welcome.trusted)
            fields.uint64(welcome.notedTurn)
            fields.uint64(welcome.clearedTurn)
            fields.word(welcome.word)
        case .received(let sequence): (header.kind, header.sequence) = (10, sequence)
        case .stable(let sequence): (header.kind, header.sequence) = (11, sequence)
        case .sums(let chunk):
            header.kind = 12
            extent(chunk)
        case .fenced(let epoch):
            header.kind = 13
            (header.sequence, header.offset) = (epoch.index, UInt64(epoch.generation))
        case .pong(let word):
            header.kind = 14
            fields.word(word)
        case .wantsResync: header.kind = 15
        case .note(let turn): (header.kind, header.sequence) = (16, turn)
        case .noted(let turn): (header.kind, header.sequence) = (17, turn)
        }
        return (header, fields.bytes)
    }

    /// The frame of a header; `payload` is needed by kinds whose fields travel there.
    static func frame(_ header: Header, _ payload: UnsafeRawBufferPointer) throws(LinkError) -> Frame {
        let extent = Extent(offset: header.offset, length: header.length)
        let body: Frame.Body
        do throws(CodecError) {
            var reader = ByteReader([])
            switch header.kind {
            case 1, 7, 8, 9, 14: reader = ByteReader(Array(payload))
            default: break
            }
            switch header.kind {
            case 1:
                guard let owner = try reader.replicas().first else { throw .invalid(field: "owner", offset: 0) }
                body = .hello(owner: owner, sizeBytes: try reader.uint64(), word: try reader.word())
            case 2: body = .write(sequence: header.sequence, extent: extent)
            case 3:
                let zeroing = Frame.Zeroing(rawValue: UInt8(truncatingIfNeeded: header.mask)) ?? .keep
                body = .zero(sequence: header.sequence, extent: extent, zeroing: zeroing)
            case 4: body = .flush(sequence: header.sequence)
            case 5: body = .compare(chunk: extent)
            case 6: body = .blocks(sequence: header.sequence, chunk: extent, mask: header.mask)
            case 7:
                body = .clear(sequence: header.sequence, covered: try reader.replicas(), turn: header.mask)
            case 8: body = .ping(try reader.word())
            case 9:
                body = .welcome(
                    Frame.Welcome(
                        identity: try reader.uint64(), instance: try reader.uint64(), regionBytes: try reader.uint64(),
                        marks: try DirtyMap.decode(from: &reader), covered: try reader.replicas(),
                        trusted: try reader.bool(), notedTurn: try reader.uint64(),
                        clearedTurn: try reader.uint64(), word: try reader.word()))
            case 10: body = .received(sequence: header.sequence)
            case 11: body = .stable(sequence: header.sequence)
            case 12: body = .sums(chunk: extent)
            case 13:
                body = .fenced(
                    Epoch(generation: UInt32(truncatingIfNeeded: header.offset), index: header.sequence))
            case 14: body = .pong(try reader.word())
            case 15: body = .wantsResync
            case 16: body = .note(turn: header.sequence)
            case 17: body = .noted(turn: header.sequence)
            default: throw .invalid(field: "frame kind", offset: 4)
            }
            try reader.finish()
        } catch {
            throw .unexpected("a frame of kind \(header.kind) that cannot be read: \(error)")
        }
        let epoch = Epoch(generation: header.generation, index: header.index)
        return Frame(epoch: epoch, session: header.session, body: body)
    }

    // MARK: Payloads

    /// Appends a frame as it is queued: without sums, its payload plain. `seal` or `compress` makes it ready.
    static func queue(_ header: Header, _ payload: UnsafeRawBufferPointer, into buffer: inout RawBuffer) {
        var header = header
        header.payloadBytes = UInt32(payload.count)
        header.wireBytes = header.payloadBytes
        self.put(header, into: buffer.extend(by: self.headerBytes))
        buffer.append(payload)
    }

    /// The payload of a frame as it arrived; `scratch` holds the payload where it was compressed.
    static func payload(
        _ header: Header, _ wire: UnsafeRawBufferPointer, scratch: inout RawBuffer
    ) throws(LinkError) -> UnsafeRawBufferPointer {
        var payload = wire
        if header.flags & self.compressed != 0 {
            scratch.removeAll()
            let room = scratch.extend(by: Int(header.payloadBytes))
            let size = LZ4_decompress_safe(
                wire.baseAddress?.assumingMemoryBound(to: CChar.self),
                room.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(wire.count), Int32(room.count))
            guard size == Int32(room.count) else { throw .damaged }
            payload = UnsafeRawBufferPointer(room)
        }
        guard payload.count == Int(header.payloadBytes) else { throw .damaged }
        guard payload.isEmpty || LinkChecksum.crc32c(payload) == header.payloadSum else { throw .damaged }
        return payload
    }
}

extension ByteWriter {
    fileprivate mutating func word(_ word: Frame.Word) {
        self.uint64(word.run.rawValue)
        word.word.encode(into: &self)
        for start in [word.own, word.known] {
            self.uint64(start.identity)
            self.uint64(start.instance)
        }
    }
}

extension ByteReader {
    fileprivate mutating func word() throws(CodecError) -> Frame.Word {
        Frame.Word(
            run: RunID(try self.uint64()), word: try HearingWord.decode(from: &self),
            own: .init(identity: try self.uint64(), instance: try self.uint64()),
            known: .init(identity: try self.uint64(), instance: try self.uint64()))
    }
}

extension RawBuffer {
    /// Bytes appended earlier, to be overwritten.
    mutating func room(at offset: Int, count: Int) -> UnsafeMutableRawBufferPointer {
        precondition(offset + count <= self.count, "outside the buffer")
        return UnsafeMutableRawBufferPointer(
            mutating: UnsafeRawBufferPointer(rebasing: self.bytes[offset..<offset + count]))
    }
}
