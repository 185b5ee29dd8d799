import Basis
import Raft
import Resources
import SecureLink

/// What the API does: reads look at the supervisor, changes go through the log.
struct Backend: APIBackend {
    let loop: DaemonLoop
    let queue: WaitingLock<[DaemonLoop.Item]>
    let joins: JoinServer
    let file: NodeFile
    /// Where the guard leaves its note about the watchdog.
    var runDirectory = ""

    private static let eventPoll = Span.milliseconds(150)

    // MARK: Looking

    func view() async throws -> DaemonLoop.View {
        guard let view = await DaemonLoop.view(self.loop, queue: self.queue) else {
            throw APIFailure(.error, "the daemon is starting", remedy: "ask again in a moment")
        }
        return view
    }

    func status() async throws -> StatusReport {
        StatusBuilder(try await self.view(), watchdog: WatchdogNote.read(runDirectory: self.runDirectory)).report(
            clusterName: self.file.cluster, nodeName: self.file.name)
    }

    func policy() async throws -> PolicyReport {
        let state = try await self.view().supervisor.state
        return PolicyReport(text: ConfigurationWriter.render(state.policy), index: state.policyIndex.rawValue)
    }

    func explain(_ group: String) async throws -> ExplainReport {
        let view = try await self.view()
        guard let report = Explainer(status: StatusBuilder(view)).report(group) else {
            throw self.unknownGroup(group, view.supervisor.state)
        }
        return report
    }

    func events(after: UInt64, limit: Int, latest: Bool, waitSeconds: Double) async throws -> EventsReport {
        let end = MachineClock.now + .milliseconds(UInt64(max(0, waitSeconds) * 1000))
        while true {
            let state = try await self.view().supervisor.state
            let found = state.events.filter { $0.index.rawValue > after }
            if !found.isEmpty || MachineClock.now >= end {
                var page = Array(latest ? found.suffix(max(1, limit)) : found.prefix(max(1, limit)))
                let older = latest ? found.count - page.count : 0
                // All events of one entry belong to one page: the next begins after its index.
                if let last = page.last, !latest {
                    page += found.dropFirst(page.count).prefix { $0.index == last.index }
                }
                return EventsReport(
                    events: page.map { EventReport($0, state) }, nextAfter: page.last?.index.rawValue ?? after,
                    older: older)
            }
            try await Task.sleep(nanoseconds: Self.eventPoll.nanoseconds)
        }
    }

    func createToken() async throws -> TokenReport {
        guard self.joins.keepsAuthority else {
            throw APIFailure(
                .refused, "\(self.file.name) does not keep the key of the cluster's authority",
                remedy: "run `holdfast token` on the node that ran `holdfast init`")
        }
        let token = try self.joins.createToken()
        return TokenReport(token: token.description, validSeconds: JoinServer.validity.milliseconds / 1000)
    }

    // MARK: Plans

    func plan(_ request: PlanRequest) async throws -> PlanReport {
        let state = try await self.view().supervisor.state
        guard let text = request.text else {
            return PlanReport(
                basedOnIndex: state.policyIndex.rawValue, actions: self.actions(state.policy, state.observation))
        }
        let (policy, _) = try self.read(text, request.path, state)
        return PlanReport(
            basedOnIndex: state.policyIndex.rawValue,
            changes: PolicyDifference.sentences(from: state.policy, to: policy),
            actions: try self.forecast(policy, text, state))
    }

    /// What the planner would do under another policy, on a copy of the state.
    private func forecast(_ policy: ClusterPolicy, _ text: String, _ state: ClusterState) throws -> [PlanReport.Action]
    {
        var fork = state
        func apply(_ command: Command) -> Outcome {
            fork.apply(
                LogCommand(
                    origin: self.file.id, nonce: 0, sequence: 0, clusterMilliseconds: state.clusterMilliseconds,
                    wallMilliseconds: state.wallMilliseconds, command: command),
                at: fork.appliedIndex.next)
        }
        let outcome = apply(.configure(policy, text: text, expectedIndex: state.policyIndex))
        if case .refused(let reason) = outcome { throw Self.refusal(reason) }
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
        return self.restarts(policy, state) + volumes + self.actions(policy, fork.observation, unborn: unborn)
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

    private func actions(
        _ policy: ClusterPolicy, _ observation: Observation, unborn: [GroupName] = []
    ) -> [PlanReport.Action] {
        Planner.plan(policy: policy, observation: observation).actions.map { action in
            PlanReport.Action(
                sentence: action.briefSentence, reason: action.reason,
                waitsFor: unborn.contains(action.group)
                    ? "every member of its list reports that nothing of it runs there (B2)" : nil)
        }
    }

    func apply(_ request: ApplyRequest) async throws -> MutationResult {
        let state = try await self.view().supervisor.state
        let (policy, warnings) = try self.read(request.text, request.path, state)
        let expected = request.expectedIndex.map { LogIndex($0) } ?? state.policyIndex
        guard expected == state.policyIndex else { throw self.conflict(expected, state) }
        let changes = PolicyDifference.sentences(from: state.policy, to: policy)
        let actions = try self.forecast(policy, request.text, state)
        if request.dryRun {
            return MutationResult(
                accepted: false, sentence: "nothing was changed (dry run)", changes: changes, actions: actions,
                warnings: warnings)
        }
        if changes.isEmpty, state.policyIndex != .zero {
            return MutationResult(
                accepted: true, sentence: "the configuration says the same already", warnings: warnings)
        }
        let index = try await self.propose(.configure(policy, text: request.text, expectedIndex: expected))
        return MutationResult(
            accepted: true, index: index.rawValue, sentence: "the configuration is in force",
            changes: changes, actions: actions, warnings: warnings)
    }

    private func read(
        _ text: String, _ path: String, _ state: ClusterState
    ) throws -> (policy: ClusterPolicy, warnings: [String]) {
        let known = state.nodes.map { record in
            KnownNode(
                name: record.about.name, site: record.about.site, role: record.about.isWitness ? .witness : .member)
        }
        let outcome = ConfigurationReader.read(
            text, knownNodes: known, clusterName: state.clusterName, path: path)
        guard let policy = outcome.policy else {
            let count = outcome.errors.count
            throw APIFailure(
                .usage, "\(path) has \(count) mistake\(count == 1 ? "" : "s"); nothing was changed",
                remedy: "correct \(count == 1 ? "it" : "them"), then try again",
                details: outcome.diagnostics.map(\.description))
        }
        return (policy, outcome.warnings.map(\.description))
    }

    // MARK: Proposing

    /// Replicates a command and returns the index at which it was accepted.
    func propose(_ command: Command) async throws -> LogIndex {
        switch await self.ask(.propose(command)) {
        case .applied(.accepted, let index): return index
        case .applied(.refused(let reason), _): throw Self.refusal(reason)
        case .handedOn: return .zero
        case .noQuorum:
            throw APIFailure(
                .noQuorum, "no majority of voters answered in time; the change may still take effect",
                remedy: "look at `holdfast status`, and try again once a majority is back")
        }
    }

    func ask(_ request: ClientRequest) async -> ClientReply {
        let answer = OneAnswer<ClientReply>()
        self.queue.change { $0.append(.request(request) { answer.give($0) }) }
        // The supervisor gives up after ten seconds; a loop that its disk holds up does not.
        let limit = Task {
            try? await Task.sleep(nanoseconds: Span.seconds(15).nanoseconds)
            answer.give(.noQuorum)
        }
        defer { limit.cancel() }
        return await answer.value()
    }

    static func refusal(_ reason: String) -> APIFailure {
        reason.hasPrefix("the configuration was changed meanwhile")
            ? APIFailure(.conflict, reason, remedy: "")
            : APIFailure(.refused, reason, remedy: "see `holdfast status` and `holdfast explain`")
    }

    func conflict(_ expected: LogIndex, _ state: ClusterState) -> APIFailure {
        APIFailure(
            .conflict, "the configuration in force has index \(state.policyIndex), not \(expected)",
            remedy: "look at the difference with `holdfast plan FILE`, then apply with --index \(state.policyIndex)")
    }

    func unknownGroup(_ name: String, _ state: ClusterState) -> APIFailure {
        let known = state.groups.map(\.name.rawValue)
        return APIFailure(
            .notFound, "there is no group \(name)",
            remedy: known.isEmpty ? "the configuration has none yet" : "there is \(known.joined(separator: ", "))")
    }
}

extension Plan.Action {
    /// The sentence without its reason.
    var briefSentence: String {
        let tail = ", because \(self.reason)"
        return self.sentence.hasSuffix(tail) ? String(self.sentence.dropLast(tail.count)) : self.sentence
    }
}
