import Basis
import Cluster
import Reports
import Resources

/// An operator's word about a group that never ran. (Rule B2)
extension Backend {
    func groupDeclareAbsent(_ group: String, _ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.checked(request)
        let record = try self.group(group, state)
        guard let policy = state.policy.group(record.name) else { throw self.unknownGroup(group, state) }
        let nodes = state.unreported(record, policy).compactMap { state.node(named: $0) }
        guard !nodes.isEmpty else {
            throw APIFailure(
                .refused,
                record.epoch == .none
                    ? "every node of \(group) has reported that nothing of it runs there; nothing needs to be signed"
                    : "\(group) ran before, so it is known where it may run; nothing needs to be signed",
                remedy: "see `holdfast explain \(group)`")
        }
        let proofs = nodes.map { node in "\(node.about.name) \(Self.unproven(node, record))" }
        let sentence = "it is not proven that nothing of \(group) runs on \(proofs.joined(separator: "; nor on "))"
        if request.dryRun { return MutationResult(accepted: false, sentence: sentence) }
        let statement = ForeignText.line(request.statement ?? "", limit: 300)
        guard !statement.isEmpty else {
            throw APIFailure(
                .usage, "\(sentence); nobody has signed",
                remedy: "look there, then give --yes and --statement with your words")
        }
        let index = try await self.propose(
            .declareAbsent(
                record.name, nodes: nodes.map(\.id), since: record.searchedSince, statement: statement))
        guard !record.isWanted else {
            return MutationResult(accepted: true, index: index.rawValue, sentence: "\(group) may start: \(statement)")
        }
        let started = try await self.propose(.want(record.name, isRunning: true))
        return MutationResult(accepted: true, index: started.rawValue, sentence: "\(group) may start: \(statement)")
    }

    private static func unproven(_ node: ClusterState.NodeRecord, _ record: ClusterState.GroupRecord) -> String {
        if let found = record.findings.first(where: { $0.node == node.id }) { return "(it \(found.clause))" }
        switch node.standing {
        case .never: return "(it was never up)"
        case .lost: return "(it is down)"
        case .suspected: return "(it is silent)"
        case .trusted: return "(it has not reported yet)"
        }
    }
}
