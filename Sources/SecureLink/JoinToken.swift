import Basis

/// What an operator carries from an existing node to a new one: where to go, which authority to trust, and a one-time
/// secret.
///
/// Printed as `hf1` and lower-case base32 (RFC 4648 §6) without padding: a double click selects it, case does not
/// matter.
public struct JoinToken: Equatable, Sendable, CustomStringConvertible {
    private static let prefix = "hf\(Format.joinToken.version)"
    private static let alphabet = Array("abcdefghijklmnopqrstuvwxyz234567".utf8)

    /// Where the issuing node listens.
    public let host: String
    /// Its port.
    public let port: UInt16
    /// SHA-256 of the cluster's authority, 32 bytes.
    public let certificateAuthorityFingerprint: [UInt8]
    /// 128 bits, good for one join.
    public let secret: [UInt8]

    /// A token with a fresh secret. The host may have up to 255 bytes.
    public init(host: String, port: UInt16, certificateAuthorityFingerprint: [UInt8]) throws(SecureLinkError) {
        try self.init(
            host: host, port: port, certificateAuthorityFingerprint: certificateAuthorityFingerprint,
            secret: try SecureRandom.bytes(16))
    }

    init(
        host: String, port: UInt16, certificateAuthorityFingerprint: [UInt8], secret: [UInt8]
    ) throws(SecureLinkError) {
        guard (1...255).contains(host.utf8.count), certificateAuthorityFingerprint.count == 32, secret.count == 16
        else {
            throw .invalidToken(reason: "host, fingerprint or secret has an impossible length")
        }
        self.host = host
        self.port = port
        self.certificateAuthorityFingerprint = certificateAuthorityFingerprint
        self.secret = secret
    }

    /// Reads a printed token. White space inside, as from a wrapped line, is ignored.
    public init(_ printed: String) throws(SecureLinkError) {
        let text = printed.lowercased().utf8.filter { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
        let prefix = Array(Self.prefix.utf8)
        guard !text.isEmpty else { throw .invalidToken(reason: "it is empty") }
        guard text.starts(with: prefix) else {
            if text.starts(with: "hf".utf8) { throw .invalidToken(reason: "it comes from another version of Holdfast") }
            throw .invalidToken(reason: "it does not begin with \(Self.prefix)")
        }
        let bytes = try Self.decode(text.dropFirst(prefix.count), before: prefix.count)
        let incomplete = SecureLinkError.invalidToken(reason: "it is incomplete or mistyped")
        guard bytes.count > 4 else { throw incomplete }
        var tail = ByteReader(bytes[(bytes.count - 4)...])
        guard let sum = try? tail.uint32(), Checksum.crc32c(Array(bytes.dropLast(4))) == sum else { throw incomplete }
        var reader = ByteReader(bytes.dropLast(4))
        do {
            let secret = try reader.raw(16)
            let fingerprint = try reader.raw(32)
            let port = try reader.uint16()
            let host = try reader.string()
            try reader.finish()
            try self.init(host: host, port: port, certificateAuthorityFingerprint: fingerprint, secret: secret)
        } catch {
            throw incomplete
        }
    }

    /// The printed form, about 110 characters.
    public var description: String {
        var writer = ByteWriter()
        writer.raw(self.secret)
        writer.raw(self.certificateAuthorityFingerprint)
        writer.uint16(self.port)
        writer.string(self.host)
        writer.uint32(Checksum.crc32c(writer.bytes))
        return Self.prefix + Self.encode(writer.bytes)
    }

    private static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for byte in bytes {
            bits = bits << 8 | UInt32(byte)
            count += 8
            while count >= 5 {
                count -= 5
                text.append(self.alphabet[Int(bits >> UInt32(count)) & 31])
            }
        }
        if count > 0 { text.append(self.alphabet[Int(bits << UInt32(5 - count)) & 31]) }
        return String(decoding: text, as: UTF8.self)
    }

    private static func decode(_ text: ArraySlice<UInt8>, before: Int) throws(SecureLinkError) -> [UInt8] {
        var bytes: [UInt8] = []
        var bits: UInt32 = 0
        var count = 0
        for (position, letter) in text.enumerated() {
            guard let value = self.alphabet.firstIndex(of: letter) else {
                throw .invalidToken(reason: "character \(before + position + 1) cannot be part of one")
            }
            bits = bits << 5 | UInt32(value)
            count += 5
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        guard bits & ((1 << UInt32(count)) - 1) == 0, count < 5 else {
            throw .invalidToken(reason: "it is incomplete or mistyped")
        }
        return bytes
    }
}
