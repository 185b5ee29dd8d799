import Basis
import CLinux
import Glibc
import Host
import Synchronization

/// A listening TCP socket. Any thread may close it, which wakes a thread that waits in `acceptRaw`.
public final class Listener: Sendable {
    private struct State {
        var waiting = 0
        var isClosed = false
    }
    private let descriptor: Int32
    private let state = Mutex(State())
    /// The port, also when 0 was asked for.
    public let port: UInt16

    /// Listens on an address of this node; an empty host means every IPv4 and IPv6 address, port 0 any free port.
    public init(host: String, port: UInt16) throws(SecureLinkError) {
        var failure: Int32 = EADDRNOTAVAIL
        let opened = try Sockets.eachAddress(host: host, port: port, passive: true) { address in
            Self.open(address, failure: &failure)
        }
        guard let opened else {
            throw .notListening(address: Sockets.label(host, port), reason: SystemText.error(failure))
        }
        self.descriptor = opened
        self.port = Sockets.numericName(opened, getsockname)?.port ?? port
    }

    deinit { self.close() }

    private static func open(_ address: UnsafePointer<addrinfo>, failure: inout Int32) -> Int32? {
        let type = address.pointee.ai_socktype | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.pointee.ai_family, type, 0)
        guard descriptor >= 0 else {
            failure = errno
            return nil
        }
        Sockets.set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        if address.pointee.ai_family == AF_INET6 { Sockets.set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
        if bind(descriptor, address.pointee.ai_addr, address.pointee.ai_addrlen) == 0, listen(descriptor, 128) == 0 {
            return descriptor
        }
        failure = errno
        Glibc.close(descriptor)
        return nil
    }

    /// Waits for the next connection and returns its socket, non-blocking and owned by the caller. Hand it to
    /// `TLSStream.handshake` on another thread, so that a slow client cannot hold up the others.
    public func acceptRaw() throws(SecureLinkError) -> Int32 {
        let entered = self.state.withLock { state in
            if state.isClosed { return false }
            state.waiting += 1
            return true
        }
        guard entered else { throw .listenerClosed }
        defer { self.leave() }
        while true {
            let accepted = holdfast_accept(self.descriptor, 1)
            if accepted >= 0 {
                Sockets.prepare(accepted)
                return accepted
            }
            let failure = errno
            if self.state.withLock({ $0.isClosed }) { throw .listenerClosed }
            switch failure {
            case EMFILE, ENFILE, ENOMEM, ENOBUFS, EBADF, EINVAL, ENOTSOCK, EOPNOTSUPP, EFAULT:
                throw .notListening(address: "port \(self.port)", reason: SystemText.error(failure))
            default:
                // The connection died before it was taken (accept(2)); the next one is not affected.
                continue
            }
        }
    }

    /// Stops listening; harmless when repeated.
    public func close() {
        let closeNow = self.state.withLock { state in
            if state.isClosed { return false }
            state.isClosed = true
            Glibc.shutdown(self.descriptor, Int32(SHUT_RDWR))
            return state.waiting == 0
        }
        if closeNow { Glibc.close(self.descriptor) }
    }

    private func leave() {
        let closeNow = self.state.withLock { state in
            state.waiting -= 1
            return state.isClosed && state.waiting == 0
        }
        if closeNow { Glibc.close(self.descriptor) }
    }
}
