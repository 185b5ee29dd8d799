import Basis
import Mirror
import Resources

/// What a copy is made of: blocks with a label behind them, and metadata beside them. Faults change the parts separately;
/// whether they belong together is decided by the production's `CopyEvidence`.
struct SimulatedCopy {
    // The backing: what a read shows, and what survives the loss of power.
    var current = [UInt64](repeating: 0, count: SimulatedVolume.blocks)
    var stable = [UInt64](repeating: 0, count: SimulatedVolume.blocks)
    var label: CopyLabel?
    var metadata: VolumeMetadata?

    var content: CopyEvidence.Content {
        if let label { return .labelled(label) }
        return self.stable.allSatisfy { $0 == 0 } ? .blank : .foreign
    }

    /// Stores metadata; the label is written first when it counts further.
    mutating func store(_ metadata: VolumeMetadata, node: NodeID) {
        if self.label?.count != metadata.count || self.label?.identity != metadata.identity {
            self.label = CopyLabel(metadata, node: node)
        }
        self.metadata = metadata
    }
}

/// One volume server: the production core over 4 KiB blocks that each hold one number.
final class SimulatedVolume {
    static let blockBytes: UInt64 = 4096
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
    /// The server runs, but found no copy: why.
    var absence: CopyReport.Finding?
    /// Which start of the server this is; events of an earlier one are void.
    var server: UInt64 = 0
    var exportEpoch: Epoch?
    /// It exports, and what it shows was not judged yet.
    var isUnjudged = false
    var copy = SimulatedCopy()
    /// What the copy was some time ago, for faults that bring it back.
    var older: SimulatedCopy?
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
    }

    /// What the server reports about its copy.
    func report(answering question: UInt64 = 0) -> CopyReport {
        let ready = self.core.map { CopyReport.Finding.ready($0.metadata.copyMark) }
        return CopyReport(
            volume: self.identity, backing: "/v", capacityBytes: .max,
            finding: ready ?? self.absence ?? .none(reason: "/v is missing", mayMake: true), answers: question)
    }

    func start(_ random: inout SeededRandom, believing: Bool) {
        self.server += 1
        self.exportEpoch = nil
        self.requests.removeAll()
        self.completions = Line()
        self.received.removeAll()
        self.dialling = []
        self.pendingMetadata = []
        self.absence = nil
        let evidence = CopyEvidence(
            volume: self.identity, node: self.node, content: self.copy.content, metadata: self.copy.metadata)
        switch evidence.verdict(place: "/v") {
        case .copy(let metadata): self.run(metadata.started(mark: random.next()))
        case .none(_, let mayMake) where believing && mayMake && self.copy.metadata?.volume == self.identity:
            // Sabotage: the metadata is believed, whatever lies in the backing.
            if let metadata = self.copy.metadata { self.run(metadata.started(mark: random.next())) }
        case .none(let reason, let mayMake): self.absence = .none(reason: reason, mayMake: mayMake)
        }
    }

    private func run(_ metadata: VolumeMetadata) {
        self.copy.store(metadata, node: self.node)
        self.core = Volume(
            configuration: .init(node: self.node, peers: self.peers, sizeBytes: Self.sizeBytes), metadata: metadata)
    }

    /// A new copy of what is there. (Rule V20)
    func renew(_ random: inout SeededRandom) {
        let fresh = VolumeMetadata(identity: random.next() | 1, volume: self.identity, sizeBytes: Self.sizeBytes)
        self.copy.store(fresh, node: self.node)
    }

    /// What a completion makes stable.
    func completed(_ input: Volume.Input, _ data: [UInt64]) {
        switch input {
        case .localSynced: self.copy.stable = data
        case .metadataSynced(let token):
            guard let done = self.pendingMetadata.last(where: { $0.token <= token }) else { return }
            self.copy.store(done.metadata, node: self.node)
            self.pendingMetadata.removeAll { $0.token <= token }
        default: return
        }
    }

    /// The server's process ends; what it wrote stays in the page cache.
    func stop() {
        if let last = self.pendingMetadata.last { self.copy.store(last.metadata, node: self.node) }
        self.pendingMetadata = []
        self.core = nil
        self.absence = nil
        self.exportEpoch = nil
    }

    /// The machine loses power: un-synced blocks keep the old or the new content, one by one.
    func losePower(_ random: inout SeededRandom) {
        let pending = self.pendingMetadata
        self.pendingMetadata = []
        self.stop()
        for block in self.copy.current.indices where self.copy.current[block] != self.copy.stable[block] {
            if random.chance(perMille: 500) { self.copy.stable[block] = self.copy.current[block] }
        }
        self.copy.current = self.copy.stable
        // Metadata is written to alternating slots: a write under way is there as a whole or not at all. The label goes
        // before it.
        if let first = pending.first {
            if random.chance(perMille: 500) {
                self.copy.store(first.metadata, node: self.node)
            } else if first.metadata.count % 2 == 0 {
                self.copy.label = CopyLabel(first.metadata, node: self.node)
            }
        }
    }

    /// The server and its copy at one moment. (Rule E4)
    struct Moment {
        fileprivate var identity: UInt64
        fileprivate var core: Volume?
        fileprivate var exportEpoch: Epoch?
        fileprivate var isUnjudged: Bool
        fileprivate var copy: SimulatedCopy
        fileprivate var pendingMetadata: [(token: UInt64, metadata: VolumeMetadata)]
        fileprivate var requests: Numbered<[UInt64]>
        fileprivate var completions: Line<(Volume.Input, [UInt64])>
        fileprivate var received: Numbered<[UInt64]>
        fileprivate var dialling: Set<NodeID>
        fileprivate var peers: [NodeID]
        fileprivate var isWanted: Bool
    }

    var moment: Moment {
        Moment(
            identity: self.identity, core: self.core, exportEpoch: self.exportEpoch, isUnjudged: self.isUnjudged,
            copy: self.copy, pendingMetadata: self.pendingMetadata, requests: self.requests,
            completions: self.completions, received: self.received, dialling: self.dialling, peers: self.peers,
            isWanted: self.isWanted)
    }

    func bringBack(_ moment: Moment) {
        self.identity = moment.identity
        self.core = moment.core
        self.absence = nil
        self.exportEpoch = moment.exportEpoch
        self.isUnjudged = moment.isUnjudged
        self.copy = moment.copy
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
