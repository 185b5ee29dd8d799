import Basis
import Host
import Mirror

private let labelMagic: UInt32 = 0x4C43_4648
private let probedBytes: UInt64 = 1 << 20

/// The label behind the data: 4096 bytes, of which the first 48 count.
///
///     0 magic (32 bits), version (32) · 8 volume (64) · 16 node (32), 0 (32) · 24 identity (64) · 32 count (64)
///     40 CRC32C of bytes 0 to 39 (32)
extension BlockFile {
    /// The largest volume that fits, with its label behind it. A file grows.
    var capacityBytes: UInt64 {
        if self.isFile { return UInt64(Int64.max) }
        let end = self.endBytes
        return end < CopyLabel.bytes ? 0 : (end - CopyLabel.bytes) / 4096 * 4096
    }

    /// Gives a file the size for a volume of so many bytes; a device must have it.
    package func makeRoom(for sizeBytes: UInt64) throws(StoreError) {
        let wanted = sizeBytes + CopyLabel.bytes
        let end = self.endBytes
        guard end != wanted else { return }
        guard self.isFile else {
            if end > wanted { return }
            throw .wrongSize(path: self.path, actual: end, wanted: wanted)
        }
        let code = self.resize(to: wanted)
        guard code == 0 else { throw .failed(doing: "size", path: self.path, errno: code) }
    }

    /// The label at this offset, if there is one.
    package func label(at offset: UInt64) -> CopyLabel? {
        guard self.endBytes >= offset + CopyLabel.bytes else { return nil }
        var bytes = [UInt8](repeating: 0, count: 44)
        guard bytes.withUnsafeMutableBytes({ self.read(offset: offset, into: $0) }) == 0 else { return nil }
        var reader = ByteReader(bytes)
        guard (try? reader.uint32()) == labelMagic, (try? reader.uint32()) == Format.copyLabel.version,
            let volume = try? reader.uint64(), let node = try? reader.uint32(), (try? reader.uint32()) != nil,
            let identity = try? reader.uint64(),
            let count = try? reader.uint64(), (try? reader.uint32()) == Checksum.crc32c(Array(bytes[..<40]))
        else { return nil }
        return CopyLabel(volume: volume, node: NodeID(node), identity: identity, count: count)
    }

    /// Writes the label durably, and nothing else.
    package func put(_ label: CopyLabel, at offset: UInt64) throws(StoreError) {
        var writer = ByteWriter(reserving: 4096)
        writer.uint32(labelMagic)
        writer.uint32(Format.copyLabel.version)
        writer.uint64(label.volume)
        writer.uint32(label.node.rawValue)
        writer.uint32(0)
        writer.uint64(label.identity)
        writer.uint64(label.count)
        writer.uint32(Checksum.crc32c(writer.bytes))
        let bytes = writer.bytes + [UInt8](repeating: 0, count: Int(CopyLabel.bytes) - writer.bytes.count)
        let code = self.writeDurably(offset: offset, bytes)
        guard code == 0 else { throw .failed(doing: "label", path: self.path, errno: code) }
    }

    /// Whether a label, file system or partition table could be lost with it: its first and last MiB are not zero.
    var isBlank: Bool {
        let end = self.endBytes
        let length = min(end, probedBytes)
        guard length > 0 else { return true }
        return self.isZero(Extent(offset: 0, length: length))
            && self.isZero(Extent(offset: end - length, length: length))
    }

    private func isZero(_ extent: Extent) -> Bool {
        var bytes = [UInt8](repeating: 1, count: Int(extent.length))
        let code = bytes.withUnsafeMutableBytes { self.read(offset: extent.offset, into: $0) }
        return code == 0 && bytes.allSatisfy { $0 == 0 }
    }
}
