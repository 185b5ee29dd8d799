import Basis
import Cluster
import Reports

/// What all nodes can do, and the order to rely on it. (Rule U1)
extension Backend {
    func upgrade() async throws -> UpgradeReport {
        StatusBuilder(try await self.wholeView()).upgrade(nodeName: self.file.name)
    }

    func upgradeFinalize(_ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.checked(request)
        let report = try await self.upgrade()
        guard report.highestLevel > report.featureLevel else {
            return MutationResult(
                accepted: !request.dryRun,
                sentence: "the cluster is at feature level \(report.featureLevel), and no node can do more")
        }
        let late = report.nodes.compactMap { node in node.objection.map { "\(node.name) \($0)" } }
        guard late.isEmpty else {
            throw APIFailure(
                .refused, "feature level \(report.highestLevel) needs every node, and \(late[0])",
                remedy: "upgrade or start it, or take it out of the cluster with `holdfast node remove NAME`",
                details: late.count > 1 ? late : [])
        }
        let sentence =
            "the cluster is at feature level \(report.highestLevel): no release that does less can be put back"
        if request.dryRun { return MutationResult(accepted: false, sentence: sentence) }
        var index = LogIndex.zero
        // One after the other: each is an entry that the level before can read.
        for level in (report.featureLevel + 1)...report.highestLevel {
            index = try await self.propose(.raise(FeatureLevel(level), counting: state.nodes.map(\.id)))
        }
        return MutationResult(accepted: true, index: index.rawValue, sentence: sentence)
    }
}
