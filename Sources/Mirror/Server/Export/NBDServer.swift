import Basis
import CLinux
import Glibc
import Host

/// Bounds of an export server.
public struct NBDLimits: Sendable {
    /// Largest read or write in bytes; announced to clients. Each connection reserves as much address space.
    public var maximumPayload: UInt32 = 32 << 20
    /// Connections at the same time; further clients are turned away.
    public var maximumConnections = 64
    /// Requests of one connection that the device may hold; then the connection waits.
    public var maximumInFlight = 4096
    /// Extents in one answer to BLOCK_STATUS.
    public var maximumExtents = 16 * 1024
    /// Time for a client to finish the handshake.
    public var handshakeTimeout = Span.seconds(30)
    /// The defaults.
    public init() {}
}

/// Why an export cannot be offered.
public enum NBDServerError: Error, Equatable, CustomStringConvertible {
    /// The socket's path does not fit into a socket address.
    case pathTooLong(path: String, maximum: Int)
    /// Another server answers on this path.
    case inUse(path: String)
    /// The socket could not be made.
    case notListening(path: String, errno: Int32)

    /// What happened and what to do.
    public var description: String {
        switch self {
        case .pathTooLong(let path, let maximum):
            "the socket path \(path) has more than \(maximum) bytes; choose a shorter run directory"
        case .inUse(let path):
            "another server already answers on \(path); stop it first, or use another run directory"
        case .notListening(let path, let code):
            "cannot listen on \(path): \(SystemText.error(code)); "
                + "check that the directory exists and is writable"
        }
    }
}

/// Serves one block device to NBD clients over a Unix socket of mode 0600: fixed newstyle, structured replies,
/// base:allocation, any number of requests in flight, one thread per connection.
public final class NBDServer: @unchecked Sendable {
    private let device: any BlockDevice
    private let exportName: String
    private let socketPath: String
    private let limits: NBDLimits
    private let log: @Sendable (String) -> Void
    private let listener: Int32

    private let lock = ConditionLock()
    // Guarded by `lock`.
    private var connections: [Int: NBDConnection] = [:]
    private var nextConnection = 0
    private var threads = 0
    private var isStarted = false
    private var isStopped = false

    /// Makes the socket, so that clients can already connect; they are served after `start`. `log` receives a sentence
    /// for each client that is dropped, from any thread.
    public init(
        device: any BlockDevice, exportName: String, socketPath: String, limits: NBDLimits = NBDLimits(),
        log: @escaping @Sendable (String) -> Void = { _ in }
    ) throws(NBDServerError) {
        self.device = device
        self.exportName = exportName
        self.socketPath = socketPath
        self.limits = limits
        self.log = log
        self.listener = try UnixListener.open(socketPath)
    }

    deinit { Glibc.close(self.listener) }

    /// Begins to serve. Later calls do nothing.
    public func start() {
        self.lock.lock()
        defer { self.lock.unlock() }
        if self.isStarted || self.isStopped { return }
        self.isStarted = true
        self.spawn { self.acceptLoop() }
    }

    /// Closes the socket and every connection, and waits until no thread of the server is inside the device any more.
    /// Requests that the device still holds are not answered; their completions are dropped. Harmless when repeated;
    /// must not be called from inside the device.
    public func stop() {
        self.lock.lock()
        if !self.isStopped {
            self.isStopped = true
            unlink(self.socketPath)
            Glibc.shutdown(self.listener, Int32(SHUT_RDWR))
            for connection in self.connections.values { connection.close() }
        }
        while self.threads > 0 { self.lock.wait() }
        self.lock.unlock()
    }

    /// How many clients are connected.
    public var connectionCount: Int {
        self.lock.lock()
        defer { self.lock.unlock() }
        return self.connections.count
    }

    /// Called with the lock.
    @discardableResult
    private func spawn(_ body: @escaping @Sendable () -> Void) -> Bool {
        self.threads += 1
        let isStarted = SystemThread.start("volume") {
            body()
            self.lock.lock()
            self.threads -= 1
            self.lock.broadcast()
            self.lock.unlock()
        }
        if !isStarted {
            self.threads -= 1
            self.log("export \(self.exportName): the system has no thread left")
        }
        return isStarted
    }

    private func acceptLoop() {
        while true {
            let descriptor = holdfast_accept(self.listener, 0)
            let code = errno
            self.lock.lock()
            let isStopped = self.isStopped
            if !isStopped, descriptor >= 0 { self.admit(descriptor) }
            self.lock.unlock()
            if isStopped {
                if descriptor >= 0 { Glibc.close(descriptor) }
                return
            }
            if descriptor < 0, code != EINTR, code != ECONNABORTED {
                self.log("export \(self.exportName): cannot accept a client: \(SystemText.error(code))")
                // Out of descriptors or memory: the condition lasts, and must not eat a core.
                usleep(100_000)
            }
        }
    }

    /// Called with the lock.
    private func admit(_ descriptor: Int32) {
        guard self.connections.count < self.limits.maximumConnections else {
            self.log("export \(self.exportName): a client was turned away: \(self.connections.count) are connected")
            Glibc.close(descriptor)
            return
        }
        var bytes: Int32 = 1 << 20
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
        let connection = NBDConnection(device: self.device, descriptor: descriptor, limits: self.limits)
        let number = self.nextConnection
        self.nextConnection += 1
        self.connections[number] = connection
        let isServed = self.spawn {
            let drop = connection.run(exportName: self.exportName)
            self.lock.lock()
            self.connections[number] = nil
            let isStopped = self.isStopped
            self.lock.unlock()
            if let drop, !isStopped { self.log("export \(self.exportName): dropped a client: \(drop.reason)") }
        }
        if !isServed { self.connections[number] = nil }
    }
}

/// Makes listening Unix sockets.
private enum UnixListener {
    static func open(_ path: String) throws(NBDServerError) -> Int32 {
        // Made under another name and renamed when it listens with the right mode: the path never shows half of it.
        let temporary = path + ".new"
        guard let address = self.address(temporary), let final = self.address(path) else {
            throw .pathTooLong(path: path, maximum: MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 5)
        }
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        let probe = socket(AF_UNIX, type, 0)
        let isAnswered = probe >= 0 && self.with(final) { connect(probe, $0, $1) } == 0
        if probe >= 0 { close(probe) }
        if isAnswered { throw .inUse(path: path) }
        let descriptor = socket(AF_UNIX, type, 0)
        guard descriptor >= 0 else { throw .notListening(path: path, errno: errno) }
        unlink(temporary)
        guard self.with(address, { bind(descriptor, $0, $1) }) == 0, chmod(temporary, 0o600) == 0,
            listen(descriptor, 64) == 0, rename(temporary, path) == 0
        else {
            let code = errno
            close(descriptor)
            unlink(temporary)
            throw .notListening(path: path, errno: code)
        }
        return descriptor
    }

    private static func address(_ path: String) -> sockaddr_un? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path), !bytes.contains(0) else { return nil }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return address
    }

    private static func with(
        _ address: sockaddr_un, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
