import Basis
import SecureLink

/// The one word that who was dialled says to who dialled: it has left the cluster, and nobody here listens to it. (Rule J6)
enum Farewell {
    private static let body: [UInt8] = [1]
    /// A peer of another release may say something else.
    private static let limit = 4096

    static func send(to stream: TLSStream) { try? LinkFrames.write(self.body, to: stream) }

    /// Waits until the other end says something or is gone; true when it said farewell.
    static func wait(on stream: TLSStream) -> Bool {
        var reader = LinkReader(stream, limit: self.limit)
        return (try? reader.next()) == self.body
    }
}
