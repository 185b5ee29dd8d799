import Mirror

/// A 64-bit digest of a block, to find blocks that differ during resync. Two blocks that differ by chance agree with
/// probability 2⁻⁶⁴; it is not made to withstand somebody who searches for a collision.
enum BlockDigest {
    private static let first: UInt64 = 0x9E37_79B9_7F4A_7C15
    private static let second: UInt64 = 0xC2B2_AE3D_27D4_EB4F

    private static func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 { (value << bits) | (value >> (64 - bits)) }

    /// Four lanes, each a bijection of its state for every word: a single differing word always changes its lane.
    static func of(_ block: UnsafeRawBufferPointer) -> UInt64 {
        var lanes: (UInt64, UInt64, UInt64, UInt64) = (1, 2, 3, 4)
        var position = 0
        while position + 32 <= block.count {
            lanes.0 = self.mix(lanes.0, block.loadUnaligned(fromByteOffset: position, as: UInt64.self))
            lanes.1 = self.mix(lanes.1, block.loadUnaligned(fromByteOffset: position + 8, as: UInt64.self))
            lanes.2 = self.mix(lanes.2, block.loadUnaligned(fromByteOffset: position + 16, as: UInt64.self))
            lanes.3 = self.mix(lanes.3, block.loadUnaligned(fromByteOffset: position + 24, as: UInt64.self))
            position += 32
        }
        while position < block.count {
            lanes.0 = self.mix(lanes.0, UInt64(block[position]))
            position += 1
        }
        var digest = UInt64(block.count)
        for lane in [lanes.0, lanes.1, lanes.2, lanes.3] {
            digest = self.rotate(digest ^ (lane &* self.first), 27) &* self.second
            digest ^= digest >> 29
        }
        digest = (digest ^ (digest >> 33)) &* self.first
        return digest ^ (digest >> 32)
    }

    @inline(__always) private static func mix(_ lane: UInt64, _ word: UInt64) -> UInt64 {
        self.rotate(lane ^ (word &* self.second), 31) &* self.first
    }

    /// One digest for each 4 KiB of a chunk.
    static func ofEach(_ chunk: UnsafeRawBufferPointer) -> [UInt64] {
        let size = Int(Volume.Resync.blockBytes)
        return stride(from: 0, to: chunk.count, by: size).map { start in
            self.of(UnsafeRawBufferPointer(rebasing: chunk[start..<min(start + size, chunk.count)]))
        }
    }
}
