import Basis
import Mirror

/// One volume server: the production core over 4 KiB blocks that each hold one number.
final class SimulatedVolume {
    static let blockBytes: UInt64 = 4096
    static let sizeBytes: UInt64 = 1 << 20
    static var blocks: Int { Int(self.sizeBytes / self.blockBytes) }

    let name: VolumeName
    let node: NodeID
    let peers: [NodeID]
    /// Nil while the server does not run.
    var core: Volume?
    /// Which start of the server this is; events of an earlier one are void.
    var server: UInt64 = 0
    var exportEpoch: Epoch?

    // The backing: what a read shows, and what survives the loss of power.
    var current = [UInt64](repeating: 0, count: SimulatedVolume.blocks)
    var stable = [UInt64](repeating: 0, count: SimulatedVolume.blocks)
    var metadata: VolumeMetadata
    var pendingMetadata: [(token: UInt64, metadata: VolumeMetadata)] = []

    // Payloads that the core's shell holds.
    var requests = Numbered<[UInt64]>()
    /// What the device has under way, in the order of the requests.
    var completions = Line<(Volume.Input, [UInt64])>()
    var received = Numbered<[UInt64]>()
    var dialling: Set<NodeID> = []
    var busyUntil: UInt64 = 0

    init(name: VolumeName, node: NodeID, peers: [NodeID], identity: UInt64) {
        self.name = name
        self.node = node
        self.peers = peers
        self.metadata = VolumeMetadata(identity: identity, sizeBytes: Self.sizeBytes)
    }

    func start() {
        self.metadata = self.metadata.started()
        self.server += 1
        self.core = Volume(
            configuration: .init(node: self.node, peers: self.peers, sizeBytes: Self.sizeBytes),
            metadata: self.metadata)
        self.exportEpoch = nil
        self.requests.removeAll()
        self.completions = Line()
        self.received.removeAll()
        self.dialling = []
        self.pendingMetadata = []
    }

    /// What a completion makes stable.
    func completed(_ input: Volume.Input, _ data: [UInt64]) {
        switch input {
        case .localSynced: self.stable = data
        case .metadataSynced(let token):
            guard let done = self.pendingMetadata.last(where: { $0.token <= token }) else { return }
            self.metadata = done.metadata
            self.pendingMetadata.removeAll { $0.token <= token }
        default: return
        }
    }

    /// The server's process ends; what it wrote stays in the page cache.
    func stop() {
        if let last = self.pendingMetadata.last { self.metadata = last.metadata }
        self.pendingMetadata = []
        self.core = nil
        self.exportEpoch = nil
    }

    /// The machine loses power: un-synced blocks keep the old or the new content, one by one.
    func losePower(_ random: inout SeededRandom) {
        self.stop()
        for block in self.current.indices where self.current[block] != self.stable[block] {
            if random.chance(perMille: 500) { self.stable[block] = self.current[block] }
        }
        self.current = self.stable
        // Metadata is written to alternating slots: a write under way is there as a whole or not at all.
        if let pending = self.pendingMetadata.first, random.chance(perMille: 500) { self.metadata = pending.metadata }
        self.pendingMetadata = []
    }

    static func range(of extent: Extent) -> Range<Int> {
        Int(extent.offset / Self.blockBytes)..<Int((extent.end + Self.blockBytes - 1) / Self.blockBytes)
    }
}
