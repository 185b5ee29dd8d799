import Basis
import CopyStorage
import Host
import Mirror
import SecureLink

/// Another replica of the volume and where its server listens.
public struct VolumeServerPeer: Sendable, Equatable {
    /// The node.
    public var node: NodeID
    /// Name or address.
    public var host: String
    /// TCP port.
    public var port: UInt16
    /// Combines all fields.
    public init(node: NodeID, host: String, port: UInt16) {
        self.node = node
        self.host = host
        self.port = port
    }
}

extension VolumeServerPeer {
    /// From `HOST:PORT` or `[HOST]:PORT`; nil when it is neither.
    init?(_ place: PeerPlace) {
        guard let address = HostPort(place.address) else { return nil }
        self.init(node: place.node, host: address.host, port: address.port)
    }
}

/// What a volume server is told on its command line.
public struct VolumeServerOptions: Sendable {
    /// The volume's name; also the name of the NBD export.
    public var volume: VolumeName
    /// Tells this volume from an earlier one of the same name. (Rule V17)
    public var volumeIdentity: UInt64
    /// Its size, a positive multiple of 4096.
    public var sizeBytes: UInt64
    /// This node.
    public var node: NodeID
    /// File or block device with this node's copy, and 4096 bytes more for its label.
    public var backingPath: String
    /// The file for `VolumeMetadata`.
    public var metadataPath: String
    /// Directory that holds the sockets `control` and `nbd`.
    public var runDirectory: String
    /// The node's lease file.
    public var leaseFilePath: String
    /// Where to listen for owners; an empty host means every address.
    public var listenHost: String
    /// TCP port; 0 means any free one.
    public var listenPort: UInt16
    /// The other replicas.
    public var peers: [VolumeServerPeer]
    /// Certificates of this node.
    public var tls: TLSIdentity
    /// A cap for resync in bytes a second; 0 means none.
    public var resyncBytesPerSecond: UInt64
    /// Nodes that were given up, whose copies are taken as they are. (Rule R6)
    public var formerNodes: [NodeID]
    /// All fields.
    public init(
        volume: VolumeName, volumeIdentity: UInt64, sizeBytes: UInt64, node: NodeID, backingPath: String,
        metadataPath: String,
        runDirectory: String, leaseFilePath: String, listenHost: String, listenPort: UInt16,
        peers: [VolumeServerPeer], tls: TLSIdentity, resyncBytesPerSecond: UInt64 = 0, formerNodes: [NodeID] = []
    ) {
        self.formerNodes = formerNodes
        self.volume = volume
        self.volumeIdentity = volumeIdentity
        self.sizeBytes = sizeBytes
        self.node = node
        self.backingPath = backingPath
        self.metadataPath = metadataPath
        self.runDirectory = runDirectory
        self.leaseFilePath = leaseFilePath
        self.listenHost = listenHost
        self.listenPort = listenPort
        self.peers = peers
        self.tls = tls
        self.resyncBytesPerSecond = resyncBytesPerSecond
    }
}

extension VolumeServerOptions {
    /// Where the copy is.
    var place: CopyPlace {
        CopyPlace(
            volume: self.volumeIdentity, name: self.volume.rawValue, node: self.node, sizeBytes: self.sizeBytes,
            backingPath: self.backingPath, metadataPath: self.metadataPath,
            formerNodes: self.formerNodes)
    }
}

/// Names a copy or a start of it; nil when the system gives no random bytes.
func randomIdentity() -> UInt64? {
    (try? SecureRandom.bytes(8))?.reduce(0) { $0 << 8 | UInt64($1) }
}

/// Why a volume server cannot start.
public enum VolumeServerError: Error, CustomStringConvertible {
    /// The size is no positive multiple of 4096.
    case badSize(UInt64)
    /// The copy or its metadata cannot be used.
    case store(StoreError)
    /// Certificates, or the listening address.
    case link(SecureLinkError)
    /// The control socket cannot be made.
    case control(path: String, errno: Int32)
    /// The lease file cannot be mapped.
    case lease(path: String, errno: Int32)

    /// What happened and what to do.
    public var description: String {
        switch self {
        case .badSize(let size): "a volume cannot have \(size) bytes: choose a positive multiple of 4096"
        case .store(let error): error.description
        case .link(let error): error.description
        case .control(let path, let code):
            "cannot listen on \(path) (\(SystemText.error(code))): check that the directory exists and the path is short"
        case .lease(let path, let code):
            "cannot map the lease file \(path) (\(LeasePage.reason(Errno(code)))): check that the run directory exists"
        }
    }
}
