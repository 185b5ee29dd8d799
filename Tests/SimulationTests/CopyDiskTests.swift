import Basis
import CopyStorage
import Host
import Mirror
import Testing

@testable import SimulatedDisks

/// The store of a copy over disks that lose power and fail. (Rules V17, V20)
@Suite struct `A copy over disks that fail` {
    private let place = CopyPlace(
        volume: 7, name: "data", node: NodeID(1), sizeBytes: 16 * SimulatedBlocks.blockBytes, backingPath: "/copies/v",
        metadataPath: "/metadata/v.meta")

    private func newDisk() -> (SimulatedDisk, SimulatedBlocks) {
        let blocks = SimulatedBlocks(path: "/copies/v", blocks: 16)
        let disk = SimulatedDisk()
        disk.blocks["/copies/v"] = blocks
        return (disk, blocks)
    }

    /// What the next start finds: the metadata, or why not.
    private func found(_ disk: SimulatedDisk) throws -> (metadata: VolumeMetadata?, mayMake: Bool) {
        switch try CopyStore.open(self.place, on: disk, draw: { 3 }) {
        case .copy(_, let metadata): return (metadata, false)
        case .none(let report):
            guard case .none(_, let mayMake) = report.finding else { return (nil, false) }
            return (nil, mayMake)
        }
    }

    @Test func `power that is lost while metadata is written leaves it as it was, or as it was to be`() throws {
        var random = SeededRandom(seed: 1)
        var kept: Set<UInt64> = []
        for round in 0..<200 {
            let (disk, blocks) = self.newDisk()
            var (store, metadata): (CopyStore<SimulatedDisk>, VolumeMetadata) =
                try CopyStore.make(self.place, on: disk, draw: { 5 })
            // So much that it lies in two sectors, of which either may be written alone.
            metadata.starts = Array(1...64)
            metadata.version = 1
            try store.store(metadata)
            metadata.version = 2
            if round % 2 == 0 { metadata.count += 1 }
            disk.powerFailsAt = disk.operations + 1 + Int(random.below(2))
            #expect(throws: StoreError.self) { try store.store(metadata) }
            blocks.losePower { false }
            disk.crash(random: &random)
            let after = try #require(try self.found(disk).metadata, "round \(round)")
            #expect(after.version == 1 || after.version == 2)
            kept.insert(after.version)
        }
        #expect(kept == [1, 2])
    }

    @Test func `power that is lost while a copy is made leaves none, or a new one`() throws {
        var random = SeededRandom(seed: 2)
        for operation in 1...8 {
            let (disk, blocks) = self.newDisk()
            disk.powerFailsAt = operation
            _ = try? CopyStore.make(self.place, on: disk, draw: { 5 })
            blocks.losePower { false }
            disk.crash(random: &random)
            let after = try self.found(disk)
            #expect(after.metadata != nil || after.mayMake, "power failed at \(operation)")
        }
    }

    @Test func `a copy whose disk failed is no trusted one later, although its label cannot be written`() throws {
        let (disk, blocks) = self.newDisk()
        var (store, metadata): (CopyStore<SimulatedDisk>, VolumeMetadata) =
            try CopyStore.make(self.place, on: disk, draw: { 5 })
        blocks.failure = DiskErrorCode.inputOutput.rawValue
        // Marks were about to be cleared: the label was to count further.
        metadata.count += 1
        #expect(throws: StoreError.self) { try store.store(metadata) }
        metadata.trusted = false
        try? store.store(metadata)
        blocks.failure = 0
        #expect(try self.found(disk).metadata?.trusted != true)
    }

    @Test func `a new copy in what a disk that failed holds is trusted no more than the old one`() throws {
        let (disk, blocks) = self.newDisk()
        var (store, metadata): (CopyStore<SimulatedDisk>, VolumeMetadata) =
            try CopyStore.make(self.place, on: disk, draw: { 5 })
        metadata.trusted = false
        try store.store(metadata)
        // It is renewed, or it lost its label and is made anew.
        try store.renew(draw: { 6 })
        #expect(try self.found(disk).metadata?.identity == 6)
        #expect(try self.found(disk).metadata?.trusted == false)
        let again = try CopyStore.make(self.place, on: disk, draw: { 7 })
        #expect(again.1.identity == 7 && !again.1.trusted)
        // In a file that is a new one nothing is left of that.
        blocks.remove()
        #expect(try CopyStore.make(self.place, on: disk, draw: { 8 }).1.trusted)
    }

    @Test func `metadata that cannot be read is not metadata that is gone`() throws {
        let (disk, _) = self.newDisk()
        _ = try CopyStore.make(self.place, on: disk, draw: { 5 })
        disk.powerFailsAt = disk.operations + 1
        try? disk.synchronizeDirectory("/metadata")
        #expect(throws: StoreError.self) { _ = try self.found(disk) }
        disk.restartProcess()
        #expect(try self.found(disk).metadata != nil)
    }

    @Test func `a sync that failed is not made good by a later one`() {
        let (_, blocks) = self.newDisk()
        blocks.make()
        blocks.set(3, 8)
        blocks.failure = DiskErrorCode.inputOutput.rawValue
        blocks.synced(blocks.content.current)
        blocks.failure = 0
        blocks.set(4, 9)
        blocks.synced(blocks.content.current)
        blocks.losePower { true }
        #expect(blocks.content.current[3] == 0 && blocks.content.current[4] == 9)
    }

    @Test func `what is written over a write whose sync failed is durable once it is synced`() throws {
        for seed in UInt64(1)...40 {
            let disk = SimulatedDisk()
            try disk.createDirectory("/d")
            let file = try disk.create("/d/f")
            try disk.write([1, 2, 3, 4], to: file, at: 0)
            try disk.synchronize(file)
            try disk.synchronizeDirectory("/d")
            try disk.write([5, 5, 5], to: file, at: 0)
            disk.inject(.init(.synchronize, count: 1, code: .inputOutput))
            #expect(throws: DiskError.self) { try disk.synchronize(file) }
            try disk.write([7, 7], to: file, at: 0)
            try disk.synchronize(file)
            #expect(try disk.read("/d/f") == [7, 7, 5, 4])
            var random = SeededRandom(seed: seed)
            disk.crash(random: &random)
            let found = try disk.read("/d/f")
            #expect(found == [7, 7, 5, 4] || found == [7, 7, 3, 4], "\(found)")
        }
    }
}
