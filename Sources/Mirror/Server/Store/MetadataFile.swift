import Basis
import Glibc
import Mirror
import Synchronization

/// The file `NAME.meta`: a header, then two slots that are written in turn, each with its checksum, so that a torn
/// write leaves the other whole. `store` is called by one thread at a time.
final class MetadataFile: Sendable {
    private static let page = 4096
    private static let magic: UInt32 = 0x484D_4631

    private let path: String
    private let descriptor: Int32
    private let slotBytes: Int
    /// Of the newest slot.
    private let generation: Atomic<UInt64>

    /// What the header says: metadata never serves another volume.
    struct Subject: Equatable, CustomStringConvertible {
        var volume: String
        var node: NodeID
        var sizeBytes: UInt64
        var description: String { "volume \(self.volume) of \(self.sizeBytes) bytes on \(self.node)" }
    }

    private init(path: String, descriptor: Int32, slotBytes: Int, generation: UInt64) {
        self.path = path
        self.descriptor = descriptor
        self.slotBytes = slotBytes
        self.generation = Atomic(generation)
    }

    deinit { close(self.descriptor) }

    /// What a file holds.
    struct Loaded {
        let file: MetadataFile
        let metadata: VolumeMetadata
        /// The size of the volume when the file was made.
        let sizeBytes: UInt64
        /// Where the file system of the backing was mounted then.
        let mount: String
    }

    /// Opens the file; nil where there is none, or none that is whole: a copy without metadata is not used.
    static func open(path: String, subject: Subject) throws(StoreError) -> Loaded? {
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC)
        if descriptor < 0 {
            guard errno == ENOENT else { throw .failed(doing: "open the metadata", path: path, errno: errno) }
            return nil
        }
        do throws(StoreError) {
            return try self.load(descriptor, path: path, subject: subject)
        } catch {
            close(descriptor)
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
    static func create(
        path: String, subject: Subject, mount: String, _ metadata: VolumeMetadata
    ) throws(StoreError) -> MetadataFile {
        let temporary = path + ".new"
        let descriptor = Glibc.open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .failed(doing: "make the metadata", path: temporary, errno: errno) }
        let file = MetadataFile(
            path: path, descriptor: descriptor, slotBytes: self.slotBytes(for: metadata), generation: 0)
        var header = ByteWriter()
        header.uint32(self.magic)
        header.uint32(Format.copyMetadata.version)
        header.string(subject.volume)
        header.uint32(subject.node.rawValue)
        header.uint64(subject.sizeBytes)
        header.uint32(UInt32(file.slotBytes))
        header.string(String(decoding: mount.utf8.prefix(2048), as: UTF8.self))
        header.uint32(Checksum.crc32c(header.bytes))
        try file.put(header.bytes, at: 0)
        try file.store(metadata)
        guard rename(temporary, path) == 0 else { throw .failed(doing: "name", path: path, errno: errno) }
        try Self.syncDirectory(of: path)
        return file
    }

    private static func load(_ descriptor: Int32, path: String, subject: Subject) throws(StoreError) -> Loaded {
        var reader = ByteReader(self.get(descriptor, count: self.page, at: 0))
        let header: (subject: Subject, slotBytes: Int, mount: String)
        do throws(CodecError) {
            guard try reader.uint32() == self.magic else { throw .invalid(field: "metadata header", offset: 0) }
            try Format.copyMetadata.check(try reader.uint32())
            let found = Subject(
                volume: try reader.string(), node: NodeID(try reader.uint32()), sizeBytes: try reader.uint64())
            header = (found, Int(try reader.uint32()), try reader.string())
            let end = reader.offset
            guard try reader.uint32() == Checksum.crc32c(Array(self.get(descriptor, count: end, at: 0))) else {
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
            let bytes = self.get(descriptor, count: header.slotBytes, at: self.page + slot * header.slotBytes)
            guard let found = self.decode(bytes), found.generation > best?.generation ?? 0 else { continue }
            best = found
        }
        guard let best, best.metadata.marks.regions == Self.regions(header.subject, best.metadata.regionBytes) else {
            throw .corrupt(path: path)
        }
        let file = MetadataFile(
            path: path, descriptor: descriptor, slotBytes: header.slotBytes, generation: best.generation)
        return Loaded(
            file: file, metadata: best.metadata, sizeBytes: header.subject.sizeBytes, mount: header.mount)
    }

    private static func regions(_ subject: Subject, _ regionBytes: UInt64) -> Int {
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
    func store(_ metadata: VolumeMetadata) throws(StoreError) {
        let generation = self.generation.add(1, ordering: .relaxed).newValue
        var content = ByteWriter()
        metadata.encode(into: &content)
        var slot = ByteWriter(reserving: content.bytes.count + 16)
        slot.uint32(Self.sum(generation, content.bytes))
        slot.uint64(generation)
        slot.data(content.bytes)
        precondition(slot.bytes.count <= self.slotBytes, "metadata larger than its slot")
        try self.put(slot.bytes, at: Self.page + Int(generation % 2) * self.slotBytes)
        guard fdatasync(self.descriptor) == 0 else { throw .failed(doing: "sync", path: self.path, errno: errno) }
    }

    private func put(_ bytes: [UInt8], at offset: Int) throws(StoreError) {
        let code = bytes.withUnsafeBytes { buffer -> Int32 in
            var done = 0
            while done < buffer.count {
                let rest = buffer.baseAddress.map { $0 + done }
                let count = pwrite(self.descriptor, rest, buffer.count - done, offset + done)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return count == 0 ? ENOSPC : errno }
                done += count
            }
            return 0
        }
        guard code == 0 else { throw .failed(doing: "write", path: self.path, errno: code) }
    }

    /// What is there, shorter at the end of the file.
    private static func get(_ descriptor: Int32, count: Int, at offset: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: max(0, min(count, 64 << 20)))
        let got = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, offset) }
        return Array(bytes[..<max(0, got)])
    }

    private static func syncDirectory(of path: String) throws(StoreError) {
        let cut = path.lastIndex(of: "/")
        let directory = cut.map { path[..<$0].isEmpty ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .failed(doing: "open", path: directory, errno: errno) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .failed(doing: "sync", path: directory, errno: errno) }
    }
}
