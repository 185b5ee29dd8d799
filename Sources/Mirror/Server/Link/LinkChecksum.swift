import Basis
import CLinux

/// `Checksum.crc32c` as fast as the processor can; the values are the same.
enum LinkChecksum {
    private static let isInHardware = holdfast_has_crc32c() == 1

    static func crc32c(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
        guard self.isInHardware else { return Checksum.crc32c(bytes, seed: seed) }
        return holdfast_crc32c(bytes.baseAddress, bytes.count, seed)
    }
}
