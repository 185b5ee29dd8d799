import Basis
import Foundation
import Glibc
import Synchronization
import Testing

@testable import API
@testable import Reports

/// A server of a fake backend on a socket of its own.
struct ServedAPI {
    let backend: FakeBackend
    let socketPath: String
    let server: APIServer

    /// Runs `body` while the server answers; a caller that is nobody's user may be simulated by `allowed`.
    static func run(
        backend: FakeBackend = FakeBackend(), allowed: Set<UInt32>? = nil,
        _ body: @Sendable (ServedAPI) async throws -> Void
    ) async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "hf-\(UUID().uuidString.prefix(8))")
        let path = directory.appendingPathComponent("api.sock").path
        defer { try? FileManager.default.removeItem(at: directory) }
        let server = APIServer(backend: backend, socketPath: path, allowedUsers: allowed ?? [0, geteuid()])
        let (ready, signal) = AsyncStream.makeStream(of: Void.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await server.run(onRunning: { signal.finish() })
            }
            for await _ in ready {}
            try await body(ServedAPI(backend: backend, socketPath: path, server: server))
            group.cancelAll()
        }
    }

    var client: APIClient { APIClient(socketPath: self.socketPath, timeoutSeconds: 10) }
}

@Suite struct APITests {
    @Test func `a server that ends waits until who asked has an answer`() async throws {
        try await ServedAPI.run { api in
            let (waits, gate) = AsyncStream.makeStream(of: Void.self)
            api.backend.with { $0.rejoinWaits = waits }
            #expect(await api.server.finish(within: .zero))
            let answer = Task { try await api.client.rejoin() }
            while api.backend.with({ $0.calls.isEmpty }) { await Task.yield() }
            #expect(await api.server.finish(within: .milliseconds(20)) == false)
            gate.finish()
            #expect(await api.server.finish(within: .seconds(20)))
            let result = try await answer.value
            #expect(result.accepted)
            #expect(await api.server.finish(within: .seconds(20)))
        }
    }

    @Test func `what a backend answers arrives unchanged at the other end of the socket`() async throws {
        try await ServedAPI.run { api in
            let client = api.client
            #expect(try await client.status() == .sample)
            api.backend.with { $0.status = .troubled }
            #expect(try await client.status() == .troubled)
            #expect(try await client.policy().index == 17)
            #expect(try await client.plan(PlanRequest()).actions.first?.waitsFor == "the lease of tok-1")
            #expect(try await client.explain("orders").candidates.count == 2)
            #expect(try await client.createToken().token == "hf1-abc")
            #expect(
                try await client.events(after: 1199, limit: 5, latest: false, waitSeconds: 0).events.map(\.index) == [
                    1207
                ])
            let moved = try await client.groupMove(
                "orders", MutationRequest(to: "osk-1", expectedIndex: 3, dryRun: true))
            #expect(moved.accepted == false)
            _ = try await client.groupStart("orders", MutationRequest())
            _ = try await client.groupStop("orders", MutationRequest())
            _ = try await client.nodeDrain("osk-1", MutationRequest())
            _ = try await client.nodeUndrain("osk-1", MutationRequest())
            _ = try await client.leaderTransfer(MutationRequest(to: "osk-1"))
            _ = try await client.volumeResync("pgdata", MutationRequest())
            #expect(
                api.backend.with { $0.calls } == [
                    "plan 0", "events after 1199 limit 5 wait 0.0", "move orders to osk-1 at 3 (dry run)",
                    "start orders",
                    "stop orders", "drain osk-1", "undrain osk-1", "transfer to osk-1", "resync pgdata",
                ])
        }
    }

    @Test(arguments: FailureCode.allCases)
    func `a failure keeps its code, message and remedy over the wire`(code: FailureCode) async throws {
        let failure = APIFailure(code, "what happened", remedy: "what to do", details: ["one", "two"])
        let backend = FakeBackend()
        backend.with { $0.failure = failure }
        let answer = await APIRoutes(backend: backend).answer(
            APIRoutes.Request(method: "POST", path: "/v1/groups/orders/stop"))
        #expect(answer.status == code.httpStatus)
        #expect(APIFailure(try APICoding.decode(ErrorReport.self, from: answer.body)) == failure)
    }

    @Test func `every failure code has its own exit code from 1 to 10`() {
        #expect(FailureCode.allCases.map(\.exitCode) == Array(1...10))
    }

    @Test func `mistakes in a document come back one per line`() async throws {
        try await ServedAPI.run { api in
            let failure = await #expect(throws: APIFailure.self) {
                try await api.client.apply(ApplyRequest(text: "clutser: prod\n", path: "my.yaml"))
            }
            #expect(failure?.code == .usage)
            #expect(failure?.details.count == 2)
            #expect(failure?.details.first?.hasPrefix("my.yaml:1:1: error: ") == true)
        }
    }

    @Test func `the socket is for its owner only`() async throws {
        try await ServedAPI.run { api in
            let attributes = try FileManager.default.attributesOfItem(atPath: api.socketPath)
            #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
        }
        try await ServedAPI.run(allowed: [4_000_000]) { api in
            let failure = await #expect(throws: APIFailure.self) { try await api.client.status() }
            #expect(failure?.code == .permission)
        }
    }

    @Test func `the socket of a dead daemon is replaced, that of a living one is not`() async throws {
        try await ServedAPI.run { api in
            let second = APIServer(backend: FakeBackend(), socketPath: api.socketPath)
            await #expect(throws: APIServerError.alreadyRunning(path: api.socketPath)) { try await second.run() }
            let report = try await api.client.status()
            #expect(report == .sample)
        }
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "hf-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appendingPathComponent("api.sock").path
        try Data("precious".utf8).write(to: URL(fileURLWithPath: path))
        await #expect(throws: APIServerError.notASocket(path: path)) {
            try await APIServer(backend: FakeBackend(), socketPath: path).run()
        }
        let long = "/tmp/" + String(repeating: "x", count: 110)
        await #expect(throws: APIServerError.pathTooLong(path: long)) {
            try await APIServer(backend: FakeBackend(), socketPath: long).run()
        }
    }

    @Test func `a daemon that does not run is named together with how to start it`() async throws {
        let failure = await #expect(throws: APIFailure.self) {
            try await APIClient(socketPath: "/nonexistent/api.sock").status()
        }
        #expect(failure?.message == "the daemon does not answer on /nonexistent/api.sock (no such file or directory)")
        #expect(failure?.remedy.contains("systemctl start holdfast") == true)
    }

    @Test func `requests that make no sense are refused by name`() async throws {
        let routes = APIRoutes(backend: FakeBackend())
        for (method, path, status) in [
            ("GET", "/", 404), ("GET", "/v2/status", 404), ("POST", "/v1/status", 404),
            ("GET", "/v1/groups/a/move", 404),
            ("DELETE", "/v1/groups/a/move", 404), ("POST", "/v1/groups/a/explode", 404), ("POST", "/v1/apply", 400),
        ] {
            let answer = await routes.answer(APIRoutes.Request(method: method, path: path))
            #expect(answer.status == status, "\(method) \(path)")
        }
        for query in [["after": "x"], ["limit": "0"], ["wait": "31"], ["wait": "-1"], ["wait": "nan"]] {
            let answer = await routes.answer(APIRoutes.Request(method: "GET", path: "/v1/events", query: query))
            #expect(answer.status == 400, "\(query)")
        }
    }

    @Test func `many clients at once are all answered`() async throws {
        try await ServedAPI.run { api in
            try await withThrowingTaskGroup(of: StatusReport.self) { group in
                for _ in 0..<50 { group.addTask { try await api.client.status() } }
                for try await report in group { #expect(report == .sample) }
            }
        }
    }
}
