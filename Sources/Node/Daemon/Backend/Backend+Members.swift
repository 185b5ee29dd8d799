import Basis
import Cluster
import Raft
import Reports
import Resources
import SecureLink

/// What operators want of the nodes themselves, and what that does to the votes. (Rules J1 to J5)
extension Backend {
    func nodeSet(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        let view = try await self.view()
        let state = try await self.checked(request)
        let record = try self.node(node, state)
        let change = try Self.change(request.node, node)
        let after = change.applied(to: record.about)
        var words: [String] = []
        if after.role != record.about.role { words.append("becomes \(after.role.words)") }
        if after.site != record.about.site { words.append("is at \(after.site)") }
        if after.address != record.about.address { words.append("is reached at \(after.address)") }
        if !change.labels.isEmpty { words.append("gets its labels") }
        if words.isEmpty { return MutationResult(accepted: !request.dryRun, sentence: "\(node) is so already") }
        return try await self.change(
            .setNode(record.id, change), request, view, "\(node) \(words.joined(separator: " and "))")
    }

    func nodeRemove(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        let view = try await self.view()
        let state = try await self.checked(request)
        let record = try self.node(node, state)
        return try await self.change(
            .retire(record.id, isRetiring: true), request, view,
            "\(node) leaves the cluster for good, once it has no group, no vote and no lease any more")
    }

    func nodeKeep(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        let view = try await self.view()
        let state = try await self.checked(request)
        let record = try self.node(node, state)
        return try await self.change(
            .retire(record.id, isRetiring: false), request, view, "\(node) stays in the cluster")
    }

    func nodeOriginal(_ node: String, _ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.checked(request)
        let record = try self.node(node, state)
        guard let words = request.machine, !words.isEmpty else {
            throw APIFailure(
                .usage, "it does not say which machine \(node) is", remedy: "give --boot, or --address")
        }
        let twin: Twin
        do { twin = try state.machine(of: record.id, called: words) } catch {
            throw Self.failure(error)
        }
        return try await self.change(
            .original(record.id, bootID: twin.bootID), request, state,
            "\(node) is the machine at \(twin.words): it gets another key, and then runs groups again; the others are let in no "
                + "more"
        )
    }

    private static func change(_ request: NodeChangeRequest?, _ node: String) throws -> NodeChange {
        guard let request else {
            throw APIFailure(
                .usage, "it does not say what should be different about \(node)",
                remedy: "give --role, --site, --address or --label")
        }
        var change = NodeChange(role: request.role.map { NodeRole($0) }, site: request.site)
        if let address = request.address {
            guard let place = HostPort(address) else {
                throw APIFailure(
                    .usage, "`\(address)` is not HOST:PORT",
                    remedy: "write it like 10.0.0.1:7400 or [fd00::1]:7400")
            }
            change.address = place.canonical.text
        }
        change.labels = (request.labels ?? [:]).sorted { $0.key < $1.key }
            .map { NodeLabel(name: $0.key, value: $0.value) }
        return change
    }

    /// Proposes it, unless fewer failures would be survived and that was not allowed.
    private func change(
        _ command: Command, _ request: MutationRequest, _ view: SupervisorView, _ sentence: String
    ) async throws -> MutationResult {
        let state = view.supervisor.state
        let forecast = Forecast(of: command, from: self.file.id, in: state)
        if case .refused(let refusal) = forecast.outcome { throw Self.failure(refusal) }
        let survival = Self.survival(from: view, to: forecast.state)
        if survival.isWorse, request.allowWorse != true, !request.dryRun {
            throw APIFailure(
                .refused, "fewer failures would be survived: \(survival.sentence)",
                remedy: "add another node first, or give --allow-worse")
        }
        var result = MutationResult(accepted: !request.dryRun, sentence: sentence, actions: forecast.actions)
        result.survival = survival
        if !request.dryRun { result.index = try await self.propose(command).rawValue }
        return result
    }

    /// What becomes of the votes, if all that are up have caught up.
    static func survival(from view: SupervisorView, to after: ClusterState) -> SurvivalReport {
        let state = view.supervisor.state
        let membership = view.supervisor.consensus.membership
        let voters = VoterChoice(of: after.nodes, voting: membership.voters) { $0.standing == .trusted }.voters
        let before = Self.survival(membership.voters, state)
        let later = Self.survival(voters, after)
        return SurvivalReport(
            votersBefore: membership.voters.map { state.name(of: $0) }.sorted(),
            votersAfter: voters.map { after.name(of: $0) }.sorted(), before: before.words, after: later.words,
            isWorse: later.isWorse(than: before))
    }

    private static func survival(_ voters: [NodeID], _ state: ClusterState) -> Survival {
        Survival(
            voters.compactMap { state.node($0) }.map { ($0.about.site, $0.standing == .trusted) })
    }
}
