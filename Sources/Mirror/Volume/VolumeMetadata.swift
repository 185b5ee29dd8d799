import Basis

/// A copy of a volume as its metadata names it: a replaced disk on the same node has another identity.
public struct ReplicaIdentity: Hashable, Sendable {
    /// The node that holds the copy.
    public var node: NodeID
    /// Drawn at random when the copy's metadata was created.
    public var identity: UInt64
    /// Combines both.
    public init(node: NodeID, identity: UInt64) {
        self.node = node
        self.identity = identity
    }
}

/// What one replica must remember across restarts.
public struct VolumeMetadata: Hashable, Sendable {
    /// The volume that it is a copy of; another one after the volume was removed and defined anew.
    public var volume: UInt64
    /// Drawn at random when the copy was created.
    public var identity: UInt64
    /// Raised at each start, each epoch, and before marks are cleared; goes into the label in the backing first, so that
    /// data and metadata of different ages do not pass for one. (Rule V17)
    public var count: UInt64
    /// The marks of its starts since the one that the log noted last, oldest first. (Rule V18)
    public var starts: [UInt64]
    /// The log has noted the first of `starts`, or one before it.
    public var isNoted: Bool
    /// The turn of marks that this copy noted last, and the last one whose marks it cleared: marks are cleared only after
    /// every copy has noted the turn, so that an older copy is known by what it has not noted. (Rule V19)
    public var notedTurn: UInt64
    /// See `notedTurn`.
    public var clearedTurn: UInt64
    /// Raised at each start: an acknowledgement of an earlier instance is void. (Rule V6)
    public var instance: UInt64
    /// The highest epoch accepted; synced before it is used. (Rule V1)
    public var epoch: Epoch
    /// The incarnation that opened `epoch` on this node; `none` where this node followed.
    public var incarnation: Incarnation
    /// The in-sync set as last told by the daemon, sorted, and the count of its changes.
    public var inSync: [NodeID]
    /// Goes with `inSync`.
    public var version: UInt64
    /// Bytes per region of `marks`.
    public var regionBytes: UInt64
    /// Regions in which this copy may differ from another of `covered`. (Rules V6, V7)
    public var marks: DirtyMap
    /// The copies for which `marks` is complete: a write of this copy outside `marks` is stable on each of them. Any
    /// other copy is compared as a whole.
    public var covered: [ReplicaIdentity]
    /// False after a failed write or sync: what the disk holds is unknown, and equal checksums prove nothing.
    public var trusted: Bool

    /// The metadata of a copy that was never used. `identity` must be random.
    public init(identity: UInt64, volume: UInt64 = 0, sizeBytes: UInt64, regionBytes: UInt64? = nil) {
        self.volume = volume
        self.identity = identity
        self.count = 0
        self.starts = []
        self.isNoted = false
        self.notedTurn = 0
        self.clearedTurn = 0
        self.instance = 0
        self.epoch = .none
        self.incarnation = .none
        self.inSync = []
        self.version = 0
        self.regionBytes = regionBytes ?? Self.regionBytes(for: sizeBytes)
        self.marks = DirtyMap(regions: Int((sizeBytes + self.regionBytes - 1) / self.regionBytes))
        self.covered = []
        self.trusted = true
    }

    /// More starts than this without a word of the log, and the older ones are forgotten.
    static let startsMaximum = 64

    /// The metadata to store, durably, before a `Volume` is made from it. `mark` must be random. (Rules V6, V18)
    public func started(mark: UInt64) -> VolumeMetadata {
        var next = self
        next.instance += 1
        next.count += 1
        next.starts.append(mark)
        // The oldest is the one that the log noted.
        if next.starts.count > Self.startsMaximum { next.starts.remove(at: 1) }
        return next
    }

    /// What the log needs to know this copy again. (Rule V18)
    public var copyMark: CopyMark {
        CopyMark(identity: self.identity, starts: self.starts, epoch: self.epoch, isNoted: self.isNoted)
    }

    /// The same copy, grown: what is new is zero on every copy, and needs no mark.
    public func grown(to sizeBytes: UInt64) -> VolumeMetadata {
        var next = self
        next.marks.grow(to: Int((sizeBytes + self.regionBytes - 1) / self.regionBytes))
        return next
    }

    /// 64 KiB up to 1 GiB, then larger up to 1 MiB, so that the map stays small.
    public static func regionBytes(for sizeBytes: UInt64) -> UInt64 {
        var region: UInt64 = 64 << 10
        while region < 1 << 20, region * 16384 < sizeBytes { region *= 2 }
        return region
    }

    /// Appends all fields; `decode` is its inverse.
    public func encode(into writer: inout ByteWriter) {
        writer.uint64(self.volume)
        writer.uint64(self.identity)
        writer.uint64(self.count)
        writer.list(self.starts) { $0.uint64($1) }
        writer.bool(self.isNoted)
        writer.uint64(self.notedTurn)
        writer.uint64(self.clearedTurn)
        writer.uint64(self.instance)
        writer.epoch(self.epoch)
        writer.uint64(self.incarnation.rawValue)
        writer.nodes(self.inSync)
        writer.uint64(self.version)
        writer.uint64(self.regionBytes)
        self.marks.encode(into: &writer)
        writer.replicas(self.covered)
        writer.bool(self.trusted)
    }

    /// Takes all fields.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> VolumeMetadata {
        let volume = try reader.uint64()
        var metadata = VolumeMetadata(identity: try reader.uint64(), volume: volume, sizeBytes: 0)
        metadata.count = try reader.uint64()
        metadata.starts = try reader.list { (reader) throws(CodecError) in try reader.uint64() }
        metadata.isNoted = try reader.bool()
        metadata.notedTurn = try reader.uint64()
        metadata.clearedTurn = try reader.uint64()
        metadata.instance = try reader.uint64()
        metadata.epoch = try reader.epoch()
        metadata.incarnation = Incarnation(try reader.uint64())
        metadata.inSync = try reader.nodes()
        metadata.version = try reader.uint64()
        metadata.regionBytes = try reader.uint64()
        metadata.marks = try DirtyMap.decode(from: &reader)
        metadata.covered = try reader.replicas()
        metadata.trusted = try reader.bool()
        guard metadata.regionBytes >= 4096 else {
            throw .invalid(field: "region size", offset: reader.offset)
        }
        return metadata
    }
}

extension ByteWriter {
    package mutating func replicas(_ values: [ReplicaIdentity]) {
        self.list(values) { writer, value in
            writer.uint32(value.node.rawValue)
            writer.uint64(value.identity)
        }
    }
}

extension ByteReader {
    package mutating func replicas() throws(CodecError) -> [ReplicaIdentity] {
        try self.list { reader throws(CodecError) in
            ReplicaIdentity(node: NodeID(try reader.uint32()), identity: try reader.uint64())
        }
    }
}
