/// The client's half of the fixed newstyle handshake, as a value: it is shown what was received and says what to send.
/// (doc/proto.md, "Fixed newstyle negotiation")
struct NBDClientHandshake {
    /// What the server exports.
    struct Export: Equatable {
        var sizeBytes: UInt64
        var flags: UInt16
    }

    /// What one look at the received bytes came to.
    struct Step: Equatable {
        /// How many of them are used up.
        var consumed: Int
        var reply: [UInt8] = []
        /// The handshake is over.
        var export: Export?
    }

    /// The longest answer to an option that is read. A server that sends more is not one of ours.
    static let answerBytesMax = 16 * 1024
    /// What a volume must offer: without these a promise of the file could not be kept.
    static let neededFlags =
        NBD.Transmission.hasFlags | NBD.Transmission.sendFlush | NBD.Transmission.sendFUA
        | NBD.Transmission.sendWriteZeroes
    private static let greetingBytes = 18
    private static let answerHeaderBytes = 20

    private var isGreeted = false
    private var export: Export?

    /// Takes what one message needs off the front of what was received; nil when there is not enough yet.
    mutating func step(_ received: UnsafeRawBufferPointer) throws(NBDDrop) -> Step? {
        self.isGreeted ? try self.answer(received) : try self.greeting(received)
    }

    private mutating func greeting(_ received: UnsafeRawBufferPointer) throws(NBDDrop) -> Step? {
        guard received.count >= Self.greetingBytes else { return nil }
        guard received.big(0, as: UInt64.self) == NBD.serverMagic, received.big(8, as: UInt64.self) == NBD.optionMagic
        else { throw NBDDrop(reason: "what answers is no NBD server of the newstyle") }
        let flags: UInt16 = received.big(16)
        guard flags & NBD.HandshakeFlag.fixedNewstyle != 0 else {
            throw NBDDrop(reason: "the NBD server knows only the oldest newstyle handshake")
        }
        self.isGreeted = true
        var reply = NBDMessage()
        reply.put(UInt32(flags & (NBD.HandshakeFlag.fixedNewstyle | NBD.HandshakeFlag.noZeroes)))
        reply.put(NBD.optionMagic)
        reply.put(NBD.Option.go)
        reply.put(UInt32(6))
        // The default export, and no information beyond what comes by itself.
        reply.put(UInt32(0))
        reply.put(UInt16(0))
        return Step(consumed: Self.greetingBytes, reply: reply.bytes)
    }

    private mutating func answer(_ received: UnsafeRawBufferPointer) throws(NBDDrop) -> Step? {
        guard received.count >= Self.answerHeaderBytes else { return nil }
        guard received.big(0, as: UInt64.self) == NBD.optionReplyMagic,
            received.big(8, as: UInt32.self) == NBD.Option.go
        else { throw NBDDrop(reason: "the NBD server answered an option that it was not asked about") }
        let type: UInt32 = received.big(12)
        let length = Int(received.big(16, as: UInt32.self))
        guard length <= Self.answerBytesMax else {
            throw NBDDrop(reason: "the NBD server sent \(length) bytes as an answer to an option")
        }
        let consumed = Self.answerHeaderBytes + length
        guard received.count >= consumed else { return nil }
        let data = UnsafeRawBufferPointer(rebasing: received[Self.answerHeaderBytes..<consumed])
        switch type {
        case NBD.Reply.info:
            if data.count == 12, data.big(0, as: UInt16.self) == NBD.Info.export {
                self.export = Export(sizeBytes: data.big(2), flags: data.big(10))
            }
            return Step(consumed: consumed)
        case NBD.Reply.acknowledged:
            guard let export = self.export else { throw NBDDrop(reason: "the NBD server does not say how large it is") }
            guard export.flags & Self.neededFlags == Self.neededFlags,
                export.flags & NBD.Transmission.readOnly == 0
            else { throw NBDDrop(reason: "the export lacks writing, FLUSH, FUA or WRITE_ZEROES: \(export.flags)") }
            return Step(consumed: consumed, export: export)
        default:
            let text = String(decoding: data, as: UTF8.self)
            throw NBDDrop(reason: "the NBD server refuses the export (\(type & 0xFFFF)): \(text)")
        }
    }
}
