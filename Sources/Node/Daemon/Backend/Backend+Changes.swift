import Basis
import Cluster
import Raft
import Reports
import Resources

/// What operators ask for.
extension Backend {
    func groupMove(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.checked(request)
        let record = try self.group(group, state)
        guard let policy = state.policy.group(record.name) else { throw self.unknownGroup(group, state) }
        let target: String
        if let to = request.to {
            target = to
        } else {
            let observation = state.observation
            guard let observed = observation.group(record.name),
                let best = Eligibility(observed, policy, observation).candidates.first(where: { $0 != observed.owner })
            else {
                throw APIFailure(
                    .refused, "no other node may run \(group) now", remedy: "see `holdfast explain \(group)`")
            }
            target = best
        }
        let node = try self.node(target, state)
        if let owner = record.assignment, owner.node == node.id, owner.releasing == nil,
            record.target == nil || record.target == node.id
        {
            return MutationResult(accepted: !request.dryRun, sentence: "\(group) is on \(target) already")
        }
        return try await self.change(
            .move(record.name, to: node.id), request, state, "\(group) moves to \(target)")
    }

    func groupStart(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.checked(request)
        let record = try self.group(group, state)
        return try await self.change(
            .want(record.name, isRunning: true), request, state, "\(group) is wanted running; its failures are forgiven"
        )
    }

    func groupStop(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.checked(request)
        let record = try self.group(group, state)
        return try await self.change(
            .want(record.name, isRunning: false), request, state,
            "\(group) stays stopped until `holdfast group start \(group)`")
    }

    func groupConfirmStopped(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.checked(request)
        let record = try self.group(group, state)
        guard let to = request.to, let statement = request.statement, !statement.isEmpty else {
            throw APIFailure(
                .usage, "a node and a statement are missing",
                remedy: "write `holdfast group confirm-stopped \(group) --on NODE --statement TEXT`")
        }
        let node = try self.node(to, state)
        return try await self.change(
            .confirmStopped(record.name, node.id, statement: statement), request, state,
            "nothing of \(group) is left on \(to), says an operator")
    }

    func nodeDrain(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.checked(request)
        let record = try self.node(node, state)
        return try await self.change(
            .drain(record.id, isDrained: true), request, state, "every group leaves \(node), and none comes to it")
    }

    func nodeUndrain(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.checked(request)
        let record = try self.node(node, state)
        return try await self.change(
            .drain(record.id, isDrained: false), request, state, "groups may come to \(node) again")
    }

    func nodeExpectPause(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.checked(request)
        let record = try self.node(node, state)
        let length = Span.milliseconds(request.milliseconds ?? 0)
        let sentence =
            length > .zero
            ? "\(node) may be silent for \(length.milliseconds / 1000) s: nothing is taken over from it meanwhile"
            : "the silence of \(node) counts again"
        return try await self.change(.expectPause(record.id, record.incarnation, length), request, state, sentence)
    }

    func nodeShutDown(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        let view = try await self.view()
        let record = try self.node(node, view.supervisor.state)
        guard record.id == self.file.id else {
            throw APIFailure(
                .refused, "\(node) is another machine, and only its own daemon can shut it down",
                remedy: "run `holdfast node shutdown` on \(node), or `holdfast node drain \(node)` here")
        }
        let sentence = "what \(node) runs moves or stops, and its daemon may end then"
        if request.dryRun { return MutationResult(accepted: false, sentence: sentence) }
        guard case .shuttingDown(let left) = await self.ask(.shutDown) else {
            throw APIFailure(.noQuorum, "the daemon does not answer", remedy: "see its log")
        }
        return MutationResult(
            accepted: left == nil, sentence: left ?? "nothing runs on \(node), and it holds no lease any more")
    }

    func leaderTransfer(_ request: MutationRequest) async throws -> MutationResult {
        let view = try await self.view()
        let state = view.supervisor.state
        let target = try request.to.map { try self.node($0, state) }
        if let target, !view.supervisor.consensus.membership.isVoter(target.id) {
            throw APIFailure(
                .refused, "\(target.about.name) has no vote, so it cannot lead", remedy: "see `holdfast status`")
        }
        if let target, target.about.isWitness {
            throw APIFailure(
                .refused, "\(target.about.name) is a witness, which leads only while no member can",
                remedy: "name a member; see `holdfast status`")
        }
        let sentence = target.map { "leadership goes to \($0.about.name)" } ?? "leadership goes to the best other voter"
        if request.dryRun { return MutationResult(accepted: false, sentence: sentence) }
        guard await self.ask(.transferLeadership(to: target?.id)) != .noQuorum else {
            throw APIFailure(
                .noQuorum, "no leader is known", remedy: "wait for an election; see `holdfast status`")
        }
        return MutationResult(accepted: true, sentence: sentence)
    }

    func note(_ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.checked(request)
        guard let text = request.statement else {
            throw APIFailure(.usage, "the text is missing", remedy: "write `holdfast note TEXT`")
        }
        let node = try request.to.map { try self.node($0, state) }
        return try await self.change(
            .note(text, about: node?.id), request, state, "it is among the events of the cluster")
    }

    func volumeResync(_ volume: String, _ request: MutationRequest) async throws -> MutationResult {
        let view = try await self.view()
        let state = view.supervisor.state
        guard let record = state.volume(VolumeName(volume)) else {
            let known = state.volumes.map(\.name.rawValue)
            throw APIFailure(
                .notFound, "there is no volume \(volume)",
                remedy: known.isEmpty ? "the configuration has none" : "there is \(known.joined(separator: ", "))")
        }
        guard record.owner != nil else {
            throw APIFailure(
                .refused, "\(volume) is open nowhere, so there is nothing to compare with",
                remedy: "start the group that uses it first")
        }
        if let wanted = request.to, record.owner == state.node(named: wanted)?.id, record.definition.replicas.count > 1
        {
            throw APIFailure(
                .refused, "\(wanted) owns \(volume): the other copies are compared with the one there",
                remedy: "leave out --node, or name the node of another copy")
        }
        let sentence = "every block of \(volume) is compared again; progress is in `holdfast volume status \(volume)`"
        if request.dryRun { return MutationResult(accepted: false, sentence: sentence) }
        _ = try await self.propose(.compare(record.name))
        return MutationResult(accepted: true, sentence: sentence)
    }

    // MARK: Shared

    /// The state, if the caller's idea of the configuration is the one in force.
    func checked(_ request: MutationRequest) async throws -> ClusterState {
        let state = try await self.view().supervisor.state
        if let expected = request.expectedIndex, LogIndex(expected) != state.policyIndex {
            throw self.conflict(LogIndex(expected), state)
        }
        return state
    }

    func group(_ name: String, _ state: ClusterState) throws -> ClusterState.GroupRecord {
        guard let record = state.group(GroupName(name)) else { throw self.unknownGroup(name, state) }
        return record
    }

    func node(_ name: String, _ state: ClusterState) throws -> ClusterState.NodeRecord {
        guard let record = state.node(named: name) else {
            throw APIFailure(
                .notFound, "there is no node \(name)",
                remedy: "there is \(state.nodes.map(\.about.name).joined(separator: ", "))")
        }
        return record
    }

    /// Proposes a command, or says what it would lead to.
    func change(
        _ command: Command, _ request: MutationRequest, _ state: ClusterState, _ sentence: String
    ) async throws -> MutationResult {
        let forecast = Forecast(of: command, from: self.file.id, in: state)
        if request.dryRun {
            if case .refused(let refusal) = forecast.outcome { throw Self.failure(refusal) }
            return MutationResult(accepted: false, sentence: sentence, actions: forecast.actions)
        }
        let index = try await self.propose(command)
        return MutationResult(accepted: true, index: index.rawValue, sentence: sentence, actions: forecast.actions)
    }
}
