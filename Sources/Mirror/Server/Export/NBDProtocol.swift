/// Numbers of the NBD protocol (doc/proto.md of the NBD project). Everything on the wire is big-endian.
enum NBD {
    static let serverMagic: UInt64 = 0x4E42_444D_4147_4943
    static let optionMagic: UInt64 = 0x4948_4156_454F_5054
    static let optionReplyMagic: UInt64 = 0x0003_E889_0455_65A9
    static let requestMagic: UInt32 = 0x2560_9513
    static let simpleReplyMagic: UInt32 = 0x6744_6698
    static let structuredReplyMagic: UInt32 = 0x668E_33EF

    static let requestBytes = 28
    static let simpleReplyBytes = 16
    static let chunkHeaderBytes = 20
    /// The one metadata context that is offered, and the number it gets.
    static let allocationContext = "base:allocation"
    static let allocationContextID: UInt32 = 1

    /// Handshake flags of both sides.
    enum HandshakeFlag {
        static let fixedNewstyle: UInt16 = 1 << 0
        static let noZeroes: UInt16 = 1 << 1
    }

    /// Options.
    enum Option {
        static let exportName: UInt32 = 1
        static let abort: UInt32 = 2
        static let list: UInt32 = 3
        static let info: UInt32 = 6
        static let go: UInt32 = 7
        static let structuredReply: UInt32 = 8
        static let listMetaContext: UInt32 = 9
        static let setMetaContext: UInt32 = 10
    }

    /// Option replies.
    enum Reply {
        static let acknowledged: UInt32 = 1
        static let server: UInt32 = 2
        static let info: UInt32 = 3
        static let metaContext: UInt32 = 4
        static let unsupported: UInt32 = 1 << 31 | 1
        static let invalid: UInt32 = 1 << 31 | 3
        static let unknown: UInt32 = 1 << 31 | 6
        static let tooBig: UInt32 = 1 << 31 | 9
    }

    /// Kinds of information in answer to INFO and GO.
    enum Info {
        static let export: UInt16 = 0
        static let name: UInt16 = 1
        static let description: UInt16 = 2
        static let blockSize: UInt16 = 3
    }

    /// Transmission flags.
    enum Transmission {
        static let hasFlags: UInt16 = 1 << 0
        static let readOnly: UInt16 = 1 << 1
        static let sendFlush: UInt16 = 1 << 2
        static let sendFUA: UInt16 = 1 << 3
        static let sendTrim: UInt16 = 1 << 5
        static let sendWriteZeroes: UInt16 = 1 << 6
        static let sendDF: UInt16 = 1 << 7
        static let canMultiConn: UInt16 = 1 << 8
        static let sendCache: UInt16 = 1 << 10
        static let sendFastZero: UInt16 = 1 << 11
        static let always =
            hasFlags | sendFlush | sendFUA | sendTrim | sendWriteZeroes | canMultiConn | sendCache | sendFastZero
    }

    /// Commands.
    enum Command {
        static let read: UInt16 = 0
        static let write: UInt16 = 1
        static let disconnect: UInt16 = 2
        static let flush: UInt16 = 3
        static let trim: UInt16 = 4
        static let cache: UInt16 = 5
        static let writeZeroes: UInt16 = 6
        static let blockStatus: UInt16 = 7
    }

    /// Command flags.
    enum Flag {
        static let fua: UInt16 = 1 << 0
        static let noHole: UInt16 = 1 << 1
        static let df: UInt16 = 1 << 2
        static let reqOne: UInt16 = 1 << 3
        static let fastZero: UInt16 = 1 << 4
    }

    /// Structured reply chunks.
    enum Chunk {
        static let done: UInt16 = 1 << 0
        static let none: UInt16 = 0
        static let offsetData: UInt16 = 1
        static let offsetHole: UInt16 = 2
        static let blockStatus: UInt16 = 5
        static let error: UInt16 = 1 << 15 | 1
    }
}

extension UnsafeRawBufferPointer {
    /// A big-endian integer at a byte offset.
    func big<Value: FixedWidthInteger>(_ offset: Int, as: Value.Type = Value.self) -> Value {
        self.loadUnaligned(fromByteOffset: offset, as: Value.self).bigEndian
    }
}

/// A request header. (doc/proto.md, "Request message")
struct NBDRequest {
    let magic: UInt32
    let flags: UInt16
    let command: UInt16
    let cookie: UInt64
    let offset: UInt64
    let length: UInt32

    init(_ bytes: UnsafeRawBufferPointer) {
        self.magic = bytes.big(0)
        self.flags = bytes.big(4)
        self.command = bytes.big(6)
        self.cookie = bytes.big(8)
        self.offset = bytes.big(16)
        self.length = bytes.big(24)
    }

    /// Whether the range lies inside a device of this size.
    func fits(in size: UInt64) -> Bool {
        let (end, overflow) = self.offset.addingReportingOverflow(UInt64(self.length))
        return !overflow && end <= size
    }
}

/// Collects big-endian fields of a handshake reply or a small chunk.
struct NBDMessage {
    private(set) var bytes: [UInt8] = []

    mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.bigEndian) { self.bytes.append(contentsOf: $0) }
    }

    mutating func put(text: String) { self.bytes.append(contentsOf: text.utf8) }

    mutating func put(bytes: [UInt8]) { self.bytes.append(contentsOf: bytes) }

    mutating func put(zeroes count: Int) { self.bytes.append(contentsOf: repeatElement(0, count: count)) }

    /// The header of a structured reply chunk.
    static func chunk(type: UInt16, isLast: Bool, cookie: UInt64, length: Int) -> NBDMessage {
        var message = NBDMessage()
        message.put(NBD.structuredReplyMagic)
        message.put(isLast ? NBD.Chunk.done : 0)
        message.put(type)
        message.put(cookie)
        message.put(UInt32(length))
        return message
    }
}

/// Why a client is dropped; the text becomes a log line.
struct NBDDrop: Error {
    let reason: String
}
