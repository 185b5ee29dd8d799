import Foundation
import Synchronization

@testable import API
@testable import ClusterConfiguration
@testable import Daemon
@testable import Reports

/// A cluster that only exists in memory: answers what it was given, and remembers what it was asked.
final class FakeBackend: APIBackend {
    struct State {
        var status: StatusReport = .sample
        var events: [EventReport] = EventReport.samples
        var calls: [String] = []
        var failure: APIFailure?
        /// What a new configuration would stop, and remove.
        var interruptions: [PlanReport.Interruption] = []
        var removals: [String] = []
        /// What becomes of the status after each call that reads it.
        var later: [StatusReport] = []
        /// What a rejoin waits for before it answers.
        var rejoinWaits: AsyncStream<Void>?
    }
    let state = Mutex(State())

    func with<Value: Sendable>(_ body: @Sendable (inout State) -> Value) -> Value {
        self.state.withLock { state in body(&state) }
    }

    func record(_ call: String) throws {
        let failure = self.state.withLock { state in
            state.calls.append(call)
            return state.failure
        }
        if let failure { throw failure }
    }

    private func mutate(_ call: String, _ request: MutationRequest) throws -> MutationResult {
        let target = request.to.map { " to \($0)" } ?? ""
        let index = request.expectedIndex.map { " at \($0)" } ?? ""
        try self.record(call + target + index + (request.dryRun ? " (dry run)" : ""))
        return MutationResult(
            accepted: !request.dryRun, index: request.dryRun ? 0 : 1208, sentence: "\(call)\(target)",
            actions: [PlanReport.Action(sentence: "stop orders on tok-1", reason: "an operator asked for it")])
    }

    func status() async throws -> StatusReport {
        self.state.withLock { state in
            let report = state.status
            if !state.later.isEmpty { state.status = state.later.removeFirst() }
            return report
        }
    }
    func consistentStatus() async throws -> StatusReport {
        try self.record("consistent status")
        return try await self.status()
    }
    func policy() async throws -> PolicyReport { PolicyReport(text: "cluster: prod\n", index: 17) }
    func plan(_ request: PlanRequest) async throws -> PlanReport {
        try self.record("plan \(request.text?.count ?? 0)")
        let (interruptions, removals) = self.with { ($0.interruptions, $0.removals) }
        return PlanReport(
            basedOnIndex: 17, changes: request.text == nil ? [] : ["group orders: takeover changes"],
            actions: [
                PlanReport.Action(
                    sentence: "start orders on osk-1", reason: "tok-1 is lost (L6)", waitsFor: "the lease of tok-1")
            ], interruptions: interruptions, removals: removals)
    }
    func apply(_ request: ApplyRequest) async throws -> MutationResult {
        let outcome = ConfigurationReader.read(request.text, clusterName: "prod", path: request.path)
        guard outcome.policy != nil else {
            throw APIFailure(
                .usage, "\(request.path) has \(outcome.errors.count) mistakes",
                remedy: "correct them and apply it again",
                details: outcome.diagnostics.map(\.description))
        }
        if let expected = request.expectedIndex, expected != 17 {
            throw APIFailure(
                .conflict, "the configuration is at index 17, not \(expected)", remedy: "run `holdfast plan` again")
        }
        let (interruptions, removals) = self.with { ($0.interruptions, $0.removals) }
        if !removals.isEmpty, request.allowRemoval != true, !request.dryRun { throw Backend.unasked(removals) }
        try self.record("apply" + (request.dryRun ? " (dry run)" : ""))
        if !request.dryRun {
            self.with { state in
                state.status.policyIndex = 18
                for place in state.later.indices { state.later[place].policyIndex = 18 }
            }
        }
        var result = MutationResult(
            accepted: !request.dryRun, index: request.dryRun ? 0 : 18, sentence: "the configuration is applied",
            changes: ["group orders is new: 1 resource on tok-1 and osk-1"],
            warnings: outcome.warnings.map(\.description))
        result.interruptions = interruptions
        result.removals = removals
        result.touched = ["orders"]
        return result
    }
    func groupMove(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("move \(group)", request)
    }
    func groupStart(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("start \(group)", request)
    }
    func groupDeclareAbsent(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("declare-absent \(group) \(request.statement ?? "unsigned")", request)
    }
    func groupStop(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("stop \(group)", request)
    }
    func groupConfirmStopped(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("confirm-stopped \(group) on \(request.to ?? "?"): \(request.statement ?? "?")", request)
    }
    func nodeDrain(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("drain \(node)", request)
    }
    func nodeUndrain(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("undrain \(node)", request)
    }
    func nodeSet(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        var result = try self.mutate("set \(node)", request)
        result.survival = SurvivalReport(
            votersBefore: ["osk-1", "tok-1", "wit-1"], votersAfter: ["osk-1", "tok-1", "wit-1"],
            before: "any node, any site", after: "any node, any site", isWorse: false)
        return result
    }
    func nodeRemove(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        var result = try self.mutate("remove \(node)", request)
        result.survival = SurvivalReport(
            votersBefore: ["osk-1", "tok-1", "wit-1"], votersAfter: ["tok-1"], before: "any node, any site",
            after: "no failure", isWorse: true)
        return result
    }
    func nodeKeep(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("keep \(node)", request)
    }
    func recovery() async throws -> RecoveryReport {
        RecoveryReport(
            servedBy: "tok-1", generation: 0,
            nodes: [
                .init(name: "osk-1", answers: false, votes: true),
                .init(
                    name: "tok-1", answers: true, generation: 0, lastTerm: 7, lastIndex: 1290, committedIndex: 1288,
                    votes: true),
                .init(name: "wit-1", answers: false, votes: true),
            ], chosen: "tok-1", waitSeconds: 2.508,
            consequences: ["what the lost majority decided after entry 1290 is lost"],
            command: "holdfast cluster recover --execute --dead osk-1 --dead wit-1")
    }
    func recover(_ request: RecoveryRequest) async throws -> MutationResult {
        let starts = request.startsGroups ? ", starting the groups" : ""
        let body = MutationRequest(statement: request.statement, dryRun: request.statement == nil)
        var result = try self.mutate("go on without \(request.dead.joined(separator: " and "))\(starts)", body)
        if request.statement == nil { result.statement = "osk-1 and wit-1 are off" }
        return result
    }
    func rejoin() async throws -> MutationResult {
        let result = try self.mutate("rejoin", MutationRequest())
        if let waits = self.with({ $0.rejoinWaits }) { for await _ in waits {} }
        return result
    }
    func nodeOriginal(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("say that \(node) is the machine of \(request.machine ?? "")", request)
    }
    func nodeExpectPause(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("expect \(node) to pause for \(request.milliseconds ?? 0) ms", request)
    }
    func nodeShutDown(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("shut \(node) down", request)
    }
    func upgrade() async throws -> UpgradeReport {
        let isMixed = self.with { Set($0.status.nodes.map { $0.programs?.version }).count > 1 }
        return UpgradeReport(
            servedBy: "osk-1", featureLevel: 2, highestLevel: 3,
            nodes: [
                .init(name: "osk-1", version: "1.3.0", featureLevel: 3),
                .init(
                    name: "tok-1", version: isMixed ? "1.2.0" : "1.3.0", featureLevel: isMixed ? 2 : 3,
                    objection: isMixed ? "runs 1.2.0, which does feature level 2" : nil),
                .init(
                    name: "wit-1", version: isMixed ? nil : "1.3.0", featureLevel: isMixed ? nil : 3,
                    objection: isMixed ? "is not heard" : nil),
            ])
    }
    func upgradeFinalize(_ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("upgrade finalize", request)
    }
    func leaderTransfer(_ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("transfer", request)
    }
    func note(_ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("note \(request.statement ?? "nothing") about \(request.to ?? "nobody")", request)
    }
    func attributes(scope: String?, isStale: Bool) async throws -> AttributesReport {
        try self.record("attributes of \(scope ?? "all")" + (isStale ? " (stale)" : ""))
        return AttributesReport(
            servedBy: "osk-1", index: 1208, consistent: !isStale, ageSeconds: isStale ? 312 : nil,
            attributes: AttributeReport.samples.filter { scope == nil || $0.scope == scope })
    }
    func attribute(_ scope: String, _ name: String, isStale: Bool) async throws -> AttributesReport {
        var report = try await self.attributes(scope: scope, isStale: isStale)
        report.attributes.removeAll { $0.name != name }
        guard !report.attributes.isEmpty else {
            throw APIFailure(
                .notFound, "\(scope) has no attribute \(name)", remedy: "see `holdfast attribute list`")
        }
        return report
    }
    func attributePut(_ scope: String, _ name: String, _ request: AttributeRequest) async throws -> MutationResult {
        try self.change(scope, name, request)
        return MutationResult(
            accepted: true, index: 1209,
            sentence: "\(scope) has attribute \(name): \(request.value ?? "") \(request.lifetime ?? "forever")")
    }
    func attributeDelete(
        _ scope: String, _ name: String, _ request: AttributeRequest
    ) async throws -> MutationResult {
        try self.change(scope, name, request)
        return MutationResult(accepted: true, index: 1209, sentence: "\(scope) has no attribute \(name) any more")
    }
    private func change(_ scope: String, _ name: String, _ request: AttributeRequest) throws {
        let present = AttributeReport.samples.first { $0.scope == scope && $0.name == name }
        let isUnmet =
            request.ifAbsent == true && present != nil || request.ifValue.map { $0 != present?.value } == true
            || request.ifVersion.map { $0 != present?.version } == true
        guard isUnmet else { return try self.record("change \(name) of \(scope)") }
        throw APIFailure(
            .conflict,
            "attribute \(name) of \(scope) is not what was expected: "
                + (present.map { "its version is \($0.version)" } ?? "there is none"),
            remedy: "look at it with `holdfast attribute get`, then try again", present: present)
    }
    func volumeResync(_ volume: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("resync \(volume)", request)
    }
    func volumeAcceptLoss(_ volume: String, _ request: MutationRequest) async throws -> MutationResult {
        var result = try self.mutate("accept-loss \(volume)", request)
        result.facts = ["osk-1: epoch 1.20, in sync, last heard 3 s ago", "tok-1: epoch 1.18, not in sync"]
        return result
    }
    func volumeAllowRepair(_ volume: String, _ request: MutationRequest) async throws -> MutationResult {
        try self.mutate("allow-repair \(volume)", request)
    }
    func events(after: UInt64, limit: Int, latest: Bool, waitSeconds: Double) async throws -> EventsReport {
        try self.record("events after \(after) limit \(limit)\(latest ? " latest" : "") wait \(waitSeconds)")
        let found = self.with { $0.events.filter { $0.index > after } }
        let page = latest ? found.suffix(limit) : found.prefix(limit)
        return EventsReport(
            events: Array(page), nextAfter: page.last?.index ?? after, older: latest ? found.count - page.count : 0)
    }
    func explain(_ group: String) async throws -> ExplainReport {
        ExplainReport(
            group: group, sentence: "\(group) runs on tok-1, the most preferred node that is healthy",
            reasons: ["assigned by entry 1207"],
            candidates: [
                ExplainReport.Candidate(node: "tok-1", eligible: true, reason: "most preferred"),
                ExplainReport.Candidate(
                    node: "osk-1", eligible: false, reason: "its copy of pgdata is not in sync (V8)"),
            ], events: EventReport.samples, nextStep: "holdfast volume resync pgdata --wait",
            recovery: "if its owner dies it usually runs again in about 3.4 s")
    }
    func counters() async throws -> CountersReport {
        CountersReport(
            node: "tok-1", daemonSeconds: 93_784,
            notes: [
                .init(kind: "lease.ended", severity: "warning", count: 2),
                .init(kind: "volume.server-failed", severity: "error", count: 1),
            ], events: [.init(kind: "node.up", severity: "info", count: 12)])
    }
    func agents() async throws -> AgentsReport {
        AgentsReport(node: "tok-1", agents: ["ocf:heartbeat:Dummy", "ocf:heartbeat:IPaddr2"])
    }
    func agent(_ name: String) async throws -> AgentReport {
        guard name == "ocf:heartbeat:Dummy" else {
            throw APIFailure(.notFound, "there is no agent \(name) on tok-1", remedy: "see `holdfast agent list`")
        }
        return AgentReport(
            node: "tok-1", agent: name, summary: "Example stateless resource agent",
            parameters: [.init(name: "state", required: false, standard: "/run/x", summary: "State file")],
            actions: [.init(name: "start", timeoutSeconds: 20), .init(name: "meta-data", timeoutSeconds: nil)])
    }
    func certificates() async throws -> CertificatesReport {
        CertificatesReport(
            servedBy: "osk-1",
            notes: ["nodes tell of their certificates from feature level 3 on: this is what osk-1 has"],
            nodes: [
                .init(
                    name: "osk-1", fingerprint: "0badc0de0badc0de", authority: "feedfacefeedface",
                    renewsSeconds: 1_800_000_000, endsSeconds: 1_810_000_000, keepsAuthorityKey: true),
                .init(name: "tok-1", fingerprint: "1badc0de0badc0de", authority: "feedfacefeedface"),
                .init(
                    name: "tok-2", fingerprint: "2badc0de0badc0de", authority: "feedfacefeedface",
                    renewsSeconds: 1_700_000_000, endsSeconds: 1_710_000_000, trouble: "osk-1: no link"),
                .init(name: "wit-1"),
            ])
    }
    func certificatesRenew() async throws -> MutationResult {
        try self.record("renew certificate")
        return MutationResult(accepted: true, sentence: "osk-1 gets another certificate")
    }
    func certificatesRotate(_ request: RotateRequest) async throws -> MutationResult {
        let what = request.isCancelled ? "cancel" : request.without.isEmpty ? "begin" : "without \(request.without)"
        return try self.mutate("rotate: \(what)", MutationRequest(dryRun: request.dryRun))
    }
    func tokens() async throws -> TokensReport {
        TokensReport(
            node: "osk-1",
            tokens: [.init(id: "0badc0de", validSeconds: 3540), .init(id: "12345678", validSeconds: 60, node: "osk-2")])
    }
    func revokeToken(_ id: String) async throws -> MutationResult {
        try self.record("revoke token \(id)")
        return MutationResult(accepted: true, sentence: "the token \(id) lets nobody in any more")
    }
    func createToken() async throws -> TokenReport { TokenReport(token: "hf1-abc", validSeconds: 3600) }
}

extension AttributeReport {
    static let samples = [
        AttributeReport(scope: "cluster", name: "app.primary", value: "tok-1", version: 1201, lifetime: "forever"),
        AttributeReport(
            scope: "node:osk-1", name: "rack", value: "b\u{1B}[2J7", version: 1205, lifetime: "boot"),
    ]
}

extension EventReport {
    static let samples = [
        EventReport(
            index: 1199, wallClockMilliseconds: 1_700_000_000_000, sentence: "tok-2 is lost", rule: "L6", node: "tok-2"),
        assignment,
    ]
    private static var assignment: EventReport {
        var report = EventReport(
            index: 1207, wallClockMilliseconds: 1_700_000_001_500, sentence: "orders is assigned to tok-1", rule: "L1",
            group: "orders", node: "tok-1")
        (report.kind, report.severity, report.nodeID) = ("group.assigned", "info", 1)
        (report.epoch, report.reason) = ("1207", "it is its first choice")
        return report
    }
}
