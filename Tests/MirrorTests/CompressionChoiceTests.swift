import Basis
import Testing

@testable import Mirror
@testable import VolumeServer

struct CompressionChoiceTests {
    private static let batch = 1 << 20

    /// Sends batches over a link of so many bytes a second; how many were compressed, and how many bytes were tried.
    private static func play(
        _ choice: inout CompressionChoice, batches: Int, bytes: Int = batch, ratio: Double, link: UInt64,
        speed: Double = 1e9
    ) -> (compressed: Int, tried: Int) {
        var result = (compressed: 0, tried: 0)
        func tried(_ bytes: Int) {
            result.tried += bytes
            choice.tried(
                bytes: bytes, compressed: Int(Double(bytes) * ratio),
                nanoseconds: UInt64(Double(bytes) / speed * 1e9))
        }
        for _ in 0..<batches {
            switch choice.decide(batchBytes: bytes) {
            case .plain: break
            case .sample:
                tried(min(bytes, CompressionChoice.sampleBytes))
                guard choice.pays() else { break }
                tried(bytes)
                result.compressed += 1
            case .compress:
                tried(bytes)
                result.compressed += 1
            }
            choice.delivered(bytesPerSecond: link)
        }
        return result
    }

    @Test(arguments: [125_000, 1_000_000, 12_500_000, 125_000_000] as [UInt64])
    func `a slow link gets compression when the data rewards it`(link: UInt64) {
        var choice = CompressionChoice()
        #expect(Self.play(&choice, batches: 100, ratio: 0.25, link: link).compressed >= 99)
        var small = CompressionChoice()
        if link < 50_000_000 {
            #expect(Self.play(&small, batches: 100, bytes: 8192, ratio: 0.25, link: link).compressed >= 95)
        }
    }

    @Test func `data that cannot be compressed costs next to nothing, on any link`() {
        for link: UInt64 in [125_000_000, 1_250_000_000, 5_000_000_000] {
            var choice = CompressionChoice()
            let played = Self.play(&choice, batches: 1000, ratio: 1, link: link, speed: 2e9)
            #expect(played.compressed == 0)
            // The share of the link's own time that trying takes.
            let share = Double(played.tried) / 2e9 / (1000 * Double(Self.batch) / Double(link))
            #expect(share < 0.02, "\(link): \(share)")
        }
    }

    @Test func `a link faster than the compressor is left alone`() {
        var choice = CompressionChoice()
        _ = Self.play(&choice, batches: 20, ratio: 0.25, link: 3_000_000_000)
        #expect(Self.play(&choice, batches: 100, ratio: 0.25, link: 3_000_000_000).compressed == 0)
    }

    @Test func `data that changes is noticed in both directions`() {
        var choice = CompressionChoice()
        _ = Self.play(&choice, batches: 50, ratio: 1, link: 12_500_000)
        #expect(Self.play(&choice, batches: 50, ratio: 0.2, link: 12_500_000).compressed > 40)
        #expect(Self.play(&choice, batches: 50, ratio: 1, link: 12_500_000).compressed < 10)
    }

    @Test func `a link that was idle still counts as fast for a while`() {
        var choice = CompressionChoice()
        _ = Self.play(&choice, batches: 20, ratio: 0.25, link: 3_000_000_000)
        choice.delivered(bytesPerSecond: 1_000_000)
        #expect(choice.rate == 3_000_000_000)
        for _ in 0..<8 { choice.delivered(bytesPerSecond: 1_000_000) }
        #expect(choice.rate == 1_000_000)
    }
}

struct LinkChecksumTests {
    @Test func `the processor's checksum is the table's, for every length, place and seed`() {
        let bytes = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ $0 >> 7) }
        bytes.withUnsafeBytes { all in
            for length in Array(0...70) + [1023, 1024, 3071, 3072, 3073, 4096, 6144, 9216, 16384, 19_990] {
                for start in [0, 1, 3, 8] {
                    let part = UnsafeRawBufferPointer(rebasing: all[start..<start + length])
                    for seed: UInt32 in [0, 1, 0xDEAD_BEEF, .max] {
                        #expect(LinkChecksum.crc32c(part, seed: seed) == Checksum.crc32c(part, seed: seed))
                    }
                }
            }
        }
        // RFC 3720 §B.4.
        let golden = Array("123456789".utf8)
        golden.withUnsafeBytes { #expect(LinkChecksum.crc32c($0) == 0xE306_9283) }
        [UInt8](repeating: 0, count: 32).withUnsafeBytes { #expect(LinkChecksum.crc32c($0) == 0x8A91_36AA) }
    }
}
