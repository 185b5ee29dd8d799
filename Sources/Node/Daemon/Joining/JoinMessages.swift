import Basis
import Cluster

/// What a machine that wants to join says, in one frame, over a connection that only its token secures. (Rule B1)
struct JoinQuestion: Equatable, Sendable {
    /// "hfj" and the digit of the version, as text. The answer is in the version of the question.
    private static let mark: UInt32 = 0x306A_6668

    /// The secret of its token.
    var secret: [UInt8]
    /// Its certificate request, PEM.
    var request: String
    /// What it tells about itself.
    var about: JoiningNode
    /// What whoever connects to its address is told there.
    var proof: [UInt8]
    /// It takes the place of the lost node of its name. (Rule J3)
    var isReplacement: Bool
    /// The highest feature level that its release can do. (Rule U2)
    var level: FeatureLevel

    /// In a version that who is asked reads.
    func encoded(in version: UInt32) -> [UInt8] {
        var writer = ByteWriter(reserving: 1024)
        writer.uint32(Self.mark + version << 24)
        writer.data(self.secret)
        writer.string(self.request)
        writer.string(self.about.name)
        writer.string(self.about.site)
        writer.string(self.about.address)
        writer.uint8(self.about.role.rawValue)
        writer.data(self.proof)
        writer.bool(self.isReplacement)
        if version > Format.join.oldest { writer.uint32(self.level.rawValue) }
        return writer.bytes
    }

    init(
        secret: [UInt8], request: String, about: JoiningNode, proof: [UInt8], isReplacement: Bool = false,
        level: FeatureLevel = Release.present.level
    ) {
        self.level = level
        self.secret = secret
        self.request = request
        self.about = about
        self.proof = proof
        self.isReplacement = isReplacement
    }

    init(decoding bytes: [UInt8]) throws(CodecError) {
        var reader = ByteReader(bytes)
        let (found, overflow) = try reader.uint32().subtractingReportingOverflow(Self.mark)
        guard !overflow, found & 0xFF_FFFF == 0 else { throw .invalid(field: "join mark", offset: reader.offset) }
        try Format.join.check(found >> 24)
        self.secret = try reader.data()
        self.request = try reader.string()
        self.about = JoiningNode(
            name: ForeignText.line(try reader.string()), site: ForeignText.line(try reader.string()),
            address: ForeignText.line(try reader.string()),
            role: try reader.role())
        self.proof = try reader.data()
        self.isReplacement = try reader.bool()
        // A build from before levels says nothing of them.
        self.level = found >> 24 > Format.join.oldest ? FeatureLevel(try reader.uint32()) : .first
        try reader.finish()
    }
}

/// What it is answered.
enum JoinAnswer: Equatable, Sendable {
    /// Everything that a node needs.
    struct Welcome: Equatable, Sendable {
        var cluster: String
        var clusterID: String
        var node: NodeID
        /// PEM.
        var authority: String
        /// PEM, secret: for a member, which may let others in; empty for who gives no orders.
        var authorityKey = ""
        /// PEM.
        var certificate: String
        var peers: [PeerSpec]
    }
    /// It is a node now.
    case welcome(Welcome)
    /// It is not, for this reason.
    case refused(String)

    var encoded: [UInt8] {
        var writer = ByteWriter(reserving: 4096)
        switch self {
        case .welcome(let welcome):
            writer.uint8(1)
            writer.string(welcome.cluster)
            writer.string(welcome.clusterID)
            writer.uint32(welcome.node.rawValue)
            writer.string(welcome.authority)
            writer.string(welcome.authorityKey)
            writer.string(welcome.certificate)
            writer.list(welcome.peers) { writer, peer in
                writer.uint32(peer.node.rawValue)
                writer.string(peer.name)
                writer.string(peer.address)
            }
        case .refused(let reason):
            writer.uint8(2)
            writer.string(reason)
        }
        return writer.bytes
    }

    init(decoding bytes: [UInt8]) throws(CodecError) {
        var reader = ByteReader(bytes)
        switch try reader.uint8() {
        case 1:
            self = .welcome(
                Welcome(
                    cluster: try reader.string(), clusterID: try reader.string(), node: NodeID(try reader.uint32()),
                    authority: try reader.string(), authorityKey: try reader.string(),
                    certificate: try reader.string(),
                    peers: try reader.list { reader throws(CodecError) in
                        PeerSpec(
                            node: NodeID(try reader.uint32()), name: try reader.string(),
                            address: try reader.string())
                    }))
        case 2: self = .refused(ForeignText.line(try reader.string(), limit: 600))
        default: throw .invalid(field: "join answer", offset: reader.offset)
        }
        try reader.finish()
    }
}
