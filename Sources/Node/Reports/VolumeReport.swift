/// One volume in `StatusReport`.
public struct VolumeReport: Codable, Equatable, Sendable {
    /// The volume's name.
    public var name: String
    /// The size it has.
    public var sizeBytes: UInt64
    /// The larger size that the configuration asks for; it takes it when it is next opened, once every copy has room.
    public var growsToBytes: UInt64?
    /// The node that exports it.
    public var owner: String?
    /// The epoch it was opened with, as `Epoch` prints it; `0` before the first.
    public var epoch: String
    /// Counts the changes of the in-sync set. (Rule V4)
    public var setVersion: UInt64
    /// How the kernel of its owner has it, when the owner answers: `nbd /dev/nbd0`, or `loop /dev/loop3` over FUSE.
    public var carrier: String?
    /// The copies, in the order of the configuration.
    public var replicas: [ReplicaReport]
    /// Bytes written by clients since its server started.
    public var writtenBytes: UInt64
    /// Bytes sent to the other replicas before compression.
    public var sentBytes: UInt64
    /// The same after compression.
    public var sentCompressedBytes: UInt64
    /// All fields.
    public init(
        name: String, sizeBytes: UInt64, growsToBytes: UInt64? = nil, owner: String? = nil, epoch: String,
        setVersion: UInt64, carrier: String? = nil,
        replicas: [ReplicaReport], writtenBytes: UInt64 = 0, sentBytes: UInt64 = 0, sentCompressedBytes: UInt64 = 0
    ) {
        self.name = name
        self.sizeBytes = sizeBytes
        self.growsToBytes = growsToBytes
        self.owner = owner
        self.epoch = epoch
        self.setVersion = setVersion
        self.carrier = carrier
        self.replicas = replicas
        self.writtenBytes = writtenBytes
        self.sentBytes = sentBytes
        self.sentCompressedBytes = sentCompressedBytes
    }
}

/// One copy of a volume.
public struct ReplicaReport: Codable, Equatable, Sendable {
    /// What the server of a copy is doing.
    public enum Role: String, Codable, Sendable, CaseIterable {
        /// Serves the export.
        case owner
        /// Follows the owner.
        case replica
        /// Owner whose lease ended: answers nobody.
        case frozen
        /// Cannot serve.
        case failed
        /// The answering node has not heard.
        case unknown
    }
    /// The node that holds it.
    public var node: String
    /// It is in the in-sync set: it holds every acknowledged write.
    public var inSync: Bool
    /// Its server is linked with the owner's; true for the owner.
    public var connected: Bool
    /// What its server is doing.
    public var role: Role
    /// Bytes that the dirty map marks.
    public var dirtyBytes: UInt64
    /// Bytes that a running resync has still to look at.
    public var resyncRemainingBytes: UInt64
    /// Bytes that this resync had to look at; zero when none runs.
    public var resyncTotalBytes: UInt64
    /// Why it is not in sync, as a sentence; empty when it is.
    public var reason: String
    /// All fields.
    public init(
        node: String, inSync: Bool, connected: Bool, role: Role, dirtyBytes: UInt64 = 0,
        resyncRemainingBytes: UInt64 = 0, resyncTotalBytes: UInt64 = 0, reason: String = ""
    ) {
        self.node = node
        self.inSync = inSync
        self.connected = connected
        self.role = role
        self.dirtyBytes = dirtyBytes
        self.resyncRemainingBytes = resyncRemainingBytes
        self.resyncTotalBytes = resyncTotalBytes
        self.reason = reason
    }
}
