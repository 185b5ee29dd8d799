import FoundationEssentials
import Reports

/// The routes of the API, free of any transport: Unix socket and web page answer through the same ones.
public struct APIRoutes: Sendable {
    /// One request.
    public struct Request: Sendable {
        /// `GET` or `POST`.
        public var method: String
        /// The path, such as `/v1/status`.
        public var path: String
        /// The parameters after the question mark.
        public var query: [String: String]
        /// The JSON body, empty when there is none.
        public var body: Data
        /// A request from its parts.
        public init(method: String, path: String, query: [String: String] = [:], body: Data = Data()) {
            self.method = method
            self.path = path
            self.query = query
            self.body = body
        }
    }

    /// One answer; the body is JSON.
    public struct Answer: Sendable {
        /// The HTTP status.
        public var status: Int
        /// The JSON body.
        public var body: Data
    }

    /// A larger body is refused, in bytes.
    public static let maximumBodyBytes = 4 << 20
    /// The longest time that `events` waits, in seconds.
    public static let maximumWaitSeconds: Double = 30

    private let backend: any APIBackend

    /// Routes that ask `backend`.
    public init(backend: any APIBackend) { self.backend = backend }

    /// Answers a request; failures become `ErrorReport`s.
    public func answer(_ request: Request) async -> Answer {
        do {
            return Answer(status: 200, body: try await self.perform(request))
        } catch let failure as APIFailure {
            return Self.answer(failure)
        } catch {
            return Self.answer(
                APIFailure(.error, "the request failed: \(error)", remedy: "see the log of the daemon"))
        }
    }

    /// The answer that a failure gives.
    public static func answer(_ failure: APIFailure) -> Answer {
        let body = (try? APICoding.encode(failure.report)) ?? Data()
        return Answer(status: failure.code.httpStatus, body: body)
    }

    private func perform(_ request: Request) async throws -> Data {
        let parts = request.path.split(separator: "/").map(String.init)
        guard parts.first == "v1" else { throw self.unknown(request) }
        switch (request.method, parts.count) {
        case ("GET", 2): return try await self.read(parts[1], request)
        case ("GET", 3) where parts[1] == "agents":
            return try APICoding.encode(try await self.backend.agent(parts[2]))
        case ("GET", 4) where parts[1] == "groups" && parts[3] == "explain":
            return try APICoding.encode(try await self.backend.explain(parts[2]))
        case (_, 4...5) where parts[1] == "attributes": return try await self.attribute(parts, request)
        case ("POST", 2): return try await self.write(parts[1], request)
        case ("POST", 3) where parts[1] == "leader" && parts[2] == "transfer":
            return try APICoding.encode(try await self.backend.leaderTransfer(self.mutation(request)))
        case ("POST", 3) where parts[1] == "upgrade" && parts[2] == "finalize":
            return try APICoding.encode(try await self.backend.upgradeFinalize(self.mutation(request)))
        case ("POST", 3) where parts[1] == "certificates" && parts[2] == "renew":
            return try APICoding.encode(try await self.backend.certificatesRenew())
        case ("POST", 3) where parts[1] == "certificates" && parts[2] == "rotate":
            return try APICoding.encode(
                try await self.backend.certificatesRotate(self.body(RotateRequest.self, request)))
        case ("POST", 4): return try await self.mutate(parts[1], name: parts[2], verb: parts[3], request)
        default: throw self.unknown(request)
        }
    }

    private func read(_ what: String, _ request: Request) async throws -> Data {
        switch what {
        case "status":
            let isConsistent = try self.number(request, "consistent", Int.init) ?? 0
            return try APICoding.encode(
                isConsistent != 0 ? try await self.backend.consistentStatus() : try await self.backend.status())
        case "attributes":
            return try APICoding.encode(
                try await self.backend.attributes(scope: request.query["scope"], isStale: self.isStale(request)))
        case "policy": return try APICoding.encode(try await self.backend.policy())
        case "agents": return try APICoding.encode(try await self.backend.agents())
        case "plan": return try APICoding.encode(try await self.backend.plan(PlanRequest()))
        case "tokens": return try APICoding.encode(try await self.backend.tokens())
        case "certificates": return try APICoding.encode(try await self.backend.certificates())
        case "recovery": return try APICoding.encode(try await self.backend.recovery())
        case "backup": return try APICoding.encode(try await self.backend.backup(isStale: self.isStale(request)))
        case "upgrade": return try APICoding.encode(try await self.backend.upgrade())
        case "counters": return try APICoding.encode(try await self.backend.counters())
        case "events":
            let after = try self.number(request, "after", UInt64.init) ?? 0
            let limit = try self.number(request, "limit", Int.init) ?? 100
            let latest = try self.number(request, "latest", Int.init) ?? 0
            let wait = try self.number(request, "wait", Double.init) ?? 0
            guard (1...10_000).contains(limit), (0...Self.maximumWaitSeconds).contains(wait) else {
                throw APIFailure(
                    .usage, "limit or wait is out of range",
                    remedy: "use a limit from 1 to 10000 and a wait from 0 to 30 seconds")
            }
            return try APICoding.encode(
                try await self.backend.events(after: after, limit: limit, latest: latest != 0, waitSeconds: wait))
        default: throw self.unknown(request)
        }
    }

    private func write(_ what: String, _ request: Request) async throws -> Data {
        switch what {
        case "plan":
            return try APICoding.encode(try await self.backend.plan(self.body(PlanRequest.self, request)))
        case "apply":
            return try APICoding.encode(try await self.backend.apply(self.body(ApplyRequest.self, request)))
        case "note": return try APICoding.encode(try await self.backend.note(self.mutation(request)))
        case "recovery":
            return try APICoding.encode(try await self.backend.recover(self.body(RecoveryRequest.self, request)))
        case "rejoin": return try APICoding.encode(try await self.backend.rejoin())
        case "token": return try APICoding.encode(try await self.backend.createToken())
        default: throw self.unknown(request)
        }
    }

    private func mutate(_ kind: String, name: String, verb: String, _ request: Request) async throws -> Data {
        let result: MutationResult
        switch (kind, verb) {
        case ("groups", "move"): result = try await self.backend.groupMove(name, self.mutation(request))
        case ("groups", "start"): result = try await self.backend.groupStart(name, self.mutation(request))
        case ("groups", "declare-absent"):
            result = try await self.backend.groupDeclareAbsent(name, self.mutation(request))
        case ("groups", "stop"): result = try await self.backend.groupStop(name, self.mutation(request))
        case ("groups", "confirm-stopped"):
            result = try await self.backend.groupConfirmStopped(name, self.mutation(request))
        case ("nodes", "drain"): result = try await self.backend.nodeDrain(name, self.mutation(request))
        case ("nodes", "undrain"): result = try await self.backend.nodeUndrain(name, self.mutation(request))
        case ("nodes", "expect-pause"): result = try await self.backend.nodeExpectPause(name, self.mutation(request))
        case ("nodes", "original"): result = try await self.backend.nodeOriginal(name, self.mutation(request))
        case ("nodes", "set"): result = try await self.backend.nodeSet(name, self.mutation(request))
        case ("nodes", "remove"): result = try await self.backend.nodeRemove(name, self.mutation(request))
        case ("nodes", "keep"): result = try await self.backend.nodeKeep(name, self.mutation(request))
        case ("nodes", "shutdown"): result = try await self.backend.nodeShutDown(name, self.mutation(request))
        case ("tokens", "revoke"): result = try await self.backend.revokeToken(name)
        case ("volumes", "resync"): result = try await self.backend.volumeResync(name, self.mutation(request))
        case ("volumes", "accept-loss"):
            result = try await self.backend.volumeAcceptLoss(name, self.mutation(request))
        case ("volumes", "allow-repair"):
            result = try await self.backend.volumeAllowRepair(name, self.mutation(request))
        default: throw self.unknown(request)
        }
        return try APICoding.encode(result)
    }

    /// `/v1/attributes/SCOPE/NAME`, and what changes one.
    private func attribute(_ parts: [String], _ request: Request) async throws -> Data {
        let (scope, name) = (parts[2], parts[3])
        switch (request.method, parts.dropFirst(4).first) {
        case ("GET", nil):
            return try APICoding.encode(
                try await self.backend.attribute(scope, name, isStale: self.isStale(request)))
        case ("POST", "put"):
            return try APICoding.encode(
                try await self.backend.attributePut(scope, name, self.body(AttributeRequest.self, request)))
        case ("POST", "delete"):
            let wish = request.body.isEmpty ? AttributeRequest() : try self.body(AttributeRequest.self, request)
            return try APICoding.encode(try await self.backend.attributeDelete(scope, name, wish))
        default: throw self.unknown(request)
        }
    }

    private func isStale(_ request: Request) throws -> Bool { (try self.number(request, "stale", Int.init) ?? 0) != 0 }

    private func mutation(_ request: Request) throws -> MutationRequest {
        // Only `dryRun` has no natural absence in JSON, so an empty body is spelled out.
        request.body.isEmpty ? MutationRequest() : try self.body(MutationRequest.self, request)
    }

    private func body<Value: Decodable>(_ type: Value.Type, _ request: Request) throws -> Value {
        do {
            return try APICoding.decode(type, from: request.body)
        } catch {
            throw APIFailure(
                .usage, "the body of \(request.method) \(request.path) is not a \(type)",
                remedy: "send JSON of the form that docs/api.md gives")
        }
    }

    private func number<Value>(_ request: Request, _ key: String, _ parse: (String) -> Value?) throws -> Value? {
        guard let text = request.query[key] else { return nil }
        if let value = parse(text) { return value }
        throw APIFailure(.usage, "`\(key)=\(text)` is not a number", remedy: "write it like `\(key)=10`")
    }

    private func unknown(_ request: Request) -> APIFailure {
        APIFailure(
            .notFound, "there is no \(request.method) \(request.path)",
            remedy: "use a command line and a daemon of the same version")
    }
}
