import Basis

/// What the daemon tells a volume server over its control socket.
public enum VolumeCommand: Equatable, Sendable {
    /// Become the owner: raise the epoch durably, then export. `inSync` is the set as the log has it after this
    /// promotion; `version` counts its changes. `reconciling` were in the set of the epoch before: those that can be
    /// reached are made equal, and the log is asked to take them back, before the export. `copy` is the copy that the log
    /// knows here: any other is refused; nil only in tests of other rules. Repeating it with the same epoch is harmless.
    /// (Rules V1, V2, V7, V18)
    case open(
        epoch: Epoch, incarnation: Incarnation, inSync: [NodeID], version: UInt64, reconciling: [NodeID] = [],
        copy: KnownCopy? = nil)
    /// The log's in-sync set changed (applied and accepted). Ignored unless `epoch` is the server's. (Rule V4)
    case inSyncChanged(epoch: Epoch, inSync: [NodeID], version: UInt64)
    /// Flush, drop the export, stop being owner; answered by `closed`.
    case close(epoch: Epoch)
    /// Answer no client any more, but keep its requests. Reverted only by `thaw`. (Rule L12)
    case freeze
    /// Resume; refused unless incarnation and epoch are those of the `open`. (Rule L15)
    case thaw(incarnation: Incarnation, epoch: Epoch)
    /// The lease is gone for good: fail what is held, drop the export, stop being owner without a flush.
    case detach
    /// Compare every block with the owner again (on a replica) or with every replica (on the owner).
    case resyncAll
    /// Report `status` and `copy` now; the copy's report names `question`, so that a report from before is told from the
    /// answer.
    case report(question: UInt64 = 0)
    /// Make a new copy, or forget what this one was, with a new identity: the log knows no copy here. Refused by an owner.
    /// (Rule V20)
    case makeCopy
    /// The log has noted this mark: the copy need not remember older ones. (Rule V18)
    case noted(mark: UInt64)
    /// The log has ended every epoch below this one: nothing is taken under them any more, by whoever still holds on to one,
    /// also after a restart. (Rule V1.1)
    case over(below: Epoch)
    /// The daemon has learned that this machine was taken back to an earlier moment with its memory. (Rule E4.2)
    case takenBack
    /// The other replicas and where they listen, `HOST:PORT`: links to those that moved are made anew.
    case peers([PeerPlace])
}

/// A copy as the log knows it.
public struct KnownCopy: Hashable, Sendable {
    /// Its identity.
    public var identity: UInt64
    /// The mark that the log noted last.
    public var mark: UInt64
    /// An epoch that it surely has accepted.
    public var epoch: Epoch
    /// All fields.
    public init(identity: UInt64, mark: UInt64, epoch: Epoch) {
        self.identity = identity
        self.mark = mark
        self.epoch = epoch
    }
}

/// Where another replica listens.
public struct PeerPlace: Hashable, Sendable {
    /// Its node.
    public var node: NodeID
    /// `HOST:PORT`.
    public var address: String
    /// Both fields.
    public init(node: NodeID, address: String) {
        self.node = node
        self.address = address
    }
}

/// What a volume server tells the daemon.
public enum VolumeEvent: Equatable, Sendable {
    /// The export is ready under this epoch.
    case opened(epoch: Epoch)
    /// Flushed and closed: no client can write under this epoch any more.
    case closed(epoch: Epoch)
    /// A waited-for replica does not answer: ask the log for `leaves`. Repeated until the set changes. (Rule V3)
    case wantsLeave(epoch: Epoch, version: UInt64, replica: NodeID)
    /// A replica has every block, synced: ask the log for `joins`. `copy` is its identity. Repeated until the set changes.
    /// (Rules V3, V5, V18)
    case wantsJoin(epoch: Epoch, version: UInt64, replica: NodeID, copy: UInt64)
    /// Every replica of `inSync` has every block, synced, and no client was served yet: ask the log for `opens`. Repeated
    /// until the set changes or the export begins. (Rule V7)
    case wantsOpen(epoch: Epoch, version: UInt64, inSync: [ReplicaIdentity])
    /// A replica of the last set is ahead of this copy, and no client was served under this epoch: ask the log for
    /// `yields`. (Rule V19)
    case outdated(epoch: Epoch, version: UInt64, reason: String)
    /// What lies where its copy should be; sent on `report`.
    case copy(CopyReport)
    /// The copy is an older one than it was, and the log is to let it go: its server is to be asked for it anew. (Rule E4.2)
    case takenBack(reason: String)
    /// A line for the log.
    case note(String)
    /// It cannot go on: the reason, and what the operator can do.
    case failed(reason: String)
    /// How it stands; sent on `report` and about once a second while something changes.
    case status(VolumeStatus)
}

/// How one replica of a volume stands, as its server sees it.
public struct VolumeStatus: Equatable, Sendable {
    /// What the server is doing with its copy.
    public enum Role: String, Sendable {
        /// Follows whichever owner connects with an epoch at least its own.
        case replica
        /// The same, and lacks writes: no owner has made its copy equal as a whole since its disk failed, or it was put back.
        case incomplete
        /// Serves the export.
        case owner
        /// Owner whose lease ended: answers nobody.
        case frozen
        /// Cannot serve.
        case failed
    }
    /// One connection to another replica, as the owner sees it.
    public struct Peer: Equatable, Sendable {
        /// The other node.
        public var node: NodeID
        /// The link is up.
        public var connected: Bool
        /// Writes wait for it.
        public var inSync: Bool
        /// Bytes that resync has still to look at.
        public var resyncRemainingBytes: UInt64
        /// Bytes that this resync had to look at when it began; zero when none is running.
        public var resyncTotalBytes: UInt64
        /// All fields.
        public init(
            node: NodeID, connected: Bool, inSync: Bool, resyncRemainingBytes: UInt64, resyncTotalBytes: UInt64
        ) {
            self.node = node
            self.connected = connected
            self.inSync = inSync
            self.resyncRemainingBytes = resyncRemainingBytes
            self.resyncTotalBytes = resyncTotalBytes
        }
    }
    /// What the server is doing.
    public var role: Role
    /// The highest epoch it has durably accepted.
    public var epoch: Epoch
    /// Bytes that its own persistent dirty map marks.
    public var dirtyBytes: UInt64
    /// Totals since the server started, for `volume status`: written by clients, sent to peers before and after
    /// compression.
    public var writtenBytes: UInt64
    /// Payload handed to links.
    public var sentBytes: UInt64
    /// The same after compression.
    public var sentCompressedBytes: UInt64
    /// The other replicas; empty unless owner.
    public var peers: [Peer]
    /// All fields.
    public init(
        role: Role, epoch: Epoch, dirtyBytes: UInt64, writtenBytes: UInt64 = 0, sentBytes: UInt64 = 0,
        sentCompressedBytes: UInt64 = 0, peers: [Peer] = []
    ) {
        self.role = role
        self.epoch = epoch
        self.dirtyBytes = dirtyBytes
        self.writtenBytes = writtenBytes
        self.sentBytes = sentBytes
        self.sentCompressedBytes = sentCompressedBytes
        self.peers = peers
    }
}
