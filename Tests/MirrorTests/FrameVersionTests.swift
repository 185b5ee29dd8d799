import Basis
import Mirror
import Testing

@testable import VolumeServer

/// A peer of another release is told from a damaged link. (docs/formats.md)
struct FrameVersionTests {
    private func refusal(_ start: String) -> LinkError? {
        var bytes = Array(start.utf8) + [UInt8](repeating: 0, count: FrameCodec.headerBytes - start.utf8.count)
        let sum = Checksum.crc32c(Array(bytes[..<68]))
        bytes.replaceSubrange(68..<72, with: (0..<4).map { UInt8(truncatingIfNeeded: sum >> (8 * $0)) })
        return bytes.withUnsafeBytes { raw in
            do throws(LinkError) {
                _ = try FrameCodec.header(raw)
                return nil
            } catch { return error }
        }
    }

    @Test func `frames of another version are refused as such, with what is read and what to do`() {
        #expect(self.refusal("HMF\(Format.mirrorFrame.version)") == nil)
        let error = self.refusal("HMF3")
        #expect(error == .foreignVersion(3))
        let text = error?.description ?? ""
        for words in [
            "version 3 of the frames between volume servers", "this release reads 2", "the same release on both",
        ] {
            #expect(text.contains(words), "\(text)")
        }
        #expect(self.refusal("HMFx") == .notAFrame)
        #expect(self.refusal("GET ") == .notAFrame)
    }
}
