import Basis
import Cluster
import SecureLink

/// What who was dialled says to who dialled: it has left the cluster, and nobody here listens to it. A second frame says whose log
/// says so. (Rule J6)
enum Farewell {
    private static let body: [UInt8] = [1]
    private static let generation: UInt8 = 2
    /// A peer of another release may say something else.
    private static let limit = 4096

    static func send(_ generation: Generation, to stream: TLSStream) {
        var writer = ByteWriter()
        writer.uint8(Self.generation)
        writer.uint32(generation.number)
        writer.uint64(generation.recovery)
        // Who hears nothing of it dials once more, and is told then.
        try? LinkFrames.write(self.body, to: stream)
        try? LinkFrames.write(writer.bytes, to: stream)
    }

    /// Waits until the other end says something or is gone; nil unless it said farewell. The generation is missing when the
    /// other end does not say it.
    static func wait(on stream: TLSStream) -> Generation?? {
        var reader = LinkReader(stream, limit: self.limit)
        guard (try? reader.next()) == self.body else { return nil }
        guard let frame = try? reader.next() else { return .some(nil) }
        var bytes = ByteReader(frame)
        guard (try? bytes.uint8()) == self.generation, let number = try? bytes.uint32(),
            let recovery = try? bytes.uint64()
        else { return .some(nil) }
        return Generation(number: number, recovery: recovery)
    }
}
