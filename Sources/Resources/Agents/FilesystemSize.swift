import Glibc

/// Whether a device has more room than the file system on it uses, by its superblock alone.
enum FilesystemSize {
    /// A MiB is left over by many file systems.
    static let slackBytes: UInt64 = 1 << 20
    /// None leaves so much: a device with that much more has grown since.
    static let largeBytes: UInt64 = 8 << 20

    /// Whether the device is larger than its file system by at least so many bytes.
    static func hasRoom(device: String, type: String, bytes: UInt64) -> Bool {
        let descriptor = open(device, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        let end = lseek(descriptor, 0, SEEK_END)
        var block = [UInt8](repeating: 0, count: 4096)
        guard end > 0, pread(descriptor, &block, block.count, 0) == block.count else { return false }
        guard let used = self.bytes(block, type) else { return false }
        return UInt64(end) >= used + bytes
    }

    /// The size that the first 4096 bytes of a device tell; nil for a type that is not known here.
    static func bytes(_ block: [UInt8], _ type: String) -> UInt64? {
        func little(_ offset: Int, _ count: Int) -> UInt64 {
            (0..<count).reduce(0) { $0 | UInt64(block[offset + $1]) << (8 * UInt64($1)) }
        }
        func big(_ offset: Int, _ count: Int) -> UInt64 {
            (0..<count).reduce(0) { $0 << 8 | UInt64(block[offset + $1]) }
        }
        switch type {
        case "ext2", "ext3", "ext4":
            guard little(1024 + 0x38, 2) == 0xEF53, little(1024 + 0x18, 4) < 7 else { return nil }
            let isLarge = little(1024 + 0x60, 4) & 0x80 != 0
            let blocks = little(1024 + 4, 4) | (isLarge ? little(1024 + 0x150, 4) << 32 : 0)
            return blocks << (10 + little(1024 + 0x18, 4))
        case "xfs":
            guard big(0, 4) == 0x5846_5342 else { return nil }
            return big(8, 8).multipliedReportingOverflow(by: big(4, 4)).partialValue
        default: return nil
        }
    }
}
