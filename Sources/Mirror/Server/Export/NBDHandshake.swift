import Basis
import Host

/// The fixed newstyle handshake of one connection. (doc/proto.md, "Fixed newstyle negotiation")
struct NBDHandshake {
    /// What the client agreed to.
    struct Agreement: Equatable {
        var usesStructuredReplies = false
        var usesAllocationContext = false
    }

    /// Longest option that is read; longer ones are answered with an error, ridiculous ones end the connection.
    private static let maximumOptionBytes = 64 * 1024
    private static let ridiculousOptionBytes = 16 << 20
    private static let maximumOptions = 1000

    let input: NBDInput
    let descriptor: Int32
    let exportName: String
    let sizeBytes: UInt64
    let maximumPayload: UInt32
    let deadline: Tick

    private var agreement = Agreement()
    private var contextExport: String?
    private var sendsZeroes = true

    init(
        input: NBDInput, descriptor: Int32, exportName: String, sizeBytes: UInt64, maximumPayload: UInt32,
        deadline: Tick
    ) {
        self.input = input
        self.descriptor = descriptor
        self.exportName = exportName
        self.sizeBytes = sizeBytes
        self.maximumPayload = maximumPayload
        self.deadline = deadline
    }

    /// Returns what was agreed, or nil if the client left politely.
    mutating func run() throws(NBDDrop) -> Agreement? {
        var greeting = NBDMessage()
        greeting.put(NBD.serverMagic)
        greeting.put(NBD.optionMagic)
        greeting.put(NBD.HandshakeFlag.fixedNewstyle | NBD.HandshakeFlag.noZeroes)
        try self.send(greeting)
        let flags: UInt32 = try self.take(4).big(0)
        self.input.consume(4)
        let known = UInt32(NBD.HandshakeFlag.fixedNewstyle | NBD.HandshakeFlag.noZeroes)
        guard flags & ~known == 0 else { throw NBDDrop(reason: "it set unknown handshake flags \(flags)") }
        self.sendsZeroes = flags & UInt32(NBD.HandshakeFlag.noZeroes) == 0
        for _ in 0..<Self.maximumOptions {
            switch try self.option() {
            case .next: continue
            case .begin: return self.agreement
            case .leave: return nil
            }
        }
        throw NBDDrop(reason: "it sent \(Self.maximumOptions) options without starting")
    }

    private enum Step {
        case next
        case begin
        case leave
    }

    private mutating func option() throws(NBDDrop) -> Step {
        let header = try self.take(16)
        guard header.big(0, as: UInt64.self) == NBD.optionMagic else {
            throw NBDDrop(reason: "it does not speak NBD (wrong option magic)")
        }
        let option: UInt32 = header.big(8)
        let length = Int(header.big(12, as: UInt32.self))
        self.input.consume(16)
        guard length <= Self.maximumOptionBytes else {
            guard length <= Self.ridiculousOptionBytes, option != NBD.Option.exportName else {
                throw NBDDrop(reason: "it sent an option of \(length) bytes")
            }
            try self.check(self.input.skip(length, deadline: self.deadline))
            try self.answer(option, NBD.Reply.tooBig, text: "options of at most \(Self.maximumOptionBytes) bytes")
            return .next
        }
        let data = [UInt8](try self.take(length))
        self.input.consume(length)
        switch option {
        case NBD.Option.exportName:
            try self.exportByName(data)
            return .begin
        case NBD.Option.abort:
            try? self.answer(option, NBD.Reply.acknowledged)
            return .leave
        case NBD.Option.list: try self.list(data)
        case NBD.Option.info, NBD.Option.go:
            if try self.describe(option, data), option == NBD.Option.go { return .begin }
        case NBD.Option.structuredReply:
            if data.isEmpty {
                self.agreement.usesStructuredReplies = true
                try self.answer(option, NBD.Reply.acknowledged)
            } else {
                try self.answer(option, NBD.Reply.invalid, text: "this option takes no data")
            }
        case NBD.Option.listMetaContext, NBD.Option.setMetaContext: try self.metaContext(option, data)
        default: try self.answer(option, NBD.Reply.unsupported, text: "option \(option) is not supported")
        }
        return .next
    }

    private var transmissionFlags: UInt16 {
        NBD.Transmission.always | (self.agreement.usesStructuredReplies ? NBD.Transmission.sendDF : 0)
    }

    /// The empty name means the default export, which is the only one.
    private func isOurs(_ name: String) -> Bool { name.isEmpty || name == self.exportName }

    private mutating func exportByName(_ data: [UInt8]) throws(NBDDrop) {
        let name = String(decoding: data, as: UTF8.self)
        guard self.isOurs(name) else { throw NBDDrop(reason: "it asked for an export that is not here") }
        self.dropContextsUnless(name)
        var message = NBDMessage()
        message.put(self.sizeBytes)
        message.put(self.transmissionFlags)
        if self.sendsZeroes { message.put(zeroes: 124) }
        try self.send(message)
    }

    private func list(_ data: [UInt8]) throws(NBDDrop) {
        guard data.isEmpty else {
            return try self.answer(NBD.Option.list, NBD.Reply.invalid, text: "this option takes no data")
        }
        var entry = NBDMessage()
        entry.put(UInt32(self.exportName.utf8.count))
        entry.put(text: self.exportName)
        try self.answer(NBD.Option.list, NBD.Reply.server, entry.bytes)
        try self.answer(NBD.Option.list, NBD.Reply.acknowledged)
    }

    /// INFO and GO; true if the export exists.
    private mutating func describe(_ option: UInt32, _ data: [UInt8]) throws(NBDDrop) -> Bool {
        var fields = OptionFields(data)
        guard let name = fields.text(), let count: UInt16 = fields.take() else { return try self.malformed(option) }
        var wanted: [UInt16] = []
        for _ in 0..<count {
            guard let kind: UInt16 = fields.take() else { return try self.malformed(option) }
            wanted.append(kind)
        }
        guard fields.isAtEnd else { return try self.malformed(option) }
        guard self.isOurs(name) else {
            try self.answer(option, NBD.Reply.unknown, text: "no such export; there is only '\(self.exportName)'")
            return false
        }
        if option == NBD.Option.go { self.dropContextsUnless(name) }
        var export = NBDMessage()
        export.put(NBD.Info.export)
        export.put(self.sizeBytes)
        export.put(self.transmissionFlags)
        try self.answer(option, NBD.Reply.info, export.bytes)
        var sizes = NBDMessage()
        sizes.put(NBD.Info.blockSize)
        sizes.put(UInt32(1))
        sizes.put(UInt32(4096))
        sizes.put(self.maximumPayload)
        try self.answer(option, NBD.Reply.info, sizes.bytes)
        for (kind, text) in [(NBD.Info.name, self.exportName), (NBD.Info.description, "Holdfast volume")]
        where wanted.contains(kind) {
            var info = NBDMessage()
            info.put(kind)
            info.put(text: text)
            try self.answer(option, NBD.Reply.info, info.bytes)
        }
        try self.answer(option, NBD.Reply.acknowledged)
        return true
    }

    private mutating func metaContext(_ option: UInt32, _ data: [UInt8]) throws(NBDDrop) {
        let isSet = option == NBD.Option.setMetaContext
        if isSet {
            self.agreement.usesAllocationContext = false
            guard self.agreement.usesStructuredReplies else {
                return try self.answer(option, NBD.Reply.invalid, text: "negotiate structured replies first")
            }
        }
        var fields = OptionFields(data)
        guard let name = fields.text(), let count: UInt32 = fields.take() else { return _ = try self.malformed(option) }
        var matches = count == 0 && !isSet
        for _ in 0..<count {
            guard let query = fields.text() else { return _ = try self.malformed(option) }
            matches = matches || query == NBD.allocationContext || (!isSet && query == "base:")
        }
        guard fields.isAtEnd else { return _ = try self.malformed(option) }
        guard self.isOurs(name) else { return try self.answer(option, NBD.Reply.unknown, text: "no such export") }
        if matches {
            var context = NBDMessage()
            context.put(isSet ? NBD.allocationContextID : 0)
            context.put(text: NBD.allocationContext)
            try self.answer(option, NBD.Reply.metaContext, context.bytes)
            if isSet {
                self.agreement.usesAllocationContext = true
                self.contextExport = name
            }
        }
        try self.answer(option, NBD.Reply.acknowledged)
    }

    /// Contexts hold only for the export name they were asked for.
    private mutating func dropContextsUnless(_ name: String) {
        if self.contextExport != name { self.agreement.usesAllocationContext = false }
    }

    private func malformed(_ option: UInt32) throws(NBDDrop) -> Bool {
        try self.answer(option, NBD.Reply.invalid, text: "the option's fields do not add up")
        return false
    }

    private func answer(_ option: UInt32, _ type: UInt32, text: String) throws(NBDDrop) {
        try self.answer(option, type, Array(text.utf8))
    }

    private func answer(_ option: UInt32, _ type: UInt32, _ data: [UInt8] = []) throws(NBDDrop) {
        var message = NBDMessage()
        message.put(NBD.optionReplyMagic)
        message.put(option)
        message.put(type)
        message.put(UInt32(data.count))
        message.put(bytes: data)
        try self.send(message)
    }

    /// The next `count` bytes, still to be consumed.
    private func take(_ count: Int) throws(NBDDrop) -> UnsafeRawBufferPointer {
        try self.check(self.input.fill(count, deadline: self.deadline))
        return self.input.bytes(count)
    }

    private func check(_ status: NBDInput.Status) throws(NBDDrop) {
        switch status {
        case .ready: return
        case .ended: throw NBDDrop(reason: "it left during the handshake")
        case .timedOut: throw NBDDrop(reason: "it did not finish the handshake in time")
        case .failed(let code): throw NBDDrop(reason: "receiving failed during the handshake (errno \(code))")
        }
    }

    private func send(_ message: NBDMessage) throws(NBDDrop) {
        let code = SystemSocket.send(message.bytes, to: self.descriptor)
        guard code == 0 else { throw NBDDrop(reason: "sending failed during the handshake (errno \(code))") }
    }
}

/// Takes big-endian fields off an option's data; nil where it ends early.
struct OptionFields {
    private let data: [UInt8]
    private var position = 0

    init(_ data: [UInt8]) { self.data = data }

    var isAtEnd: Bool { self.position == self.data.count }

    mutating func take<Value: FixedWidthInteger>() -> Value? {
        let size = MemoryLayout<Value>.size
        guard size <= self.data.count - self.position else { return nil }
        defer { self.position += size }
        return self.data.withUnsafeBytes { $0.big(self.position) }
    }

    /// A 32-bit count and that many bytes. (Strings are at most 4096 bytes: doc/proto.md, "Values")
    mutating func text() -> String? {
        guard let count: UInt32 = self.take(), count <= 4096, Int(count) <= self.data.count - self.position else {
            return nil
        }
        defer { self.position += Int(count) }
        return String(decoding: self.data[self.position..<self.position + Int(count)], as: UTF8.self)
    }
}
