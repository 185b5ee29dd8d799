import Glibc
import Synchronization

/// Ports on loopback for servers that are started later, or more than once.
///
/// They lie below the range from which the kernel takes ports for outgoing connections, so no connection of another test
/// can take one in between.
public enum QuietPort {
    private static let range: Range<UInt32> = 20_000..<32_000
    private static let next = Atomic<UInt32>(UInt32(truncatingIfNeeded: getpid()) &* 211)

    /// A port that nobody listens on now and that is not given out again by this process.
    public static func take() -> UInt16 {
        while true {
            let number = Self.next.wrappingAdd(1, ordering: .relaxed).oldValue
            let port = UInt16(Self.range.lowerBound + number % UInt32(Self.range.count))
            if Self.isFree(port) { return port }
        }
    }

    private static func isFree(_ port: UInt16) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }
}
