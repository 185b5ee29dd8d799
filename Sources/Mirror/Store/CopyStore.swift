import Basis
import Host
import Mirror

/// One copy: the backing with its label, and the metadata beside it, which are used only together. (Rules V17 to V20)
package final class CopyStore<Storage: BlockDisk>: Sendable {
    /// What was found.
    package enum Found {
        case copy(CopyStore, VolumeMetadata)
        case none(CopyReport)
    }

    package let place: CopyPlace
    package let backing: Storage.Blocks
    private let disk: Storage
    fileprivate struct State: Sendable {
        var file: MetadataFile<Storage>
        /// Of the label.
        var count: UInt64
        var isOver = false
    }
    private let state: Locked<State>

    private init(
        _ place: CopyPlace, _ disk: Storage, _ backing: Storage.Blocks, _ file: MetadataFile<Storage>, count: UInt64
    ) {
        self.place = place
        self.disk = disk
        self.backing = backing
        self.state = Locked(State(file: file, count: count), lendsPriority: false)
    }

    /// Opens the copy, if data and metadata belong together; its start is noted in both before anybody hears of it.
    /// `draw` gives random numbers, or nil when it cannot.
    package static func open(
        _ place: CopyPlace, on disk: Storage, draw: () -> UInt64?
    ) throws(StoreError) -> Found {
        let header = try MetadataFile.open(path: place.metadataPath, on: disk, subject: place.subject)
        guard let backing = try self.openBacking(place, disk, makes: false) else {
            return .none(self.missing(place, disk, header))
        }
        let content = self.content(of: backing, place, header)
        let evidence = CopyEvidence(
            volume: place.volume, node: place.node, content: content, metadata: header?.metadata,
            formerNodes: place.formerNodes)
        switch evidence.verdict(place: place.backingPath) {
        case .none(let reason, let mayMake):
            return .none(
                CopyReport(
                    volume: place.volume, backing: place.backingPath, capacityBytes: backing.capacityBytes,
                    finding: .none(reason: reason, mayMake: mayMake)))
        case .copy(let metadata):
            guard let header else { throw .corrupt(path: place.metadataPath) }
            return try self.start(place, disk, backing, header, metadata, draw)
        }
    }

    private static func start(
        _ place: CopyPlace, _ disk: Storage, _ backing: Storage.Blocks, _ header: MetadataFile<Storage>.Loaded,
        _ metadata: VolumeMetadata, _ draw: () -> UInt64?
    ) throws(StoreError) -> Found {
        var (file, metadata) = (header.file, metadata)
        guard header.sizeBytes <= place.sizeBytes else {
            throw .wrongSize(path: place.backingPath, actual: header.sizeBytes, wanted: place.sizeBytes)
        }
        if header.sizeBytes < place.sizeBytes {
            metadata = try self.grow(place, backing, metadata, from: header.sizeBytes)
            file = try MetadataFile.create(
                path: place.metadataPath, on: disk, subject: place.subject, mount: header.mount, metadata)
        }
        let started = metadata.started(mark: try self.number(draw, place))
        let copy = CopyStore(place, disk, backing, file, count: metadata.count)
        try copy.store(started)
        return .copy(copy, started)
    }

    /// Makes a new copy, or a new one of what is there. (Rule V20)
    package static func make(
        _ place: CopyPlace, on disk: Storage, draw: () -> UInt64?
    ) throws(StoreError) -> (CopyStore, VolumeMetadata) {
        guard let backing = try self.openBacking(place, disk, makes: true) else {
            throw StoreError(DiskError(.open, place.backingPath, .notFound), doing: "open the backing")
        }
        return try self.make(place, disk, in: backing, draw)
    }

    private static func openBacking(
        _ place: CopyPlace, _ disk: Storage, makes: Bool
    ) throws(StoreError) -> Storage.Blocks? {
        do throws(DiskError) {
            return try disk.openBlocks(place.backingPath, makes: makes)
        } catch {
            throw StoreError(error, doing: "\(error.operation.rawValue) the backing")
        }
    }

    private static func make(
        _ place: CopyPlace, _ disk: Storage, in backing: Storage.Blocks, _ draw: () -> UInt64?
    ) throws(StoreError) -> (CopyStore, VolumeMetadata) {
        let isNewFile = backing.isFile && backing.endBytes == 0
        let known = try MetadataFile.open(path: place.metadataPath, on: disk, subject: place.subject)?.metadata
        try backing.makeRoom(for: place.sizeBytes)
        var fresh = VolumeMetadata(
            identity: try self.number(draw, place), volume: place.volume, sizeBytes: place.sizeBytes)
        // After a sync that failed, what is read may never have reached the disk: a new name for it mends nothing.
        if !isNewFile, let known, known.volume == place.volume { fresh.trusted = known.trusted }
        let metadata = fresh.started(mark: try self.number(draw, place))
        try backing.put(CopyLabel(metadata, node: place.node), at: place.sizeBytes)
        let file = try MetadataFile.create(
            path: place.metadataPath, on: disk, subject: place.subject,
            mount: disk.mountPoint(of: place.backingPath), metadata)
        return (CopyStore(place, disk, backing, file, count: metadata.count), metadata)
    }

    /// Forgets what this copy was: it has a new identity from the next start on, and nothing is stored any more.
    package func renew(draw: () -> UInt64?) throws(StoreError) {
        try self.state.withLock { (state) throws(StoreError) in
            state.isOver = true
            _ = try Self.make(self.place, self.disk, in: self.backing, draw)
        }
    }

    /// Makes the metadata durable, and first the label when it counts further.
    package func store(_ metadata: VolumeMetadata) throws(StoreError) {
        try self.state.withLock { (state) throws(StoreError) in
            guard !state.isOver else { return }
            if metadata.count != state.count {
                do throws(StoreError) {
                    try self.backing.put(CopyLabel(metadata, node: self.place.node), at: self.place.sizeBytes)
                } catch {
                    // What says that this disk failed may yet reach the disk of the metadata. It counts further than the
                    // label then, and the two are taken for one copy no more.
                    if !metadata.trusted { try state.file.store(metadata) }
                    throw error
                }
                state.count = metadata.count
            }
            try state.file.store(metadata)
        }
    }

    /// The store at one moment, with its files: for a machine that is taken back to it. (Rule E4)
    package struct Moment {
        fileprivate let place: CopyPlace
        fileprivate let disk: Storage
        fileprivate let backing: Storage.Blocks
        fileprivate let state: State
    }

    /// See `Moment`.
    package var moment: Moment {
        Moment(place: self.place, disk: self.disk, backing: self.backing, state: self.state.withLock { $0 })
    }

    /// Goes on from that moment; what lies on the disk must be what it was then.
    package init(_ moment: Moment) {
        self.place = moment.place
        self.disk = moment.disk
        self.backing = moment.backing
        self.state = Locked(moment.state, lendsPriority: false)
    }

    /// What there is, for the daemon.
    package func report(_ metadata: VolumeMetadata) -> CopyReport {
        CopyReport(
            volume: self.place.volume, backing: self.place.backingPath, capacityBytes: self.backing.capacityBytes,
            finding: .ready(metadata.copyMark))
    }

    // MARK: What is there

    private static func number(_ draw: () -> UInt64?, _ place: CopyPlace) throws(StoreError) -> UInt64 {
        guard let value = draw(), value != 0 else {
            throw StoreError(
                DiskError(.read, place.metadataPath, .inputOutput), doing: "draw an identity for")
        }
        return value
    }

    private static func content(
        of backing: Storage.Blocks, _ place: CopyPlace, _ header: MetadataFile<Storage>.Loaded?
    ) -> CopyEvidence.Content {
        // A copy that is being grown may have its label in either place.
        let label = backing.label(at: place.sizeBytes) ?? header.flatMap { backing.label(at: $0.sizeBytes) }
        if let label { return .labelled(label) }
        return backing.isBlank ? .blank : .foreign
    }

    /// Nothing is at the path. Where a copy was, a file system may not be mounted: then nothing is made in its place.
    private static func missing(
        _ place: CopyPlace, _ disk: Storage, _ header: MetadataFile<Storage>.Loaded?
    ) -> CopyReport {
        let mount = disk.mountPoint(of: place.backingPath)
        var mayMake = !place.backingPath.hasPrefix("/dev/")
        var reason = "\(place.backingPath) is missing"
        if let header, header.metadata.volume == place.volume {
            reason += ", and this node has a copy there"
            if !mount.isEmpty, header.mount != mount {
                mayMake = false
                reason += ": it was in the file system mounted at \(header.mount), which is not mounted; mount it"
            } else if !mayMake {
                reason += ": the device is not there; look at `lsblk`"
            }
        }
        return CopyReport(
            volume: place.volume, backing: place.backingPath, capacityBytes: mayMake ? UInt64(Int64.max) : 0,
            finding: .none(reason: reason, mayMake: mayMake))
    }

    /// More room at the end, all zeros: on every copy, so that nothing needs to be compared.
    private static func grow(
        _ place: CopyPlace, _ backing: Storage.Blocks, _ metadata: VolumeMetadata, from old: UInt64
    ) throws(StoreError) -> VolumeMetadata {
        try backing.makeRoom(for: place.sizeBytes)
        let label = CopyLabel(metadata, node: place.node)
        try backing.put(label, at: place.sizeBytes)
        var code = backing.zero(offset: old, length: place.sizeBytes - old, trim: true)
        if code == 0 { code = backing.sync() }
        guard code == 0 else { throw .failed(doing: "grow", path: place.backingPath, errno: code) }
        return metadata.grown(to: place.sizeBytes)
    }
}
