import Basis
import Foundation
import Synchronization
import Testing

/// A small NBD client that can also break the rules. One thread may send while another receives.
final class ExportClient: @unchecked Sendable {
    struct Reply: Equatable {
        var cookie: UInt64
        var error: UInt32 = 0
        var data: [UInt8] = []
        var chunkTypes: [UInt16] = []
        var payload: [UInt8] = []
    }
    struct OptionReply: Equatable {
        var type: UInt32
        var data: [UInt8]
    }
    struct Closed: Error {}
    /// The server broke the protocol; what follows in the stream means nothing.
    struct Broken: Error {
        let reason: String
    }
    private struct Read {
        var offset: UInt64
        var length: Int
    }
    /// A structured reply whose last chunk has not come yet.
    private struct Part {
        var reply: Reply
        var seen = 0
    }

    /// The longest read and an offset.
    private static let longestChunk = 32 << 20 | 8

    private let descriptor: Int32
    /// Lengths and offsets of reads under way, to put chunks in their place.
    private let reads = Mutex<[UInt64: Read]>([:])
    private var parts: [UInt64: Part] = [:]
    /// The cookies of all simple replies and chunks, in the order in which they came.
    private(set) var arrivals: [UInt64] = []
    private(set) var isStructured = false

    init(_ path: String) throws {
        self.descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(status == 0)
    }

    deinit { close(self.descriptor) }

    /// A client that is through the handshake.
    static func ready(_ path: String, structured: Bool = true, contexts: Bool = false) throws -> ExportClient {
        let client = try ExportClient(path)
        try client.greet()
        if structured {
            #expect(try client.option(8, [])[0].type == 1)
            client.isStructured = true
        }
        if contexts { _ = try client.option(10, Bytes().text("").u32(1).text("base:allocation").bytes) }
        let replies = try client.option(7, Bytes().text("").u16(0).bytes)
        #expect(replies.last?.type == 1)
        return client
    }

    func greet(flags: UInt32 = 3) throws {
        #expect(try self.receive(16) == Array("NBDMAGICIHAVEOPT".utf8))
        #expect(try self.receive(2) == [0, 3])
        self.send(Bytes().u32(flags).bytes)
    }

    /// Sends an option and collects the replies up to the final one.
    func option(_ option: UInt32, _ data: [UInt8]) throws -> [OptionReply] {
        self.send(Bytes().raw(Array("IHAVEOPT".utf8)).u32(option).u32(UInt32(data.count)).raw(data).bytes)
        var replies: [OptionReply] = []
        while true {
            let header = try self.receive(20)
            #expect(Bytes.u64(header, 0) == 0x0003_E889_0455_65A9)
            #expect(Bytes.u32(header, 8) == option)
            let type = Bytes.u32(header, 12)
            replies.append(OptionReply(type: type, data: try self.receive(Int(Bytes.u32(header, 16)))))
            if type == 1 || type & 1 << 31 != 0 { return replies }
        }
    }

    func request(
        _ command: UInt16, flags: UInt16 = 0, cookie: UInt64 = 7, offset: UInt64 = 0, length: UInt32 = 0,
        data: [UInt8] = []
    ) {
        if command == 0 { self.reads.withLock { $0[cookie] = Read(offset: offset, length: Int(length)) } }
        self.send(
            Bytes().u32(0x2560_9513).u16(flags).u16(command).u64(cookie).u64(offset).u32(length).raw(data).bytes)
    }

    /// The next reply that becomes whole, of any cookie. Until then messages of other replies may come between its
    /// chunks. (doc/proto.md, "Structured reply chunk message")
    func reply() throws -> Reply {
        while true {
            switch Bytes.u32(try self.receive(4), 0) {
            case 0x6744_6698: return try self.simpleReply()
            case 0x668E_33EF: if let reply = try self.chunk() { return reply }
            case let magic: throw Broken(reason: "a reply with the magic number \(magic)")
            }
        }
    }

    private func endRead(_ cookie: UInt64) -> Read? { self.reads.withLock { $0.removeValue(forKey: cookie) } }

    private func simpleReply() throws -> Reply {
        let rest = try self.receive(12)
        var reply = Reply(cookie: Bytes.u64(rest, 4), error: Bytes.u32(rest, 0))
        self.arrivals.append(reply.cookie)
        guard self.parts[reply.cookie] == nil else { throw Broken(reason: "a simple reply after a chunk") }
        if let read = self.endRead(reply.cookie), reply.error == 0 {
            guard !self.isStructured else { throw Broken(reason: "a simple reply to a read that calls for chunks") }
            reply.data = try self.receive(read.length)
        }
        return reply
    }

    /// Takes in one chunk; the whole reply if it was the last.
    private func chunk() throws -> Reply? {
        let header = try self.receive(16)
        let isLast = Bytes.u16(header, 0) & 1 != 0
        let type = Bytes.u16(header, 2)
        let cookie = Bytes.u64(header, 4)
        let length = Int(Bytes.u32(header, 12))
        guard length <= Self.longestChunk else { throw Broken(reason: "a chunk of \(length) bytes") }
        let payload = try self.receive(length)
        self.arrivals.append(cookie)
        var part = self.parts[cookie] ?? Part(reply: Reply(cookie: cookie))
        part.reply.chunkTypes.append(type)
        if let read = self.reads.withLock({ $0[cookie] }), type == 1 || type == 2 {
            guard type == 1 ? length > 8 : length == 12 else { throw Broken(reason: "a chunk of \(length) bytes") }
            if part.reply.data.isEmpty { part.reply.data = [UInt8](repeating: 0xEE, count: read.length) }
            let (start, isBefore) = Bytes.u64(payload, 0).subtractingReportingOverflow(read.offset)
            let count = type == 1 ? length - 8 : Int(Bytes.u32(payload, 8))
            guard !isBefore, start <= UInt64(read.length), count <= read.length - Int(start) else {
                throw Broken(reason: "a chunk outside its read")
            }
            let bytes = type == 1 ? Array(payload[8...]) : [UInt8](repeating: 0, count: count)
            part.reply.data.replaceSubrange(Int(start)..<Int(start) + count, with: bytes)
            part.seen += count
        } else if type == 1 << 15 | 1 {
            part.reply.error = Bytes.u32(payload, 0)
        } else {
            part.reply.payload = payload
        }
        self.parts[cookie] = isLast ? nil : part
        guard isLast else { return nil }
        if let read = self.endRead(cookie), part.reply.error == 0 {
            #expect(part.seen == read.length)
        }
        return part.reply
    }

    /// One request and its reply.
    func call(
        _ command: UInt16, flags: UInt16 = 0, cookie: UInt64 = 7, offset: UInt64 = 0, length: UInt32 = 0,
        data: [UInt8] = []
    ) throws -> Reply {
        self.request(command, flags: flags, cookie: cookie, offset: offset, length: length, data: data)
        let reply = try self.reply()
        #expect(reply.cookie == cookie)
        return reply
    }

    func send(_ bytes: [UInt8]) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Foundation.send(self.descriptor, $0.baseAddress.map { $0 + done }, $0.count - done, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return }
            done += count
        }
    }

    func stopSending() { shutdown(self.descriptor, Int32(SHUT_WR)) }

    func receive(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes {
                recv(self.descriptor, $0.baseAddress.map { $0 + done }, count - done, 0)
            }
            if got < 0, errno == EINTR { continue }
            if got <= 0 { throw Closed() }
            done += got
        }
        return bytes
    }

    /// Reads until the server closes; how much came.
    func receiveUntilClosed() -> Int {
        var total = 0
        while (try? self.receive(1)) != nil { total += 1 }
        return total
    }
}

/// Big-endian bytes.
struct Bytes {
    var bytes: [UInt8] = []
    func raw(_ more: [UInt8]) -> Bytes { Bytes(bytes: self.bytes + more) }
    func u16(_ value: UInt16) -> Bytes { self.raw(withUnsafeBytes(of: value.bigEndian) { Array($0) }) }
    func u32(_ value: UInt32) -> Bytes { self.raw(withUnsafeBytes(of: value.bigEndian) { Array($0) }) }
    func u64(_ value: UInt64) -> Bytes { self.raw(withUnsafeBytes(of: value.bigEndian) { Array($0) }) }
    /// A 32-bit count and the text.
    func text(_ text: String) -> Bytes { self.u32(UInt32(text.utf8.count)).raw(Array(text.utf8)) }

    static func u16(_ bytes: [UInt8], _ at: Int) -> UInt16 { UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1]) }
    static func u32(_ bytes: [UInt8], _ at: Int) -> UInt32 {
        UInt32(self.u16(bytes, at)) << 16 | UInt32(self.u16(bytes, at + 2))
    }
    static func u64(_ bytes: [UInt8], _ at: Int) -> UInt64 {
        UInt64(self.u32(bytes, at)) << 32 | UInt64(self.u32(bytes, at + 4))
    }
}
