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
            return PlanReport(
                basedOnIndex: state.policyIndex.rawValue,
                actions: self.actions(Planner.plan(policy: state.policy, observation: state.observation).actions))
        }
        let (policy, warnings) = try await self.read(text, request.path, state)
        let forecast = try self.forecast(policy, text, state)
        return PlanReport(
            basedOnIndex: state.policyIndex.rawValue,
            changes: PolicyDifference.sentences(from: state.policy, to: policy), actions: forecast.actions,
            interruptions: forecast.interruptions, removals: forecast.impact.removals, warnings: warnings)
    }

    /// What would follow from a configuration.
    private struct Forecast {
        var actions: [PlanReport.Action]
        var impact: ConfigurationImpact
        var interruptions: [PlanReport.Interruption] { self.impact.interruptions.map { .init($0) } }
    }

    /// What the planner would do under another policy, on a copy of the state.
    private func forecast(_ policy: ClusterPolicy, _ text: String, _ state: ClusterState) throws -> Forecast {
        var fork = state
        func apply(_ command: Command) -> Outcome {
            fork.apply(
                LogCommand(
                    origin: self.file.id, nonce: 0, sequence: 0, clusterMilliseconds: state.clusterMilliseconds,
                    wallMilliseconds: state.wallMilliseconds, command: command),
                at: fork.appliedIndex.next)
        }
        let outcome = apply(.configure(policy, text: text, expectedIndex: state.policyIndex))
        if case .refused(let refusal) = outcome { throw Self.failure(refusal) }
        var unborn: [GroupName] = []
        for group in fork.groups where group.epoch == .none {
            if let wanted = policy.group(group.name), !fork.unreported(group, wanted).isEmpty {
                unborn.append(group.name)
            }
        }
        for group in unborn {
            let since = fork.group(group)?.searchedSince ?? .zero
            _ = apply(.declareAbsent(group, nodes: fork.nodes.map(\.id), since: since, statement: "forecast"))
        }
        let volumes = state.volumeConsequences(of: policy).map {
            PlanReport.Action(sentence: $0, reason: "a copy counts only while it surely holds every write (V21)")
        }
        let planned = Planner.plan(policy: policy, observation: fork.observation).actions
        let releases = planned.compactMap { action -> (group: GroupName, target: String?)? in
            guard case .release(let group, _, let target) = action.step else { return nil }
            return (group, target)
        }
        return Forecast(
            actions: self.restarts(policy, state) + volumes + self.actions(planned, unborn: unborn),
            impact: ConfigurationImpact(from: state, to: policy, releases: releases))
    }

    /// What a new configuration starts again in place.
    private func restarts(_ policy: ClusterPolicy, _ state: ClusterState) -> [PlanReport.Action] {
        state.groups.compactMap { record -> PlanReport.Action? in
            guard let owner = record.assignment?.node, let old = state.policy.group(record.name)?.resources,
                let new = policy.group(record.name)?.resources
            else { return nil }
            let kept = ResourcePolicy.commonStart(old, new)
            let stopped = old[kept...].map(\.name.rawValue)
            let started = new[kept...].map(\.name.rawValue)
            guard !stopped.isEmpty || !started.isEmpty else { return nil }
            let parts = [
                stopped.isEmpty ? nil : "stop \(Suggestion.list(stopped.reversed()))",
                started.isEmpty ? nil : "start \(Suggestion.list(started))",
            ].compactMap { $0 }
            return PlanReport.Action(
                sentence: "\(parts.joined(separator: ", then ")) of \(record.name) on \(state.name(of: owner))",
                reason: "what changes is started anew in place, with all that stands on it")
        }
    }

    private func actions(_ planned: [Plan.Action], unborn: [GroupName] = []) -> [PlanReport.Action] {
        planned.map { action in
            PlanReport.Action(
                sentence: action.briefSentence, reason: action.reason,
                waitsFor: unborn.contains(action.group)
                    ? "every member of its list reports that nothing of it runs there (B2)" : nil)
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
                name: record.about.name, site: record.about.site, role: record.about.isWitness ? .witness : .member,
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

extension PlanReport.Interruption {
    /// The report of an interruption.
    init(_ interruption: ConfigurationImpact.Interruption) {
        let longest = interruption.stopLimit + interruption.startLimit
        self.init(
            group: interruption.group.rawValue, node: interruption.node, isFinal: interruption.kind == .removal,
            sentence: interruption.sentence, longestSeconds: Double(longest.milliseconds) / 1000)
    }
}
