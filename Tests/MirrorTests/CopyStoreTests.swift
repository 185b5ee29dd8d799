import Basis
import Foundation
import Glibc
import Host
import ScenarioKit
import Testing

@testable import CopyStorage
@testable import Mirror
@testable import VolumeServer

/// Data and metadata of a copy belong together, or it is no copy. (Rules V17, V20)
struct CopyStoreTests {
    private static let size: UInt64 = 1 << 20

    private struct Disk {
        let scratch: ScratchDirectory
        var directory: String { self.scratch.path }
        var place: CopyPlace

        init() throws {
            let scratch = try ScratchDirectory()
            self.scratch = scratch
            self.place = CopyPlace(
                volume: 7, name: "data", node: NodeID(1), sizeBytes: CopyStoreTests.size,
                backingPath: scratch.path + "/data.img", metadataPath: scratch.path + "/data.meta")
        }

        /// Makes a copy with one block written, closes it, and says what its metadata is.
        func make() throws -> VolumeMetadata {
            let (copy, metadata) = try CopyStore.make(self.place, on: RealDisk(), draw: randomIdentity)
            let block = [UInt8](repeating: 9, count: 4096)
            #expect(block.withUnsafeBytes { copy.backing.write(offset: 8192, $0) } == 0)
            copy.backing.release()
            return metadata
        }

        /// What the next start finds: the metadata, or why not.
        func open() throws -> (metadata: VolumeMetadata?, reason: String, mayMake: Bool) {
            switch try CopyStore.open(self.place, on: RealDisk(), draw: randomIdentity) {
            case .copy(let copy, let metadata):
                copy.backing.release()
                return (metadata, "", false)
            case .none(let report):
                guard case .none(let reason, let mayMake) = report.finding else { return (nil, "?", false) }
                return (nil, reason, mayMake)
            }
        }

        func copyFile(_ from: String, _ to: String) throws {
            try? FileManager.default.removeItem(atPath: self.directory + "/" + to)
            try FileManager.default.copyItem(
                atPath: self.directory + "/" + from, toPath: self.directory + "/" + to)
        }
    }

    @Test func `metadata of a newer release is refused by name, and the copy is left as it is`() throws {
        let disk = try Disk()
        _ = try disk.make()
        let path = disk.place.metadataPath
        var bytes = try Data(contentsOf: URL(filePath: path))
        bytes.replaceSubrange(4..<8, with: [3, 0, 0, 0])
        try bytes.write(to: URL(filePath: path))
        let backing = try Data(contentsOf: URL(filePath: disk.place.backingPath))
        let error = #expect(throws: StoreError.self) { _ = try disk.open() }
        #expect(error == .foreignVersion(path: path, found: 3))
        let text = error?.description ?? ""
        for words in [
            path, "version 3 of the copy metadata", "this release reads 2", "install the release that wrote it",
        ] {
            #expect(text.contains(words), "\(text)")
        }
        #expect(try Data(contentsOf: URL(filePath: path)) == bytes)
        #expect(try Data(contentsOf: URL(filePath: disk.place.backingPath)) == backing)
    }

    @Test func `a label of a newer release counts as none, so nobody is served from the copy`() throws {
        let disk = try Disk()
        _ = try disk.make()
        var bytes = try Data(contentsOf: URL(filePath: disk.place.backingPath))
        let label = Int(Self.size)
        bytes[label + 4] = 2
        let sum = Checksum.crc32c(Array(bytes[label..<label + 40]))
        bytes.replaceSubrange(label + 40..<label + 44, with: (0..<4).map { UInt8(truncatingIfNeeded: sum >> (8 * $0)) })
        try bytes.write(to: URL(filePath: disk.place.backingPath))
        let found = try disk.open()
        #expect(found.metadata == nil && !found.reason.isEmpty)
    }

    @Test func `a copy is found again, once more started`() throws {
        let disk = try Disk()
        let made = try disk.make()
        let found = try #require(try disk.open().metadata)
        #expect(found.identity == made.identity && found.count == made.count + 1)
        #expect(found.starts.count == 2 && found.starts.first == made.starts.first)
    }

    @Test func `the label travels with a copy of the file`() throws {
        let disk = try Disk()
        _ = try disk.make()
        try disk.copyFile("data.img", "other.img")
        try disk.copyFile("other.img", "data.img")
        #expect(try disk.open().metadata != nil)
    }

    @Test func `a missing or empty backing of a known copy is no copy`() throws {
        let disk = try Disk()
        _ = try disk.make()
        try FileManager.default.removeItem(atPath: disk.place.backingPath)
        let missing = try disk.open()
        #expect(missing.metadata == nil && missing.mayMake && missing.reason.contains("is missing"))
        #expect(FileManager.default.fileExists(atPath: disk.place.backingPath) == false)
        _ = FileManager.default.createFile(atPath: disk.place.backingPath, contents: nil)
        #expect(try disk.open().metadata == nil)
    }

    @Test func `a copy whose file system is not mounted is not made anew`() throws {
        var disk = try Disk()
        disk.place.backingPath = "/proc/self/nowhere.img"
        let metadata = VolumeMetadata(identity: 3, volume: 7, sizeBytes: Self.size)
        _ = try MetadataFile.create(
            path: disk.place.metadataPath, on: RealDisk(),
            subject: .init(volume: "data", node: NodeID(1), sizeBytes: Self.size), mount: "/srv/copies", metadata)
        let found = try disk.open()
        #expect(found.metadata == nil && !found.mayMake)
        #expect(found.reason.contains("/proc/self/nowhere.img") && found.reason.contains("/srv/copies"))
    }

    @Test func `an older backing and older metadata are told from the copy`() throws {
        let disk = try Disk()
        _ = try disk.make()
        try disk.copyFile("data.img", "old.img")
        try disk.copyFile("data.meta", "old.meta")
        for _ in 0..<2 { _ = try disk.open() }
        try disk.copyFile("data.img", "new.img")
        try disk.copyFile("old.img", "data.img")
        #expect(try disk.open().reason.contains("older than its metadata"))
        try disk.copyFile("new.img", "data.img")
        try disk.copyFile("old.meta", "data.meta")
        #expect(try disk.open().reason.contains("older than the data"))
    }

    @Test func `an exchanged backing is another copy`() throws {
        let disk = try Disk()
        _ = try disk.make()
        var other = try Disk()
        _ = try other.make()
        try FileManager.default.removeItem(atPath: disk.place.backingPath)
        try FileManager.default.copyItem(atPath: other.place.backingPath, toPath: disk.place.backingPath)
        #expect(try disk.open().reason.contains("another copy"))
        // A volume of the same name that was defined anew.
        other.place.volume = 8
        let found = try other.open()
        #expect(found.metadata == nil && !found.mayMake && found.reason.contains("another volume"))
    }

    @Test func `data that is no copy is not overwritten`() throws {
        let disk = try Disk()
        try Data(repeating: 1, count: Int(Self.size)).write(to: URL(fileURLWithPath: disk.place.backingPath))
        let found = try disk.open()
        #expect(found.metadata == nil && !found.mayMake)
    }

    @Test func `a copy grows, what is new is zero, and it does not shrink`() throws {
        var disk = try Disk()
        let made = try disk.make()
        disk.place.sizeBytes = 2 * Self.size
        let grown = try #require(try disk.open().metadata)
        #expect(grown.identity == made.identity && grown.marks.regions == 2 * made.marks.regions)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: disk.place.backingPath))
        #expect(bytes.count == Int(2 * Self.size) + 4096)
        #expect(bytes[8192] == 9)
        #expect(bytes[Int(Self.size)..<Int(2 * Self.size)].allSatisfy { $0 == 0 })
        #expect(try disk.open().metadata != nil)
        disk.place.sizeBytes = Self.size
        #expect(throws: StoreError.self) { try disk.open() }
    }

    @Test func `two servers do not share a backing`() throws {
        let disk = try Disk()
        let (copy, _) = try CopyStore.make(disk.place, on: RealDisk(), draw: randomIdentity)
        #expect(throws: StoreError.inUse(path: disk.place.backingPath)) { try disk.open() }
        #expect(copy.backing.runs(offset: 0, length: Self.size).allSatisfy { $0.isHole })
    }

    @Test func `a renewed copy has another identity`() throws {
        let disk = try Disk()
        let (copy, metadata) = try CopyStore.make(disk.place, on: RealDisk(), draw: randomIdentity)
        try copy.renew(draw: randomIdentity)
        try copy.store(metadata)
        copy.backing.release()
        let found = try #require(try disk.open().metadata)
        #expect(found.identity != metadata.identity && !found.isNoted)
    }
}
