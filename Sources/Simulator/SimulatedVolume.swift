import Basis
import CopyStorage
import Host
import Mirror
import Resources
import SimulatedDisks

/// One volume server: the production core, and its production store over simulated disks. What decides whether a copy is
/// this node's, whole, and how old, is `CopyStore`.
final class SimulatedVolume {
    static let blockBytes = SimulatedBlocks.blockBytes
    static let sizeBytes: UInt64 = 1 << 20
    static var blocks: Int { Int(self.sizeBytes / self.blockBytes) }

    let name: VolumeName
    /// Numbers the volumes of a run.
    let number: Int
    /// The group that it belongs to, and what of that its clients wait for.
    let group: GroupName
    let service: ResourceName
    let node: NodeID
    /// The nodes of its other replicas.
    var peers: [NodeID]
    /// Its server is to run.
    var isWanted = true
    /// The volume's identity, as the daemon said when it started the server.
    var identity: UInt64 = 0
    /// Nil while the server does not run, or found no copy.
    var core: Volume?
    /// How often it has ended.
    private(set) var ends = 0
    /// The server runs, but found no copy: why.
    var absence: CopyReport.Finding?
    /// Which start of the server this is; events of an earlier one are void.
    var server: UInt64 = 0
    var exportEpoch: Epoch?
    /// It exports, and what it shows was not judged yet.
    var isUnjudged = false
    /// Where the metadata is, and where the blocks are.
    let disk = SimulatedDisk()
    private(set) var copy = SimulatedBlocks(path: "/v", blocks: SimulatedVolume.blocks)
    /// The backing in use, and the one that its server is to have from its next start on.
    var backing: String { self.copy.path }
    var wantedBacking = "/v"
    /// Nil while the server does not run, or found no copy.
    private(set) var store: CopyStore<SimulatedDisk>?
    /// What lay on the disks some time ago, for faults that bring it back.
    var older: DiskMoment?
    /// What lies there is no copy that may be overwritten, until somebody removes it.
    var isToBeCleared = false
    /// What was done to its disks is not undone yet.
    var isToBeMended = false
    var pendingMetadata: [(token: UInt64, metadata: VolumeMetadata)] = []

    // Payloads that the core's shell holds.
    var requests = Numbered<[UInt64]>()
    /// What the device has under way, in the order of the requests.
    var completions = Line<(Volume.Input, [UInt64])>()
    var received = Numbered<[UInt64]>()
    /// The number of the write that is being taken.
    var inputSequence: UInt64?
    /// What is being taken are digests: other data is none, whatever reads it leads to.
    var isTakingSums = false
    var dialling: Set<NodeID> = []
    var busyUntil: UInt64 = 0

    init(name: VolumeName, number: Int, node: NodeID, peers: [NodeID]) {
        self.name = name
        self.number = number
        self.group = number == 0 ? Simulation.group : GroupName("store-\(number)")
        self.service = ResourceName(number == 0 ? "db" : "db-\(number)")
        self.node = node
        self.peers = peers
        self.disk.blocks[self.backing] = self.copy
    }

    /// The next server is to use what it was told; what lies in the other backing stays there.
    func useWantedBacking() {
        guard self.wantedBacking != self.backing else { return }
        let known = self.disk.blocks[self.wantedBacking]
        self.copy = known ?? SimulatedBlocks(path: self.wantedBacking, blocks: Self.blocks)
        self.disk.blocks[self.wantedBacking] = self.copy
        self.older = nil
        self.isToBeCleared = false
    }

    /// Where the copy is, and of what.
    var place: CopyPlace {
        CopyPlace(
            volume: self.identity, name: self.name.rawValue, node: self.node, sizeBytes: Self.sizeBytes,
            backingPath: self.backing, metadataPath: "/metadata/v.meta")
    }

    /// What the server reports about its copy.
    func report(answering question: UInt64 = 0) -> CopyReport {
        let ready = self.core.map { CopyReport.Finding.ready($0.metadata.copyMark) }
        return CopyReport(
            volume: self.identity, backing: self.backing, capacityBytes: .max,
            finding: ready ?? self.absence ?? .none(reason: "\(self.backing) is missing", mayMake: true),
            answers: question)
    }

    /// Starts the server; says why it ended at once, if it did.
    func start(_ random: inout SeededRandom, believing: Bool) -> StoreError? {
        self.server += 1
        self.useWantedBacking()
        self.exportEpoch = nil
        self.requests.removeAll()
        self.completions = Line()
        self.received.removeAll()
        self.dialling = []
        self.pendingMetadata = []
        self.absence = nil
        do throws(StoreError) {
            if believing { try self.believe() }
            switch try CopyStore.open(self.place, on: self.disk, draw: { random.next() }) {
            case .copy(let store, let metadata):
                self.store = store
                self.core = Volume(
                    configuration: .init(node: self.node, peers: self.peers, sizeBytes: Self.sizeBytes),
                    metadata: metadata)
            case .none(let report): self.absence = report.finding
            }
            return nil
        } catch { return error }
    }

    /// Sabotage: the metadata is believed, whatever lies in the backing.
    private func believe() throws(StoreError) {
        let place = self.place
        guard let known = self.storedMetadata, known.volume == place.volume else { return }
        if !self.copy.content.isThere { self.copy.make() }
        try self.copy.makeRoom(for: place.sizeBytes)
        try self.copy.put(CopyLabel(known, node: place.node), at: place.sizeBytes)
    }

    /// A new copy of what is there; why not, if it could not be made. (Rule V20)
    func renew(_ random: inout SeededRandom) -> StoreError? {
        do throws(StoreError) {
            _ = try CopyStore.make(self.place, on: self.disk, draw: { random.next() })
            return nil
        } catch { return error }
    }

    /// What the metadata on the disk says; nil where there is none that is whole.
    var storedMetadata: VolumeMetadata? {
        let place = self.place
        let subject = MetadataSubject(volume: place.name, node: place.node, sizeBytes: place.sizeBytes)
        return (try? MetadataFile.open(path: place.metadataPath, on: self.disk, subject: subject))?.metadata
    }

    /// What a completion makes stable, and what the core hears of it.
    func completed(_ input: Volume.Input, _ data: [UInt64]) -> Volume.Input {
        switch input {
        case .localWritten:
            if self.copy.failure != 0 { return .localFailed(reason: "cannot write") }
        case .localSynced:
            self.copy.synced(data)
            if self.copy.failure != 0 { return .localFailed(reason: "cannot sync") }
        case .metadataSynced(let token):
            guard let done = self.pendingMetadata.last(where: { $0.token <= token }) else { return input }
            self.pendingMetadata.removeAll { $0.token <= token }
            do throws(StoreError) { try self.store?.store(done.metadata) } catch {
                return .localFailed(reason: "\(error)")
            }
        default: break
        }
        return input
    }

    /// The server's process ends; what it wrote stays in the page cache.
    func stop() {
        if let last = self.pendingMetadata.last { try? self.store?.store(last.metadata) }
        self.end()
    }

    private func end() {
        self.ends += 1
        self.pendingMetadata = []
        self.store = nil
        self.core = nil
        self.absence = nil
        self.exportEpoch = nil
    }

    /// The machine loses power, perhaps while metadata is being written.
    func losePower(_ random: inout SeededRandom) {
        if let first = self.pendingMetadata.first, random.chance(perMille: 700) {
            self.disk.powerFailsAt = self.disk.operations + 1 + Int(random.below(3))
            try? self.store?.store(first.metadata)
        }
        self.end()
        self.copy.losePower { random.chance(perMille: 500) }
        self.disk.crash(random: &random)
    }

    /// What lies on the disks.
    struct DiskMoment {
        var metadata: SimulatedDisk.Moment
        var content: SimulatedBlocks.Content
        var backing: String
        /// What lies in backings that it had before.
        var others: [(SimulatedBlocks, SimulatedBlocks.Content)]
        /// What the metadata said then, where somebody looked.
        var said: VolumeMetadata?
    }

    /// The blocks are again what they were some time ago.
    func bringBackContent() {
        if let older { self.copy.content = older.content }
    }

    /// The metadata is again what it was some time ago; nothing has it open.
    func bringBackMetadata() {
        guard let older else { return }
        self.disk.bringBack(older.metadata)
        self.disk.restartProcess()
    }

    /// A snapshot of the disks: what was not synced is not in it.
    var image: DiskMoment {
        var image = self.diskMoment
        image.content.current = image.content.stable
        image.said = self.storedMetadata
        return image
    }

    var diskMoment: DiskMoment {
        let others = self.disk.blocks.count == 1 ? [] : self.disk.blocks.values.filter { $0 !== self.copy }
        return DiskMoment(
            metadata: self.disk.moment, content: self.copy.content, backing: self.backing,
            others: others.map { ($0, $0.content) })
    }

    /// The server and its copy at one moment. (Rule E4)
    struct Moment {
        fileprivate var identity: UInt64
        fileprivate var core: Volume?
        fileprivate var exportEpoch: Epoch?
        fileprivate var isUnjudged: Bool
        fileprivate var disks: DiskMoment
        fileprivate var store: CopyStore<SimulatedDisk>.Moment?
        fileprivate var pendingMetadata: [(token: UInt64, metadata: VolumeMetadata)]
        fileprivate var requests: Numbered<[UInt64]>
        fileprivate var completions: Line<(Volume.Input, [UInt64])>
        fileprivate var received: Numbered<[UInt64]>
        fileprivate var dialling: Set<NodeID>
        fileprivate var peers: [NodeID]
        fileprivate var isWanted: Bool
        /// What was done to its disks was not undone then.
        let isToBeMended: Bool
    }

    var moment: Moment {
        Moment(
            identity: self.identity, core: self.core, exportEpoch: self.exportEpoch, isUnjudged: self.isUnjudged,
            disks: self.diskMoment, store: self.store?.moment, pendingMetadata: self.pendingMetadata,
            requests: self.requests, completions: self.completions, received: self.received, dialling: self.dialling,
            peers: self.peers, isWanted: self.isWanted, isToBeMended: self.isToBeMended)
    }

    func bringBack(_ moment: Moment) {
        self.identity = moment.identity
        self.core = moment.core
        self.absence = nil
        self.exportEpoch = moment.exportEpoch
        self.isUnjudged = moment.isUnjudged
        // The store closes its files when it goes: before the disk is what it was.
        self.store = nil
        self.disk.bringBack(moment.disks.metadata)
        self.wantedBacking = moment.disks.backing
        self.useWantedBacking()
        // What came since was not there then.
        if self.disk.blocks.count > 1 { for blocks in self.disk.blocks.values { blocks.remove() } }
        for (blocks, content) in moment.disks.others { blocks.content = content }
        self.copy.content = moment.disks.content
        self.store = moment.store.map { CopyStore($0) }
        self.pendingMetadata = moment.pendingMetadata
        self.requests = moment.requests
        self.completions = moment.completions
        self.received = moment.received
        self.inputSequence = nil
        self.dialling = moment.dialling
        self.peers = moment.peers
        self.isWanted = moment.isWanted
    }

    static func range(of extent: Extent) -> Range<Int> {
        Int(extent.offset / Self.blockBytes)..<Int((extent.end + Self.blockBytes - 1) / Self.blockBytes)
    }
}
