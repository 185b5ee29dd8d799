import Basis
import Host
import Mirror

/// What the header of a metadata file says: metadata never serves another volume.
package struct MetadataSubject: Equatable, Sendable, CustomStringConvertible {
    var volume: String
    var node: NodeID
    var sizeBytes: UInt64

    package init(volume: String, node: NodeID, sizeBytes: UInt64) {
        self.volume = volume
        self.node = node
        self.sizeBytes = sizeBytes
    }

    package var description: String { "volume \(self.volume) of \(self.sizeBytes) bytes on \(self.node)" }
}

/// The file `NAME.meta`: a header, then two slots that are written in turn, each with its checksum, so that a torn
/// write leaves the other whole.
package struct MetadataFile<Storage: Disk>: Sendable {
    private static var page: Int { 4096 }
    private static var magic: UInt32 { 0x484D_4631 }

    private let file: OpenFile
    private let path: String
    private let slotBytes: Int
    private var generation: UInt64

    /// Closes the file when nobody has it any more.
    private final class OpenFile: Sendable {
        let disk: Storage
        let file: DiskFile
        init(_ disk: Storage, _ file: DiskFile) {
            self.disk = disk
            self.file = file
        }
        deinit { self.disk.close(self.file) }
    }

    /// What a file holds.
    package struct Loaded {
        let file: MetadataFile
        package let metadata: VolumeMetadata
        /// The size of the volume when the file was made.
        package let sizeBytes: UInt64
        /// Where the file system of the backing was mounted then.
        package let mount: String
    }

    /// Opens the file; nil where there is none, or none that is whole: a copy without metadata is not used.
    package static func open(
        path: String, on disk: Storage, subject: MetadataSubject
    ) throws(StoreError) -> Loaded? {
        let (bytes, file): ([UInt8], OpenFile)
        do throws(DiskError) {
            bytes = try disk.read(path)
            file = OpenFile(disk, try disk.open(path))
        } catch {
            if error.code == .notFound { return nil }
            throw StoreError(error, doing: "\(error.operation.rawValue) the metadata")
        }
        do throws(StoreError) {
            return try self.load(bytes, file, path: path, subject: subject)
        } catch {
            if case .corrupt = error { return nil }
            throw error
        }
    }

    private static func slotBytes(for metadata: VolumeMetadata) -> Int {
        var writer = ByteWriter()
        metadata.encode(into: &writer)
        // Room for sets, covered copies and starts to grow.
        return (writer.bytes.count / self.page + 2) * self.page
    }

    /// Makes the file, or another one in its place.
    package static func create(
        path: String, on disk: Storage, subject: MetadataSubject, mount: String, _ metadata: VolumeMetadata
    ) throws(StoreError) -> MetadataFile {
        let slotBytes = self.slotBytes(for: metadata)
        var header = ByteWriter()
        header.uint32(self.magic)
        header.uint32(Format.copyMetadata.version)
        header.string(subject.volume)
        header.uint32(subject.node.rawValue)
        header.uint64(subject.sizeBytes)
        header.uint32(UInt32(slotBytes))
        header.string(String(decoding: mount.utf8.prefix(2048), as: UTF8.self))
        header.uint32(Checksum.crc32c(header.bytes))
        let temporary = path + ".new"
        do throws(DiskError) {
            let made = OpenFile(disk, try disk.create(temporary))
            var file = MetadataFile(file: made, path: path, slotBytes: slotBytes, generation: 0)
            try disk.write(header.bytes, to: made.file, at: 0)
            try file.write(metadata)
            try disk.rename(temporary, to: path)
            try disk.synchronizeDirectory(self.directory(of: path))
            return file
        } catch {
            throw StoreError(error, doing: "\(error.operation.rawValue) the metadata")
        }
    }

    private static func load(
        _ bytes: [UInt8], _ file: OpenFile, path: String, subject: MetadataSubject
    ) throws(StoreError) -> Loaded {
        var reader = ByteReader(self.part(of: bytes, count: self.page, at: 0))
        let header: (subject: MetadataSubject, slotBytes: Int, mount: String)
        do throws(CodecError) {
            guard try reader.uint32() == self.magic else { throw .invalid(field: "metadata header", offset: 0) }
            try Format.copyMetadata.check(try reader.uint32())
            let found = MetadataSubject(
                volume: try reader.string(), node: NodeID(try reader.uint32()), sizeBytes: try reader.uint64())
            header = (found, Int(try reader.uint32()), try reader.string())
            let end = reader.offset
            guard try reader.uint32() == Checksum.crc32c(self.part(of: bytes, count: end, at: 0)) else {
                throw .invalid(field: "metadata header", offset: 0)
            }
        } catch {
            if case .foreignVersion(_, let found) = error { throw .foreignVersion(path: path, found: found) }
            throw .corrupt(path: path)
        }
        guard header.subject.volume == subject.volume, header.subject.node == subject.node else {
            throw .foreign(path: path, found: "\(header.subject)", wanted: "\(subject)")
        }
        var best: (generation: UInt64, metadata: VolumeMetadata)?
        for slot in 0..<2 {
            let part = self.part(of: bytes, count: header.slotBytes, at: self.page + slot * header.slotBytes)
            guard let found = self.decode(part), found.generation > best?.generation ?? 0 else { continue }
            best = found
        }
        guard let best, best.metadata.marks.regions == Self.regions(header.subject, best.metadata.regionBytes) else {
            throw .corrupt(path: path)
        }
        return Loaded(
            file: MetadataFile(file: file, path: path, slotBytes: header.slotBytes, generation: best.generation),
            metadata: best.metadata, sizeBytes: header.subject.sizeBytes, mount: header.mount)
    }

    private static func regions(_ subject: MetadataSubject, _ regionBytes: UInt64) -> Int {
        Int((subject.sizeBytes + regionBytes - 1) / regionBytes)
    }

    private static func decode(_ bytes: [UInt8]) -> (generation: UInt64, metadata: VolumeMetadata)? {
        var reader = ByteReader(bytes)
        guard let sum = try? reader.uint32(), let generation = try? reader.uint64(),
            let payload = try? reader.data(), sum == Self.sum(generation, payload)
        else { return nil }
        var content = ByteReader(payload)
        guard let metadata = try? VolumeMetadata.decode(from: &content), content.remaining == 0 else { return nil }
        return (generation, metadata)
    }

    private static func sum(_ generation: UInt64, _ payload: [UInt8]) -> UInt32 {
        var writer = ByteWriter()
        writer.uint64(generation)
        return Checksum.crc32c(payload, seed: Checksum.crc32c(writer.bytes))
    }

    /// Returns once the metadata is on stable storage.
    package mutating func store(_ metadata: VolumeMetadata) throws(StoreError) {
        do throws(DiskError) {
            try self.write(metadata)
        } catch {
            throw .failed(doing: error.operation.rawValue, path: self.path, errno: error.code.rawValue)
        }
    }

    private mutating func write(_ metadata: VolumeMetadata) throws(DiskError) {
        self.generation += 1
        var content = ByteWriter()
        metadata.encode(into: &content)
        var slot = ByteWriter(reserving: content.bytes.count + 16)
        slot.uint32(Self.sum(self.generation, content.bytes))
        slot.uint64(self.generation)
        slot.data(content.bytes)
        precondition(slot.bytes.count <= self.slotBytes, "metadata larger than its slot")
        let disk = self.file.disk
        try disk.write(
            slot.bytes, to: self.file.file, at: UInt64(Self.page + Int(self.generation % 2) * self.slotBytes))
        try disk.synchronize(self.file.file)
    }

    /// What is there, shorter at the end of the file.
    private static func part(of bytes: [UInt8], count: Int, at offset: Int) -> [UInt8] {
        let start = min(max(0, offset), bytes.count)
        return Array(bytes[start..<min(bytes.count, start + max(0, min(count, 64 << 20)))])
    }

    private static func directory(of path: String) -> String {
        let cut = path.lastIndex(of: "/")
        return cut.map { path[..<$0].isEmpty ? "/" : String(path[..<$0]) } ?? "."
    }
}
