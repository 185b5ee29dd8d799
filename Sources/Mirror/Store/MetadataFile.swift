import Basis
import Glibc
import SecureLink

/// The file `NAME.meta`: a header, then two slots that are written in turn, each with its checksum, so that a torn
/// write leaves the other whole. One thread uses it.
final class MetadataFile: @unchecked Sendable {
    private static let page = 4096
    private static let magic: UInt32 = 0x484D_4631

    private let path: String
    private let descriptor: Int32
    private let slotBytes: Int
    private var generation: UInt64

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
        self.generation = generation
    }

    deinit { close(self.descriptor) }

    /// Opens the file, or makes it, which gives the copy a new identity. (Rule V6)
    static func open(path: String, subject: Subject) throws(StoreError) -> (MetadataFile, VolumeMetadata) {
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC)
        if descriptor < 0 {
            guard errno == ENOENT else { throw .failed(doing: "open the metadata", path: path, errno: errno) }
            return try self.create(path: path, subject: subject)
        }
        do {
            return try self.load(descriptor, path: path, subject: subject)
        } catch {
            close(descriptor)
            throw error
        }
    }

    private static func slotBytes(for metadata: VolumeMetadata) -> Int {
        var writer = ByteWriter()
        metadata.encode(into: &writer)
        // Room for sets and covered copies to grow.
        return (writer.bytes.count / self.page + 2) * self.page
    }

    private static func create(path: String, subject: Subject) throws(StoreError) -> (MetadataFile, VolumeMetadata) {
        let random = (try? SecureRandom.bytes(8)) ?? []
        guard random.count == 8 else { throw .failed(doing: "draw an identity for", path: path, errno: EIO) }
        let identity = random.reduce(0) { $0 << 8 | UInt64($1) }
        let metadata = VolumeMetadata(identity: identity, sizeBytes: subject.sizeBytes)
        let temporary = path + ".new"
        let descriptor = Glibc.open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .failed(doing: "make the metadata", path: temporary, errno: errno) }
        let file = MetadataFile(
            path: path, descriptor: descriptor, slotBytes: self.slotBytes(for: metadata), generation: 0)
        var header = ByteWriter()
        header.uint32(self.magic)
        header.uint32(1)
        header.string(subject.volume)
        header.uint32(subject.node.rawValue)
        header.uint64(subject.sizeBytes)
        header.uint32(UInt32(file.slotBytes))
        header.uint32(Checksum.crc32c(header.bytes))
        try file.put(header.bytes, at: 0)
        try file.store(metadata)
        guard rename(temporary, path) == 0 else { throw .failed(doing: "name", path: path, errno: errno) }
        try Self.syncDirectory(of: path)
        return (file, metadata)
    }

    private static func load(
        _ descriptor: Int32, path: String, subject: Subject
    ) throws(StoreError) -> (MetadataFile, VolumeMetadata) {
        var reader = ByteReader(self.get(descriptor, count: self.page, at: 0))
        let header: (subject: Subject, slotBytes: Int)
        do throws(CodecError) {
            guard try reader.uint32() == self.magic, try reader.uint32() == 1 else {
                throw .invalid(field: "metadata header", offset: 0)
            }
            let found = Subject(
                volume: try reader.string(), node: NodeID(try reader.uint32()), sizeBytes: try reader.uint64())
            header = (found, Int(try reader.uint32()))
            let end = reader.offset
            guard try reader.uint32() == Checksum.crc32c(Array(self.get(descriptor, count: end, at: 0))) else {
                throw .invalid(field: "metadata header", offset: 0)
            }
        } catch {
            throw .corrupt(path: path)
        }
        guard header.subject == subject else {
            throw .foreign(path: path, found: "\(header.subject)", wanted: "\(subject)")
        }
        var best: (generation: UInt64, metadata: VolumeMetadata)?
        for slot in 0..<2 {
            let bytes = self.get(descriptor, count: header.slotBytes, at: self.page + slot * header.slotBytes)
            guard let found = self.decode(bytes), found.generation > best?.generation ?? 0 else { continue }
            best = found
        }
        guard let best, best.metadata.marks.regions == Self.regions(subject, best.metadata.regionBytes) else {
            throw .corrupt(path: path)
        }
        let file = MetadataFile(
            path: path, descriptor: descriptor, slotBytes: header.slotBytes, generation: best.generation)
        return (file, best.metadata)
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
        self.generation += 1
        var content = ByteWriter()
        metadata.encode(into: &content)
        var slot = ByteWriter(reserving: content.bytes.count + 16)
        slot.uint32(Self.sum(self.generation, content.bytes))
        slot.uint64(self.generation)
        slot.data(content.bytes)
        precondition(slot.bytes.count <= self.slotBytes, "metadata larger than its slot")
        try self.put(slot.bytes, at: Self.page + Int(self.generation % 2) * self.slotBytes)
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
