import Basis
import Cluster

/// What a node asks another one about certificates, in one frame, over a connection that both ends have made for that.
enum CertificateQuestion: Equatable, Sendable {
    /// "hfc" and the digit of the version, as text.
    fileprivate static let mark: UInt32 = 0x3063_6668

    /// Another certificate for the asker, for this request (PEM).
    case certificate(request: String)
    /// The key of the authority with this fingerprint, for a member.
    case authorityKey(CertificateRecord.Fingerprint)

    var encoded: [UInt8] {
        var writer = ByteWriter(reserving: 1024)
        writer.uint32(Self.mark + Format.certificates.version << 24)
        switch self {
        case .certificate(let request):
            writer.uint8(1)
            writer.string(request)
        case .authorityKey(let fingerprint):
            writer.uint8(2)
            writer.data(fingerprint)
        }
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(CodecError) {
        var reader = ByteReader(bytes)
        let (found, overflow) = try reader.uint32().subtractingReportingOverflow(Self.mark)
        guard !overflow, found & 0xFF_FFFF == 0 else {
            throw .invalid(field: "mark of a question about certificates", offset: reader.offset)
        }
        try Format.certificates.check(found >> 24)
        switch try reader.uint8() {
        case 1: self = .certificate(request: try reader.string())
        case 2: self = .authorityKey(try reader.data())
        default: throw .invalid(field: "question about certificates", offset: reader.offset)
        }
        try reader.finish()
    }
}

/// What it is answered, in the version of the question.
enum CertificateAnswer: Equatable, Sendable {
    /// The certificate (PEM).
    case certificate(String)
    /// The key (PEM). Secret.
    case authorityKey(String)
    /// Nothing, for this reason.
    case refused(String)

    var encoded: [UInt8] {
        var writer = ByteWriter(reserving: 2048)
        switch self {
        case .certificate(let text):
            writer.uint8(1)
            writer.string(text)
        case .refused(let reason):
            writer.uint8(2)
            writer.string(reason)
        case .authorityKey(let text):
            writer.uint8(3)
            writer.string(text)
        }
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(CodecError) {
        var reader = ByteReader(bytes)
        switch try reader.uint8() {
        case 1: self = .certificate(try reader.string())
        case 3: self = .authorityKey(try reader.string())
        case 2: self = .refused(ForeignText.line(try reader.string(), limit: 600))
        default: throw .invalid(field: "answer about certificates", offset: reader.offset)
        }
        try reader.finish()
    }
}
