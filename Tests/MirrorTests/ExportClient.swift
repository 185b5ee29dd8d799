import Basis
import Foundation
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

    private let descriptor: Int32
    /// Lengths and offsets of reads under way, to put chunks in their place.
    private var reads: [UInt64: (offset: UInt64, length: Int)] = [:]
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
        if command == 0 { self.reads[cookie] = (offset, Int(length)) }
        self.send(
            Bytes().u32(0x2560_9513).u16(flags).u16(command).u64(cookie).u64(offset).u32(length).raw(data).bytes)
    }

    /// The next whole reply, of any cookie.
    func reply() throws -> Reply {
        let magic = Bytes.u32(try self.receive(4), 0)
        if magic == 0x6744_6698 {
            let rest = try self.receive(12)
            var reply = Reply(cookie: Bytes.u64(rest, 4), error: Bytes.u32(rest, 0))
            if let read = self.reads.removeValue(forKey: reply.cookie), reply.error == 0 {
                #expect(!self.isStructured, "a simple reply to a read after structured replies were agreed")
                reply.data = try self.receive(read.length)
            }
            return reply
        }
        try #require(magic == 0x668E_33EF)
        return try self.chunks()
    }

    private func chunks() throws -> Reply {
        var reply: Reply?
        var seen = 0
        while true {
            let header = try self.receive(16)
            let flags = Bytes.u16(header, 0)
            let type = Bytes.u16(header, 2)
            let cookie = Bytes.u64(header, 4)
            let payload = try self.receive(Int(Bytes.u32(header, 12)))
            var current = reply ?? Reply(cookie: cookie)
            #expect(current.cookie == cookie)
            current.chunkTypes.append(type)
            if let read = self.reads[cookie], type == 1 || type == 2 {
                if current.data.isEmpty { current.data = [UInt8](repeating: 0xEE, count: read.length) }
                let start = Int(Bytes.u64(payload, 0) - read.offset)
                let bytes =
                    type == 1
                    ? Array(payload[8...]) : [UInt8](repeating: 0, count: Int(Bytes.u32(payload, 8)))
                current.data.replaceSubrange(start..<start + bytes.count, with: bytes)
                seen += bytes.count
            } else if type == 1 << 15 | 1 {
                current.error = Bytes.u32(payload, 0)
            } else {
                current.payload = payload
            }
            reply = current
            if flags & 1 != 0 {
                if let read = self.reads.removeValue(forKey: cookie), current.error == 0 {
                    #expect(seen == read.length)
                }
                return current
            }
            #expect(Bytes.u32(try self.receive(4), 0) == 0x668E_33EF)
        }
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
