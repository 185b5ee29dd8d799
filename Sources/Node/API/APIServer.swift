import Basis
import FoundationEssentials
import Glibc
import Host
import Hummingbird
import Logging
import NIOCore
import Reports

/// Why the API cannot be served.
public enum APIServerError: Error, Equatable, CustomStringConvertible {
    /// Another daemon answers on the socket.
    case alreadyRunning(path: String)
    /// Something that is no socket is in the way.
    case notASocket(path: String)
    /// The path does not fit into a socket address.
    case pathTooLong(path: String)
    /// The directory of the socket cannot be made.
    case noDirectory(path: String, reason: String)

    /// What happened, where, and what to do next.
    public var description: String {
        switch self {
        case .alreadyRunning(let path):
            "another daemon already answers on \(path); stop it first, or choose another directory with --run"
        case .notASocket(let path): "\(path) exists and is not a socket; move it away"
        case .pathTooLong(let path): "the socket path \(path) is longer than 107 bytes; choose a shorter --run"
        case .noDirectory(let path, let reason):
            "the directory \(path) cannot be made (\(reason)); make it, or choose another one with --run"
        }
    }
}

/// Serves the API on a Unix socket, to root and to the daemon's own user only.
public struct APIServer: Sendable {
    private let routes: APIRoutes
    private let socketPath: String
    private let allowedUsers: Set<UInt32>
    /// Requests that have no whole answer yet.
    private let open = Locked(0)

    /// A server of `backend` on `socketPath`; besides root only `owner` (the daemon's own user when nil) may call.
    public init(backend: any APIBackend, socketPath: String, owner: UInt32? = nil) {
        self.init(backend: backend, socketPath: socketPath, allowedUsers: [0, owner ?? geteuid()])
    }

    /// The same with the set of callers spelled out.
    init(backend: any APIBackend, socketPath: String, allowedUsers: Set<UInt32>) {
        self.routes = APIRoutes(backend: backend)
        self.socketPath = socketPath
        self.allowedUsers = allowedUsers
    }

    /// Serves until the task is cancelled or the service group shuts down. Throws `APIServerError` or what binding throws.
    public func run(onRunning: @escaping @Sendable () async -> Void = {}) async throws {
        try self.prepare()
        let logger = Logger(label: "holdfast.api") { _ in SwiftLogNoOpLogHandler() }
        let routes = self.routes
        let allowed = self.allowedUsers
        let path = self.socketPath
        let open = self.open
        let responder = CallbackResponder<CallerContext> { request, context in
            open.change { $0 += 1 }
            let answer = await Self.respond(to: request, context: context, routes: routes, allowed: allowed)
            return Self.response(answer) { open.change { $0 -= 1 } }
        }
        let application = Application(
            responder: responder,
            configuration: ApplicationConfiguration(address: .unixDomainSocket(path: path), serverName: "holdfast"),
            onServerRunning: { _ in
                // Between bind and here the credentials alone guard the socket.
                chmod(path, 0o600)
                await onRunning()
            },
            logger: logger)
        defer { unlink(path) }
        try await application.run()
    }

    /// Waits until everybody who asked has an answer, but no longer than `limit`: some wait for what may happen next. False when
    /// somebody still waits.
    @discardableResult package func finish(within limit: Span) async -> Bool {
        let end = MachineClock.now + limit
        while self.open.withLock({ $0 > 0 }) {
            guard MachineClock.now < end else { return false }
            try? await Task.sleep(nanoseconds: Span.milliseconds(5).nanoseconds)
        }
        return true
    }

    /// Makes the directory and removes the socket of a daemon that is gone.
    private func prepare() throws {
        guard self.socketPath.utf8.count <= 107 else { throw APIServerError.pathTooLong(path: self.socketPath) }
        let directory = String(self.socketPath[..<(self.socketPath.lastIndex(of: "/") ?? self.socketPath.startIndex)])
        if let code = Files.makeDirectory(directory, mode: 0o755) {
            throw APIServerError.noDirectory(path: directory, reason: SystemText.error(code))
        }
        var there = stat()
        guard lstat(self.socketPath, &there) == 0 else { return }
        guard there.st_mode & S_IFMT == S_IFSOCK else { throw APIServerError.notASocket(path: self.socketPath) }
        if let descriptor = try? UnixConnection.open(self.socketPath, timeoutSeconds: 1) {
            close(descriptor)
            throw APIServerError.alreadyRunning(path: self.socketPath)
        }
        unlink(self.socketPath)
    }

    private static func respond(
        to request: Hummingbird.Request, context: CallerContext, routes: APIRoutes, allowed: Set<UInt32>
    ) async -> APIRoutes.Answer {
        guard let caller = await context.callerUser(), allowed.contains(caller) else {
            return APIRoutes.answer(
                APIFailure(
                    .permission, "only root and the user of the daemon may use this socket",
                    remedy: "run the command with sudo"))
        }
        var request = request
        let body: Data
        do {
            let buffer = try await request.collectBody(upTo: APIRoutes.maximumBodyBytes)
            body = Data(buffer.readableBytesView)
        } catch {
            return APIRoutes.answer(
                APIFailure(
                    .usage, "the body of the request cannot be read or exceeds \(APIRoutes.maximumBodyBytes) bytes",
                    remedy: "send a shorter document"))
        }
        var query: [String: String] = [:]
        for (key, value) in request.uri.queryParameters { query[String(key)] = String(value) }
        return await routes.answer(
            APIRoutes.Request(
                method: request.method.rawValue, path: request.uri.path, query: query, body: body))
    }

    /// `end` is called once the answer was sent, or cannot be.
    private static func response(_ answer: APIRoutes.Answer, end: @escaping @Sendable () -> Void) -> Response {
        var headers = HTTPFields()
        headers[.contentType] = "application/json"
        return Response(
            status: HTTPResponse.Status(code: answer.status), headers: headers,
            body: ResponseBody(contentLength: answer.body.count) { writer in
                defer { end() }
                try await writer.write(ByteBuffer(bytes: answer.body))
                try await writer.finish(nil)
            })
    }
}

/// A request's context that can tell who calls.
private struct CallerContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    private let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        self.coreContext = CoreRequestContextStorage(source: source)
        self.channel = source.channel
    }

    /// The user id of the process at the other end; nil if the kernel does not say.
    func callerUser() async -> UInt32? {
        guard let provider = self.channel as? any SocketOptionProvider else { return nil }
        let credentials: EventLoopFuture<Credentials> = provider.unsafeGetSocketOption(
            level: .socket, name: NIOBSDSocket.Option(rawValue: SO_PEERCRED))
        return try? await credentials.get().user
    }

    /// The kernel's `struct ucred`.
    private struct Credentials: Sendable {
        var process: Int32
        var user: UInt32
        var group: UInt32
    }
}
