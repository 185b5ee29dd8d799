import Basis
import Glibc
import Host
import Mirror
import SecureLink

/// One copy: the backing with its label, and the metadata beside it, which are used only together. (Rules V17 to V20)
final class CopyStore: Sendable {
    /// Where a copy is, and of what.
    struct Place: Sendable {
        var volume: UInt64
        var name: String
        var node: NodeID
        var sizeBytes: UInt64
        var backingPath: String
        var metadataPath: String
    }
    /// What was found.
    enum Found {
        case copy(CopyStore, VolumeMetadata)
        case none(CopyReport)
    }

    let place: Place
    let backing: BackingStore
    private struct State {
        let file: MetadataFile
        var count: UInt64
        var isOver = false
    }
    private let state: Locked<State>

    private init(_ place: Place, _ backing: BackingStore, _ file: MetadataFile, count: UInt64) {
        self.place = place
        self.backing = backing
        self.state = Locked(State(file: file, count: count), lendsPriority: false)
    }

    /// Opens the copy, if data and metadata belong together; its start is noted in both before anybody hears of it.
    static func open(_ place: Place) throws(StoreError) -> Found {
        let header = try MetadataFile.open(path: place.metadataPath, subject: Self.subject(place))
        guard let backing = try BackingStore.open(path: place.backingPath, makes: false) else {
            return .none(self.missing(place, header))
        }
        let content = self.content(of: backing, place, header)
        let evidence = CopyEvidence(
            volume: place.volume, node: place.node, content: content, metadata: header?.metadata)
        switch evidence.verdict(place: place.backingPath) {
        case .none(let reason, let mayMake):
            return .none(
                CopyReport(
                    volume: place.volume, backing: place.backingPath, capacityBytes: backing.capacityBytes,
                    finding: .none(reason: reason, mayMake: mayMake)))
        case .copy(let metadata):
            guard let header else { throw .corrupt(path: place.metadataPath) }
            return try self.start(place, backing, header, metadata)
        }
    }

    private static func start(
        _ place: Place, _ backing: BackingStore, _ header: MetadataFile.Loaded, _ metadata: VolumeMetadata
    ) throws(StoreError) -> Found {
        var (file, metadata) = (header.file, metadata)
        guard header.sizeBytes <= place.sizeBytes else {
            throw .wrongSize(path: place.backingPath, actual: header.sizeBytes, wanted: place.sizeBytes)
        }
        if header.sizeBytes < place.sizeBytes {
            metadata = try self.grow(place, backing, metadata, from: header.sizeBytes)
            file = try MetadataFile.create(
                path: place.metadataPath, subject: self.subject(place), mount: header.mount, metadata)
        }
        let started = metadata.started(mark: try self.draw(place))
        let copy = CopyStore(place, backing, file, count: metadata.count)
        try copy.store(started)
        return .copy(copy, started)
    }

    /// Makes a new copy, or a new one of what is there. (Rule V20)
    static func make(_ place: Place) throws(StoreError) -> (CopyStore, VolumeMetadata) {
        guard let backing = try BackingStore.open(path: place.backingPath, makes: true) else {
            throw .failed(doing: "open the backing", path: place.backingPath, errno: ENOENT)
        }
        return try self.make(place, in: backing)
    }

    private static func make(
        _ place: Place, in backing: BackingStore
    ) throws(StoreError) -> (CopyStore, VolumeMetadata) {
        try backing.makeRoom(for: place.sizeBytes)
        let fresh = VolumeMetadata(
            identity: try self.draw(place), volume: place.volume, sizeBytes: place.sizeBytes)
        let metadata = fresh.started(mark: try self.draw(place))
        try backing.put(CopyLabel(metadata, node: place.node), at: place.sizeBytes)
        let file = try MetadataFile.create(
            path: place.metadataPath, subject: self.subject(place),
            mount: BackingStore.mountPoint(of: place.backingPath), metadata)
        return (CopyStore(place, backing, file, count: metadata.count), metadata)
    }

    /// Forgets what this copy was: it has a new identity from the next start on, and nothing is stored any more.
    func renew() throws(StoreError) {
        try self.state.withLock { (state) throws(StoreError) in
            state.isOver = true
            _ = try Self.make(self.place, in: self.backing)
        }
    }

    /// Makes the metadata durable, and first the label when it counts further.
    func store(_ metadata: VolumeMetadata) throws(StoreError) {
        try self.state.withLock { (state) throws(StoreError) in
            guard !state.isOver else { return }
            if metadata.count != state.count {
                try self.backing.put(CopyLabel(metadata, node: self.place.node), at: self.place.sizeBytes)
                state.count = metadata.count
            }
            try state.file.store(metadata)
        }
    }

    /// What there is, for the daemon.
    func report(_ metadata: VolumeMetadata) -> CopyReport {
        CopyReport(
            volume: self.place.volume, backing: self.place.backingPath, capacityBytes: self.backing.capacityBytes,
            finding: .ready(metadata.copyMark))
    }

    // MARK: What is there

    private static func subject(_ place: Place) -> MetadataFile.Subject {
        MetadataFile.Subject(volume: place.name, node: place.node, sizeBytes: place.sizeBytes)
    }

    private static func draw(_ place: Place) throws(StoreError) -> UInt64 {
        let random = (try? SecureRandom.bytes(8)) ?? []
        let value = random.reduce(0) { $0 << 8 | UInt64($1) }
        guard value != 0 else { throw .failed(doing: "draw an identity for", path: place.metadataPath, errno: EIO) }
        return value
    }

    private static func content(
        of backing: BackingStore, _ place: Place, _ header: MetadataFile.Loaded?
    ) -> CopyEvidence.Content {
        // A copy that is being grown may have its label in either place.
        let label = backing.label(at: place.sizeBytes) ?? header.flatMap { backing.label(at: $0.sizeBytes) }
        if let label { return .labelled(label) }
        return backing.isBlank ? .blank : .foreign
    }

    /// Nothing is at the path. Where a copy was, a file system may not be mounted: then nothing is made in its place.
    private static func missing(_ place: Place, _ header: MetadataFile.Loaded?) -> CopyReport {
        let mount = BackingStore.mountPoint(of: place.backingPath)
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
        _ place: Place, _ backing: BackingStore, _ metadata: VolumeMetadata, from old: UInt64
    ) throws(StoreError) -> VolumeMetadata {
        try backing.makeRoom(for: place.sizeBytes)
        let label = CopyLabel(metadata, node: place.node)
        try backing.put(label, at: place.sizeBytes)
        let code = backing.zero(Extent(offset: old, length: place.sizeBytes - old), trim: true)
        guard code == 0, backing.sync() == 0 else {
            throw .failed(doing: "grow", path: place.backingPath, errno: code == 0 ? errno : code)
        }
        return metadata.grown(to: place.sizeBytes)
    }
}
