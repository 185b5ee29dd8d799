import Foundation

/// A directory for one test, which goes with the value's last owner. Its path is short enough for Unix sockets in it.
public final class ScratchDirectory: Sendable {
    /// Where it is.
    public let path: String

    /// Makes it.
    public init() throws {
        self.path = NSTemporaryDirectory() + "hf-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: self.path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: self.path) }
}
