import Basis
import CLinux
import Glibc
import Testing

@testable import Mirror
@testable import VolumeServer

struct DeviceProtocolTests {
    /// A message of the kernel, and what it comes to.
    private func meaning(
        _ opcode: fuse_opcode, node: UInt64 = 2, _ body: [UInt8] = [], of file: inout FuseFile, size: UInt64 = 1 << 20
    ) throws -> FuseFile.Meaning {
        var header = fuse_in_header()
        header.len = UInt32(MemoryLayout<fuse_in_header>.size + body.count)
        header.opcode = opcode.rawValue
        header.unique = 4
        header.nodeid = node
        let bytes = withUnsafeBytes(of: header) { Array($0) } + body
        return try bytes.withUnsafeBytes { bytes in
            let request = try #require(FuseRequest(bytes))
            return file.meaning(of: request, sizeBytes: size)
        }
    }

    private func bytes<Value>(_ value: Value) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

    private func decode<Value>(_ meaning: FuseFile.Meaning, as type: Value.Type) throws -> Value {
        guard case .reply(let bytes) = meaning else { throw NBDDrop(reason: "\(meaning) is no reply") }
        try #require(bytes.count == MemoryLayout<Value>.size)
        return bytes.withUnsafeBytes { $0.loadUnaligned(as: type) }
    }

    @Test func `the kernel is asked for large requests, many at a time, and keeps no writes to itself`() throws {
        var file = FuseFile()
        var wish = fuse_init_in()
        wish.major = 7
        wish.minor = 45
        wish.flags = .max
        wish.max_readahead = 1 << 17
        #expect(!file.isInitialized)
        let answer = try self.decode(self.meaning(FUSE_INIT, self.bytes(wish), of: &file), as: fuse_init_out.self)
        #expect(file.isInitialized)
        #expect(answer.major == 7 && answer.minor == 38)
        #expect(answer.max_write == 1 << 20 && answer.max_pages == 256 && answer.max_background >= 16)
        #expect(answer.flags & UInt32(FUSE_ASYNC_DIO) != 0 && answer.flags & UInt32(FUSE_MAX_PAGES) != 0)
        #expect(answer.flags & UInt32(FUSE_WRITEBACK_CACHE) == 0)
    }

    @Test func `there is one file, as large as the volume is now`() throws {
        var file = FuseFile()
        let found = try self.decode(
            self.meaning(FUSE_LOOKUP, node: 1, Array("nbd".utf8) + [0], of: &file), as: fuse_entry_out.self)
        #expect(found.nodeid == 2 && found.attr.size == 1 << 20 && found.attr.mode == 0o100_600)
        #expect(found.attr_valid == 0 && found.attr_valid_nsec == 0)
        #expect(try self.meaning(FUSE_LOOKUP, node: 1, Array("nbd2".utf8) + [0], of: &file) == .refuse(ENOENT))
        let grown = try self.decode(self.meaning(FUSE_GETATTR, of: &file, size: 1 << 30), as: fuse_attr_out.self)
        #expect(grown.attr.size == 1 << 30 && grown.attr_valid == 0 && grown.attr_valid_nsec == 0)
    }

    @Test func `it can be listed`() throws {
        var file = FuseFile()
        var wish = fuse_read_in()
        wish.size = 4096
        guard case .reply(let all) = try self.meaning(FUSE_READDIR, node: 1, self.bytes(wish), of: &file) else {
            Issue.record("no list")
            return
        }
        #expect(String(decoding: all, as: UTF8.self).contains("nbd") && all.count == 96)
        wish.offset = 3
        #expect(try self.meaning(FUSE_READDIR, node: 1, self.bytes(wish), of: &file) == .reply([]))
    }

    @Test func `only the volume decides how large the file is`() throws {
        var file = FuseFile()
        var wish = fuse_setattr_in()
        wish.valid = UInt32(FATTR_SIZE)
        #expect(try self.meaning(FUSE_SETATTR, self.bytes(wish), of: &file) == .refuse(EPERM))
        wish.size = 1 << 20
        let same = try self.decode(self.meaning(FUSE_SETATTR, self.bytes(wish), of: &file), as: fuse_attr_out.self)
        #expect(same.attr.size == 1 << 20)
        wish.valid = UInt32(FATTR_MODE)
        #expect(try self.meaning(FUSE_SETATTR, self.bytes(wish), of: &file) == .refuse(EPERM))
    }

    @Test func `reads, writes, syncs and holes are the volume's`() throws {
        var file = FuseFile()
        let extent = Extent(offset: 8192, length: 5)
        func volume(_ operation: VolumeDevice.Operation, at offset: Int = 0, _ bytes: Int = 0) -> FuseFile.Meaning {
            .volume(operation, payloadOffset: offset, payloadBytes: bytes)
        }
        var read = fuse_read_in()
        read.offset = 8192
        read.size = 5
        #expect(try self.meaning(FUSE_READ, self.bytes(read), of: &file) == volume(.read(extent)))
        var write = fuse_write_in()
        write.offset = 8192
        write.size = 5
        let body = self.bytes(write) + [1, 2, 3, 4, 5]
        #expect(
            try self.meaning(FUSE_WRITE, body, of: &file) == volume(.write(extent, durable: false), at: 40, 5))
        write.flags = UInt32(O_DSYNC)
        #expect(
            try self.meaning(FUSE_WRITE, self.bytes(write) + [1, 2, 3, 4, 5], of: &file)
                == volume(.write(extent, durable: true), at: 40, 5))
        #expect(try self.meaning(FUSE_WRITE, self.bytes(write) + [1], of: &file) == .refuse(EINVAL))
        #expect(try self.meaning(FUSE_FSYNC, self.bytes(fuse_fsync_in()), of: &file) == volume(.flush))
        var hole = fuse_fallocate_in()
        hole.offset = 8192
        hole.length = 5
        hole.mode = 3
        #expect(
            try self.meaning(FUSE_FALLOCATE, self.bytes(hole), of: &file) == volume(.zero(extent, mayTrim: true)))
        hole.mode = 0x11
        #expect(
            try self.meaning(FUSE_FALLOCATE, self.bytes(hole), of: &file) == volume(.zero(extent, mayTrim: false)))
        hole.mode = 0
        #expect(try self.meaning(FUSE_FALLOCATE, self.bytes(hole), of: &file) == .refuse(EOPNOTSUPP))
    }

    @Test func `what nobody needs is not there, and what wants no answer gets none`() throws {
        var file = FuseFile()
        #expect(try self.meaning(FUSE_SETXATTR, of: &file) == .refuse(ENOSYS))
        #expect(try self.meaning(FUSE_IOCTL, of: &file) == .refuse(ENOSYS))
        #expect(try self.meaning(FUSE_FORGET, of: &file) == .nothing)
        #expect(try self.meaning(FUSE_INTERRUPT, of: &file) == .nothing)
        #expect(try self.meaning(FUSE_READ, node: 1, of: &file) == .refuse(EISDIR))
        #expect(try self.meaning(FUSE_READ, [1, 2], of: &file) == .refuse(EINVAL))
    }
}

struct NBDClientHandshakeTests {
    private func greeting(flags: UInt16 = 3) -> [UInt8] {
        var message = NBDMessage()
        message.put(NBD.serverMagic)
        message.put(NBD.optionMagic)
        message.put(flags)
        return message.bytes
    }

    private func answer(_ type: UInt32, _ data: [UInt8] = []) -> [UInt8] {
        var message = NBDMessage()
        message.put(NBD.optionReplyMagic)
        message.put(NBD.Option.go)
        message.put(type)
        message.put(UInt32(data.count))
        message.put(bytes: data)
        return message.bytes
    }

    private func export(size: UInt64, flags: UInt16 = NBD.Transmission.always) -> [UInt8] {
        var message = NBDMessage()
        message.put(NBD.Info.export)
        message.put(size)
        message.put(flags)
        return self.answer(NBD.Reply.info, message.bytes)
    }

    /// Shows the handshake one byte more each time; what it ends with.
    private func shake(_ bytes: [UInt8]) throws -> (export: NBDClientHandshake.Export?, sent: [UInt8]) {
        var handshake = NBDClientHandshake()
        var received: [UInt8] = []
        var sent: [UInt8] = []
        for byte in bytes {
            received.append(byte)
            while let step = try received.withUnsafeBytes({ bytes throws(NBDDrop) in try handshake.step(bytes) }) {
                received.removeFirst(step.consumed)
                sent += step.reply
                if let export = step.export { return (export, sent) }
            }
        }
        return (nil, sent)
    }

    @Test func `the size comes with the handshake, however the bytes arrive`() throws {
        let sizes = self.answer(NBD.Reply.info, [0, 3] + Array(repeating: 0, count: 12))
        let (export, sent) = try self.shake(
            self.greeting() + self.export(size: 1 << 33) + sizes + self.answer(NBD.Reply.acknowledged))
        #expect(export?.sizeBytes == 1 << 33)
        #expect(sent == [0, 0, 0, 3] + Array("IHAVEOPT".utf8) + [0, 0, 0, 7, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0])
    }

    @Test func `what is no volume server is told from one`() {
        let cases: [[UInt8]] = [
            Array("HTTP/1.1 400 Bad Request".utf8), self.greeting(flags: 0),
            self.greeting() + self.answer(NBD.Reply.unknown, Array("no such export".utf8)),
            self.greeting() + self.answer(NBD.Reply.acknowledged),
            self.greeting() + self.export(size: 4096, flags: 3) + self.answer(NBD.Reply.acknowledged),
            self.greeting() + self.export(size: 4096, flags: NBD.Transmission.always | 2)
                + self.answer(NBD.Reply.acknowledged),
        ]
        for bytes in cases { #expect(throws: NBDDrop.self) { try self.shake(bytes) } }
    }
}
