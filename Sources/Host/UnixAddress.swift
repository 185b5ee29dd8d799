import CLinux
import Glibc

/// The address of a Unix socket: a path of at most 107 bytes, or `@NAME` in the abstract namespace. (unix(7))
package struct UnixAddress: Sendable {
    /// The longest path in bytes.
    package static let pathBytesMax = MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1

    private var address = sockaddr_un()
    private let length: socklen_t
    private let path: String

    /// ENAMETOOLONG when the path does not fit, EINVAL when it is empty or holds a zero byte.
    package init(_ path: String) throws(Errno) {
        var bytes = Array(path.utf8)
        guard bytes.count <= Self.pathBytesMax else { throw Errno(ENAMETOOLONG) }
        guard let first = bytes.first, !bytes.contains(0) else { throw Errno(EINVAL) }
        let isAbstract = first == UInt8(ascii: "@")
        if isAbstract { bytes[0] = 0 }
        self.address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &self.address.sun_path) { $0.copyBytes(from: bytes) }
        // A name in the abstract namespace ends with the address; a path with a zero byte.
        let head = MemoryLayout.offset(of: \sockaddr_un.sun_path) ?? MemoryLayout<sa_family_t>.size
        self.length = socklen_t(head + bytes.count + (isAbstract ? 0 : 1))
        self.path = path
    }

    /// Runs `body` with the address as system calls want it.
    package func withAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: self.address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, self.length) }
        }
    }

    /// A socket that listens here, at mode 0600 before anybody can connect, to be closed by the caller. Nothing may be at the path.
    package func listen(backlog: Int32) throws(Errno) -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Errno(errno) }
        guard self.withAddress({ bind(descriptor, $0, $1) }) == 0, chmod(self.path, 0o600) == 0,
            Glibc.listen(descriptor, backlog) == 0
        else {
            let code = errno
            close(descriptor)
            throw Errno(code)
        }
        return descriptor
    }

    /// A connected socket, to be closed by the caller. `prepare` sees it before it is connected.
    package func connect(
        isNonBlocking: Bool = false, _ prepare: (Int32) -> Void = { _ in }
    ) throws(Errno) -> Int32 {
        let flags = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | (isNonBlocking ? SOCK_NONBLOCK.rawValue : 0)
        let descriptor = socket(AF_UNIX, Int32(flags), 0)
        guard descriptor >= 0 else { throw Errno(errno) }
        prepare(descriptor)
        guard self.withAddress({ Glibc.connect(descriptor, $0, $1) }) == 0 else {
            let code = errno
            close(descriptor)
            throw Errno(code)
        }
        return descriptor
    }
}
