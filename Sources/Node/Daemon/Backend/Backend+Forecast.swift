import Basis
import Cluster
import ClusterConfiguration
import Reports
import Resources

/// What a configuration would lead to, and putting one into force.
extension Backend {
    func plan(_ request: PlanRequest) async throws -> PlanReport {
        let state = try await self.view().supervisor.state
        guard let text = request.text else {
            return PlanReport(basedOnIndex: state.policyIndex.rawValue, actions: Forecast.present(state))
        }
        let (policy, warnings) = try await self.read(text, request.path, state)
        let forecast = try self.forecast(policy, text, state)
        return PlanReport(
            basedOnIndex: state.policyIndex.rawValue,
            changes: PolicyDifference.sentences(from: state.policy, to: policy), actions: forecast.actions,
            interruptions: forecast.interruptions, removals: forecast.impact.removals, warnings: warnings)
    }

    private func forecast(
        _ policy: ClusterPolicy, _ text: String, _ state: ClusterState
    ) throws -> ConfigurationForecast {
        do {
            return try ConfigurationForecast(of: policy, text: text, from: self.file.id, in: state)
        } catch {
            throw Self.failure(error)
        }
    }

    func apply(_ request: ApplyRequest) async throws -> MutationResult {
        let state = try await self.view().supervisor.state
        let (policy, warnings) = try await self.read(request.text, request.path, state)
        let expected = request.expectedIndex.map { LogIndex($0) } ?? state.policyIndex
        guard expected == state.policyIndex else { throw self.conflict(expected, state) }
        let changes = PolicyDifference.sentences(from: state.policy, to: policy)
        let forecast = try self.forecast(policy, request.text, state)
        var result = MutationResult(
            accepted: false, sentence: "nothing was changed (dry run)", changes: changes, actions: forecast.actions,
            warnings: warnings)
        result.interruptions = forecast.interruptions
        result.removals = forecast.impact.removals
        result.touched = forecast.impact.touched.map(\.rawValue)
        if request.dryRun { return result }
        guard result.removals.isEmpty || request.allowRemoval == true else { throw Self.unasked(result.removals) }
        if changes.isEmpty, state.policyIndex != .zero {
            return MutationResult(
                accepted: true, sentence: "the configuration says the same already", warnings: warnings)
        }
        let index = try await self.propose(.configure(policy, text: request.text, expectedIndex: expected))
        result.accepted = true
        result.index = index.rawValue
        result.sentence = "The configuration is in force"
        return result
    }

    /// A file that lacks something may be the wrong file.
    static func unasked(_ removals: [String]) -> APIFailure {
        APIFailure(
            .refused, "the configuration in force has what this one lacks; nothing was changed",
            remedy: "put it back, or apply with --allow-removal to remove it", details: removals.map { "removes \($0)" }
        )
    }

    /// The policy of a document, as the machines that it names can run it. Throws every mistake at once.
    private func read(
        _ text: String, _ path: String, _ state: ClusterState
    ) async throws -> (policy: ClusterPolicy, warnings: [String]) {
        let known = state.nodes.map { record in
            KnownNode(
                name: record.about.name, site: record.about.site, role: NodeReport.Role(record.about.role),
                address: record.about.address)
        }
        let outcome = ConfigurationReader.read(
            text, knownNodes: known, clusterName: state.clusterName, path: path)
        guard let policy = outcome.policy else { throw Self.mistakes(outcome.diagnostics, path) }
        let inspection = ConfigurationInspection(policy, old: state.policy)
        let inspected = await self.inspect(inspection, state)
        let found = inspection.findings(inspected.answers).map { finding in
            outcome.diagnostic(
                at: finding.path, finding.reason, finding.remedy, severity: finding.isOld ? .warning : .error)
        }
        guard !found.contains(where: { $0.severity == .error }) else {
            throw Self.mistakes(outcome.diagnostics + found, path)
        }
        let timed = inspection.withRecommendedTimes(
            unset: outcome.unsetTimes, old: state.policy, inspected.answers)
        return (timed, (outcome.warnings + found).map(\.description) + inspected.silent)
    }

    private static func mistakes(_ diagnostics: [Diagnostic], _ path: String) -> APIFailure {
        let count = diagnostics.filter { $0.severity == .error }.count
        return APIFailure(
            .usage, "\(path) has \(count) mistake\(count == 1 ? "" : "s"); nothing was changed",
            remedy: "correct \(count == 1 ? "it" : "them"), then try again", details: diagnostics.map(\.description))
    }
}
