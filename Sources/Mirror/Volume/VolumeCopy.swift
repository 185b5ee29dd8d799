import Basis

/// The block behind the data of a copy, in the backing itself: what ties the data to the metadata beside it. It travels
/// with the data. (Rule V17)
public struct CopyLabel: Hashable, Sendable {
    /// The volume: a volume that is removed and defined anew is another one.
    public var volume: UInt64
    /// The node that keeps the copy.
    public var node: NodeID
    /// Drawn at random when the copy was made.
    public var identity: UInt64
    /// Equal to the metadata's `count`, or one ahead of it.
    public var count: UInt64

    /// All fields.
    public init(volume: UInt64, node: NodeID, identity: UInt64, count: UInt64) {
        self.volume = volume
        self.node = node
        self.identity = identity
        self.count = count
    }

    /// The label that belongs to this metadata.
    public init(_ metadata: VolumeMetadata, node: NodeID) {
        self.init(volume: metadata.volume, node: node, identity: metadata.identity, count: metadata.count)
    }

    /// Bytes behind the data that the label needs.
    public static let bytes: UInt64 = 4096
}

/// What a copy says about itself, for the log: a copy that does not remember the mark that the log noted is an older one,
/// or another. (Rule V18)
public struct CopyMark: Hashable, Sendable {
    /// Drawn at random when the copy was made; never zero.
    public var identity: UInt64
    /// The marks of its starts since the one that the log noted last, oldest first. Each is drawn at random.
    public var starts: [UInt64]
    /// The highest epoch it has accepted.
    public var epoch: Epoch
    /// The log has noted it at some time: such a copy is never taken for a new one.
    public var isNoted: Bool

    /// All fields.
    public init(identity: UInt64, starts: [UInt64], epoch: Epoch, isNoted: Bool) {
        self.identity = identity
        self.starts = starts
        self.epoch = epoch
        self.isNoted = isNoted
    }

    /// The mark of its present start.
    public var mark: UInt64 { self.starts.last ?? 0 }
}

/// A copy as its server found it, for the daemon.
public struct CopyReport: Hashable, Sendable {
    /// Whether there is a copy.
    public enum Finding: Hashable, Sendable {
        /// Data and metadata belong together.
        case ready(CopyMark)
        /// They do not, or there is none: why. `mayMake` tells that nothing else would be overwritten by a new one.
        case none(reason: String, mayMake: Bool)
    }
    /// The volume that the server serves.
    public var volume: UInt64
    /// The file or device.
    public var backing: String
    /// The largest volume that fits.
    public var capacityBytes: UInt64
    /// What is there.
    public var finding: Finding
    /// The question that it answers; 0 if nobody asked one.
    public var answers: UInt64

    /// All fields.
    public init(volume: UInt64, backing: String, capacityBytes: UInt64, finding: Finding, answers: UInt64 = 0) {
        self.volume = volume
        self.backing = backing
        self.capacityBytes = capacityBytes
        self.finding = finding
        self.answers = answers
    }
}

/// What a server finds where its copy should be, and whether it is the copy. Pure: the real store and the simulated one
/// ask here. (Rules V17, V19)
public struct CopyEvidence: Sendable {
    /// What lies in the backing.
    public enum Content: Hashable, Sendable {
        /// No file, an empty one, or nothing but zeros where a file system or a label would be.
        case blank
        /// The label of a copy.
        case labelled(CopyLabel)
        /// Something without a label.
        case foreign
    }

    /// The volume, as the daemon says.
    public var volume: UInt64
    /// This node.
    public var node: NodeID
    /// What lies in the backing.
    public var content: Content
    /// What lies beside it.
    public var metadata: VolumeMetadata?
    /// Nodes that were given up, whose copies of this volume are taken as they are. (Rule R6)
    public var formerNodes: [NodeID]

    /// All fields.
    public init(
        volume: UInt64, node: NodeID, content: Content, metadata: VolumeMetadata?, formerNodes: [NodeID] = []
    ) {
        self.volume = volume
        self.node = node
        self.content = content
        self.metadata = metadata
        self.formerNodes = formerNodes
    }

    /// The metadata to go on with, or why it is not to be used.
    public enum Verdict: Equatable, Sendable {
        /// Data and metadata belong together.
        case copy(VolumeMetadata)
        /// No copy; see `CopyReport.Finding.none`.
        case none(reason: String, mayMake: Bool)
    }

    /// Judges; `place` names the backing in the reasons.
    public func verdict(place: String) -> Verdict {
        let known = self.metadata.flatMap { $0.volume == self.volume ? $0 : nil }
        switch self.content {
        case .blank:
            guard known != nil else { return .none(reason: "\(place) is empty", mayMake: true) }
            return .none(
                reason: "\(place) is missing or empty, but this node had a copy there: a disk was exchanged, or a file "
                    + "system is not mounted", mayMake: true)
        case .foreign:
            return .none(
                reason: "\(place) holds data that is no copy of this volume, and is not overwritten: name another "
                    + "backing, or remove the file (of a device: `wipefs -a`, and clear its first and last MiB)",
                mayMake: false)
        case .labelled(let label) where label.volume == self.volume && self.formerNodes.contains(label.node):
            // A new copy of what is there: no byte of the data is changed.
            return .none(reason: "\(place) holds the copy of a machine that was given up", mayMake: true)
        case .labelled(let label):
            guard label.volume == self.volume, label.node == self.node else {
                return .none(
                    reason: "\(place) holds a copy of another volume or of another node, and is not overwritten: name "
                        + "another backing, or remove the file (of a device: clear its last MiB)", mayMake: false)
            }
            return self.verdict(label, known, place)
        }
    }

    private func verdict(_ label: CopyLabel, _ known: VolumeMetadata?, _ place: String) -> Verdict {
        guard let known else {
            return .none(
                reason: "\(place) holds a copy whose metadata is gone: what it lacks cannot be known", mayMake: true)
        }
        guard known.identity == label.identity else {
            return .none(reason: "\(place) holds another copy than its metadata describes", mayMake: true)
        }
        if label.count < known.count {
            return .none(reason: "\(place) is older than its metadata: it was put back", mayMake: true)
        }
        // The label is written first: after a crash in between it is one ahead.
        if label.count > known.count + 1 {
            return .none(reason: "the metadata of \(place) is older than the data: it was put back", mayMake: true)
        }
        return .copy(known)
    }
}
