import Basis
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
public final class NBDServer: Sendable {
    private let device: any BlockDevice
    private let exportName: String
    private let socketPath: String
    private let limits: NBDLimits
    private let log: @Sendable (String) -> Void
    private let listener: Int32

    private struct State {
        var connections: [Int: NBDConnection] = [:]
        var nextConnection = 0
        var isStarted = false
        var isStopped = false
    }
    private let state = Locked(State(), lendsPriority: false)
    private let threads = ThreadGroup()

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
        let isFirst = self.state.withLock { state in
            if state.isStarted || state.isStopped { return false }
            state.isStarted = true
            return true
        }
        if isFirst { _ = self.spawn { self.acceptLoop() } }
    }

    /// Closes the socket and every connection, and waits until no thread of the server is inside the device any more.
    /// Requests that the device still holds are not answered; their completions are dropped. Harmless when repeated;
    /// must not be called from inside the device.
    public func stop() {
        self.state.withLock { state in
            if state.isStopped { return }
            state.isStopped = true
            unlink(self.socketPath)
            Glibc.shutdown(self.listener, Int32(SHUT_RDWR))
            for connection in state.connections.values { connection.close() }
        }
        self.threads.join()
    }

    /// How many clients are connected.
    public var connectionCount: Int { self.state.withLock { $0.connections.count } }

    private func spawn(_ body: @escaping @Sendable () -> Void) -> Bool {
        let isStarted = self.threads.start(body)
        if !isStarted { self.log("export \(self.exportName): the system has no thread left") }
        return isStarted
    }

    private func acceptLoop() {
        SystemSocket.acceptEach(self.listener) { descriptor, code in
            // Whoever stops the server sees the client among the connections, or the client sees that it is stopped.
            let isStopped = self.state.withLock { state in
                if !state.isStopped, code == 0 { self.admit(descriptor, &state) }
                return state.isStopped
            }
            if isStopped {
                if code == 0 { Glibc.close(descriptor) }
            } else if code != 0, code != EINTR, code != ECONNABORTED {
                self.log("export \(self.exportName): cannot accept a client: \(SystemText.error(code))")
            }
            return isStopped
        }
    }

    private func admit(_ descriptor: Int32, _ state: inout State) {
        guard state.connections.count < self.limits.maximumConnections else {
            self.log("export \(self.exportName): a client was turned away: \(state.connections.count) are connected")
            Glibc.close(descriptor)
            return
        }
        var bytes: Int32 = 1 << 20
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
        let connection = NBDConnection(device: self.device, descriptor: descriptor, limits: self.limits)
        let number = state.nextConnection
        state.nextConnection += 1
        let isServed = self.spawn {
            let drop = connection.run(exportName: self.exportName)
            let isStopped = self.state.withLock { state in
                state.connections[number] = nil
                return state.isStopped
            }
            if let drop, !isStopped { self.log("export \(self.exportName): dropped a client: \(drop.reason)") }
        }
        if isServed { state.connections[number] = connection }
    }
}

/// Makes listening Unix sockets.
private enum UnixListener {
    static func open(_ path: String) throws(NBDServerError) -> Int32 {
        // Made under another name and renamed when it listens with the right mode: the path never shows half of it.
        let temporary = path + ".new"
        let (address, final): (UnixAddress, UnixAddress)
        do throws(Errno) {
            (address, final) = (try UnixAddress(temporary), try UnixAddress(path))
        } catch {
            throw .pathTooLong(path: path, maximum: UnixAddress.pathBytesMax - 4)
        }
        if let probe = try? final.connect() {
            close(probe)
            throw .inUse(path: path)
        }
        unlink(temporary)
        do throws(Errno) {
            let descriptor = try address.listen(backlog: 64)
            let code = Files.move(temporary, to: path)
            if code == 0 { return descriptor }
            close(descriptor)
            throw Errno(code)
        } catch {
            unlink(temporary)
            throw .notListening(path: path, errno: error.code)
        }
    }
}
