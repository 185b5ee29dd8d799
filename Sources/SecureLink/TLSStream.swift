import Basis
import CLinux
import COpenSSL
import Glibc
import Host
import Synchronization

/// One TLS 1.3 connection with blocking calls. One thread may read while another writes: a blocked read never blocks a
/// write, because the session is locked only while OpenSSL works and never while waiting for the socket.
public final class TLSStream: Sendable {
    private let session: Locked<TLSSession>
    let descriptor: Int32
    private let context: TLSContext
    private let isShutDown = Atomic(false)
    /// The other end's address, for messages.
    public let peerAddress: String
    /// The other end's numeric address without its port; empty when the connection is gone.
    public var peerHost: String { Sockets.numericName(self.descriptor, getpeername)?.host ?? "" }
    /// The node name in the peer's verified certificate; nil if it has none (a joining client).
    public let peerName: String?
    /// The node number in the peer's verified certificate.
    public let peerNode: NodeID?
    /// The cluster named in the peer's verified certificate.
    public let peerCluster: String?
    /// SHA-256 of that certificate; nil where the peer showed none.
    public let peerFingerprint: [UInt8]?
    /// The highest version of what is said over the link that both ends can do.
    public let agreedVersion: UInt32
    /// This clock before the handshake began: the other end has surely lived since.
    public let handshakeBegan: Tick
    /// Both ends are here to talk about certificates, and nothing else.
    public let isAboutCertificates: Bool

    /// Takes ownership of a connected, non-blocking socket and completes the handshake.
    private init(
        descriptor: Int32, peerAddress: String, context: TLSContext, isServer: Bool, deadline: Tick,
        giveUp: (Int32) -> Void
    ) throws(SecureLinkError) {
        self.handshakeBegan = MachineClock.now
        var session: TLSSession
        do {
            session = try TLSSession(descriptor: descriptor, context: context, isServer: isServer)
        } catch {
            giveUp(descriptor)
            throw error
        }
        do {
            try session.handshake(descriptor: descriptor, peer: peerAddress, deadline: deadline)
        } catch {
            session.free()
            giveUp(descriptor)
            throw error
        }
        let peer = session.peer()
        self.peerName = peer?.name
        self.peerNode = peer?.node
        self.peerCluster = peer?.cluster
        self.peerFingerprint = peer?.fingerprint
        self.agreedVersion = session.agreedVersion
        self.isAboutCertificates = session.isAboutCertificates
        self.peerAddress = peerAddress
        self.descriptor = descriptor
        self.context = context
        self.session = Locked(session)
    }

    deinit {
        self.session.withLock { $0.free() }
        close(self.descriptor)
    }

    /// Connects and completes the handshake, both within `timeout`; only the name lookup is not bounded by it. TLS 1.3
    /// tells a client that its certificate was refused only at its first read.
    public static func connect(
        host: String, port: UInt16, context: TLSContext, timeout: Span
    ) throws(SecureLinkError) -> TLSStream {
        let deadline = MachineClock.now + timeout
        let label = Sockets.label(host, port)
        var failure: Int32 = EADDRNOTAVAIL
        let connected = try Sockets.eachAddress(host: host, port: port, passive: false) { address in
            Sockets.connect(to: address, deadline: deadline, failure: &failure)
        }
        guard let connected else {
            if failure == ETIMEDOUT { throw .timedOut(peer: label, during: "the TCP connect") }
            throw .notConnected(peer: label, reason: SystemText.error(failure))
        }
        return try TLSStream(
            descriptor: connected, peerAddress: label, context: context, isServer: false, deadline: deadline,
            giveUp: { close($0) })
    }

    /// Waits for a connection and completes its handshake. A client that stalls holds up the next for
    /// `handshakeTimeout`; use `acceptRaw` and `handshake` where that matters.
    public static func accept(
        on listener: Listener, context: TLSContext, handshakeTimeout: Span
    ) throws(SecureLinkError) -> TLSStream {
        try self.handshake(accepted: try listener.acceptRaw(), context: context, timeout: handshakeTimeout)
    }

    /// The server's half of the handshake on a socket from `Listener.acceptRaw`, which it takes over and, on failure,
    /// gives up: `giveUp` must close it.
    public static func handshake(
        accepted: Int32, context: TLSContext, timeout: Span, giveUp: (Int32) -> Void = { close($0) }
    ) throws(SecureLinkError) -> TLSStream {
        try TLSStream(
            descriptor: accepted, peerAddress: Sockets.peerLabel(accepted), context: context, isServer: true,
            deadline: MachineClock.now + timeout, giveUp: giveUp)
    }

    /// Waits for data and returns how much was read: at least one byte, or 0 if the peer closed (or crashed: frames
    /// must carry their length).
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(SecureLinkError) -> Int {
        if buffer.isEmpty { return 0 }
        while true {
            switch self.session.withLock({ $0.read(into: buffer) }) {
            case .moved(let count): return count
            case .closed:
                if self.isShutDown.load(ordering: .acquiring) { throw .shutDown(peer: self.peerAddress) }
                return 0
            case .wait(let events): try self.wait(events)
            case .failed(let reason): throw self.failure(reason)
            }
        }
    }

    /// Writes all of the buffer, or throws. Returns when the kernel has it, not when the peer has it.
    public func write(_ buffer: UnsafeRawBufferPointer) throws(SecureLinkError) {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeRawBufferPointer(rebasing: buffer[done...])
            switch self.session.withLock({ $0.write(rest) }) {
            case .moved(let count): done += count
            case .closed: throw self.failure("the peer closed it")
            case .wait(let events): try self.wait(events)
            case .failed(let reason): throw self.failure(reason)
            }
        }
    }

    /// Bytes a second that the other end lately confirmed; 0 if unknown. Too low where little was sent.
    public var deliveryRate: UInt64 { holdfast_delivery_rate(self.descriptor) }

    /// Ends the connection and wakes the threads blocked in `read` and `write`, which then throw. Harmless when
    /// repeated.
    public func shutdown() {
        if self.isShutDown.exchange(true, ordering: .acquiringAndReleasing) { return }
        self.session.withLock { $0.sayGoodbye() }
        Glibc.shutdown(self.descriptor, Int32(SHUT_RDWR))
    }

    private func wait(_ events: Int16) throws(SecureLinkError) {
        if self.isShutDown.load(ordering: .acquiring) { throw .shutDown(peer: self.peerAddress) }
        _ = Sockets.wait(self.descriptor, events, deadline: .never)
    }

    private func failure(_ reason: String) -> SecureLinkError {
        self.isShutDown.load(ordering: .acquiring)
            ? .shutDown(peer: self.peerAddress) : .broken(peer: self.peerAddress, reason: reason)
    }
}
