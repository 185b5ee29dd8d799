import Basis
import FoundationEssentials
import Glibc
import Host
import Reports

/// Asks the daemon on this machine; every failure is an `APIFailure`.
public struct APIClient: Sendable {
    /// The socket of the daemon.
    public let socketPath: String
    /// How long to wait for an answer, in seconds.
    public let timeoutSeconds: Double

    /// A client of the daemon behind `socketPath`.
    public init(socketPath: String, timeoutSeconds: Double = 30) {
        self.socketPath = socketPath
        self.timeoutSeconds = timeoutSeconds
    }

    /// Reads a value; `waitSeconds` is how long the daemon may hold the answer back.
    public func get<Value: Decodable>(_ target: String, waitSeconds: Double = 0) async throws -> Value {
        try await self.ask("GET", target, body: Data(), waitSeconds: waitSeconds)
    }

    /// Sends a value and reads another.
    public func post<Value: Decodable>(_ target: String, _ body: some Encodable) async throws -> Value {
        try await self.ask("POST", target, body: try APICoding.encode(body), waitSeconds: 0)
    }

    private func ask<Value: Decodable>(
        _ method: String, _ target: String, body: Data, waitSeconds: Double
    ) async throws -> Value {
        let answer: (status: Int, body: Data)
        do {
            answer = try await self.exchange(method, target, body: body, waitSeconds: waitSeconds)
        } catch let failure as UnixConnection.Failure {
            throw self.explained(failure)
        }
        do throws(CodecError) { try Format.api.check(APICoding.version(of: answer.body)) } catch {
            throw APIFailure(
                .error, "the answer of the daemon on \(self.socketPath) cannot be understood: \(error)",
                remedy: "use a command line and a daemon of the same version")
        }
        guard answer.status == 200 else {
            if let report = try? APICoding.decode(ErrorReport.self, from: answer.body) { throw APIFailure(report) }
            throw APIFailure(
                .error, "the daemon answered with HTTP status \(answer.status)", remedy: "see the log of the daemon")
        }
        do {
            return try APICoding.decode(Value.self, from: answer.body)
        } catch {
            throw APIFailure(
                .error, "the answer of the daemon cannot be understood: \(error)",
                remedy: "use a command line and a daemon of the same version")
        }
    }

    /// The exchange blocks, so it gets a thread of its own.
    private func exchange(
        _ method: String, _ target: String, body: Data, waitSeconds: Double
    ) async throws -> (status: Int, body: Data) {
        let path = self.socketPath
        let timeout = self.timeoutSeconds + waitSeconds
        return try await withCheckedThrowingContinuation { continuation in
            SystemThread.demand("request") {
                continuation.resume(
                    with: Result {
                        try UnixConnection.exchange(
                            path, method: method, target: target, body: body, timeoutSeconds: timeout)
                    })
            }
        }
    }

    private func explained(_ failure: UnixConnection.Failure) -> APIFailure {
        switch failure {
        case .notConnected(EACCES), .notConnected(EPERM):
            APIFailure(
                .permission, "you may not use \(self.socketPath)", remedy: "run the command with sudo")
        case .notConnected(ENAMETOOLONG):
            APIFailure(
                .usage, "the socket path \(self.socketPath) is longer than 107 bytes",
                remedy: "choose a shorter directory with --run")
        case .notConnected(let reason):
            APIFailure(
                .error,
                "the daemon does not answer on \(self.socketPath) (\(SystemText.error(reason).lowercased()))",
                remedy:
                    "start it with `holdfast daemon` or `systemctl start holdfast`, or name its directory with --run")
        case .timedOut:
            APIFailure(
                .timeout, "the daemon did not answer on \(self.socketPath) in time",
                remedy: "look at `holdfast status` and at the log of the daemon; the request may still take effect")
        case .broken(let reason):
            APIFailure(
                .error, "the connection to the daemon on \(self.socketPath) broke: \(reason)",
                remedy: "try again; if it goes on, see the log of the daemon")
        }
    }
}

/// The client offers what the backend behind the socket does.
extension APIClient: APIBackend {
    /// `GET /v1/status`.
    public func status() async throws -> StatusReport { try await self.get("/v1/status") }
    /// `GET /v1/status?consistent=1`.
    public func consistentStatus() async throws -> StatusReport { try await self.get("/v1/status?consistent=1") }
    /// `GET /v1/policy`.
    public func policy() async throws -> PolicyReport { try await self.get("/v1/policy") }
    /// `POST /v1/plan`.
    public func plan(_ request: PlanRequest) async throws -> PlanReport { try await self.post("/v1/plan", request) }
    /// `POST /v1/apply`.
    public func apply(_ request: ApplyRequest) async throws -> MutationResult {
        try await self.post("/v1/apply", request)
    }
    /// `POST /v1/groups/GROUP/move`.
    public func groupMove(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/groups/\(group)/move", request)
    }
    /// `POST /v1/groups/GROUP/start`.
    public func groupStart(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/groups/\(group)/start", request)
    }
    /// `POST /v1/groups/GROUP/declare-absent`.
    public func groupDeclareAbsent(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/groups/\(group)/declare-absent", request)
    }
    /// `POST /v1/groups/GROUP/stop`.
    public func groupStop(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/groups/\(group)/stop", request)
    }
    /// `POST /v1/groups/GROUP/confirm-stopped`.
    public func groupConfirmStopped(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/groups/\(group)/confirm-stopped", request)
    }
    /// `POST /v1/nodes/NODE/drain`.
    public func nodeDrain(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/nodes/\(node)/drain", request)
    }
    /// `POST /v1/nodes/NODE/undrain`.
    public func nodeUndrain(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/nodes/\(node)/undrain", request)
    }
    /// `POST /v1/nodes/NODE/shutdown`.
    public func nodeShutDown(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/nodes/\(node)/shutdown", request)
    }
    /// `POST /v1/nodes/NODE/original`.
    public func nodeOriginal(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/nodes/\(node)/original", request)
    }
    /// `POST /v1/nodes/NODE/expect-pause`.
    public func nodeExpectPause(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/nodes/\(node)/expect-pause", request)
    }
    /// `POST /v1/nodes/NODE/set`.
    public func nodeSet(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/nodes/\(node)/set", request)
    }
    /// `POST /v1/nodes/NODE/remove`.
    public func nodeRemove(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/nodes/\(node)/remove", request)
    }
    /// `POST /v1/nodes/NODE/keep`.
    public func nodeKeep(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/nodes/\(node)/keep", request)
    }
    /// `GET /v1/recovery`.
    public func recovery() async throws -> RecoveryReport { try await self.get("/v1/recovery") }
    /// `POST /v1/recovery`.
    public func recover(_ request: RecoveryRequest) async throws -> MutationResult {
        try await self.post("/v1/recovery", request)
    }
    /// `GET /v1/backup`.
    public func backup(isStale: Bool) async throws -> BackupReport {
        try await self.get("/v1/backup?stale=\(isStale ? 1 : 0)")
    }
    /// `POST /v1/rejoin`.
    public func rejoin() async throws -> MutationResult { try await self.post("/v1/rejoin", MutationRequest()) }
    /// `GET /v1/upgrade`.
    public func upgrade() async throws -> UpgradeReport { try await self.get("/v1/upgrade") }
    /// `POST /v1/upgrade/finalize`.
    public func upgradeFinalize(_ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/upgrade/finalize", request)
    }
    /// `POST /v1/leader/transfer`.
    public func leaderTransfer(_ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/leader/transfer", request)
    }
    /// `POST /v1/note`.
    public func note(_ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/note", request)
    }
    /// `POST /v1/volumes/VOLUME/resync`.
    public func volumeResync(_ volume: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/volumes/\(volume)/resync", request)
    }
    /// `POST /v1/volumes/VOLUME/accept-loss`.
    public func volumeAcceptLoss(_ volume: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/volumes/\(volume)/accept-loss", request)
    }
    /// `POST /v1/volumes/VOLUME/allow-repair`.
    public func volumeAllowRepair(_ volume: String, _ request: MutationRequest) async throws -> MutationResult {
        try await self.post("/v1/volumes/\(volume)/allow-repair", request)
    }
    /// `GET /v1/attributes`.
    public func attributes(scope: String?, isStale: Bool) async throws -> AttributesReport {
        try await self.get("/v1/attributes?stale=\(isStale ? 1 : 0)" + (scope.map { "&scope=\($0)" } ?? ""))
    }
    /// `GET /v1/attributes/SCOPE/NAME`.
    public func attribute(_ scope: String, _ name: String, isStale: Bool) async throws -> AttributesReport {
        try await self.get("/v1/attributes/\(scope)/\(name)?stale=\(isStale ? 1 : 0)")
    }
    /// `POST /v1/attributes/SCOPE/NAME/put`.
    public func attributePut(
        _ scope: String, _ name: String, _ request: AttributeRequest
    ) async throws -> MutationResult {
        try await self.post("/v1/attributes/\(scope)/\(name)/put", request)
    }
    /// `POST /v1/attributes/SCOPE/NAME/delete`.
    public func attributeDelete(
        _ scope: String, _ name: String, _ request: AttributeRequest
    ) async throws -> MutationResult {
        try await self.post("/v1/attributes/\(scope)/\(name)/delete", request)
    }
    /// `GET /v1/events`.
    public func events(after: UInt64, limit: Int, latest: Bool, waitSeconds: Double) async throws -> EventsReport {
        try await self.get(
            "/v1/events?after=\(after)&limit=\(limit)&latest=\(latest ? 1 : 0)&wait=\(waitSeconds)",
            waitSeconds: waitSeconds)
    }
    /// `GET /v1/groups/GROUP/explain`.
    public func explain(_ group: String) async throws -> ExplainReport {
        try await self.get("/v1/groups/\(group)/explain")
    }
    /// `GET /v1/counters`.
    public func counters() async throws -> CountersReport { try await self.get("/v1/counters") }
    /// `GET /v1/agents`.
    public func agents() async throws -> AgentsReport { try await self.get("/v1/agents") }
    /// `GET /v1/agents/AGENT`.
    public func agent(_ name: String) async throws -> AgentReport { try await self.get("/v1/agents/\(name)") }
    /// `GET /v1/certificates`.
    public func certificates() async throws -> CertificatesReport { try await self.get("/v1/certificates") }
    /// `POST /v1/certificates/renew`.
    public func certificatesRenew() async throws -> MutationResult {
        try await self.post("/v1/certificates/renew", MutationRequest())
    }
    /// `POST /v1/certificates/rotate`.
    public func certificatesRotate(_ request: RotateRequest) async throws -> MutationResult {
        try await self.post("/v1/certificates/rotate", request)
    }
    /// `GET /v1/tokens`.
    public func tokens() async throws -> TokensReport { try await self.get("/v1/tokens") }
    /// `POST /v1/tokens/ID/revoke`.
    public func revokeToken(_ id: String) async throws -> MutationResult {
        try await self.post("/v1/tokens/\(id)/revoke", MutationRequest())
    }
    /// `POST /v1/token`.
    public func createToken() async throws -> TokenReport { try await self.post("/v1/token", MutationRequest()) }
}
