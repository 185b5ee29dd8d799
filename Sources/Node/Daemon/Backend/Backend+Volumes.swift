import Basis
import Cluster
import ClusterConfiguration
import FoundationEssentials
import Reports
import Resources

/// Commands about volumes that a person signs for: what would be lost is shown first, and the words to type name the state
/// that was shown.
extension Backend {
    func volumeAcceptLoss(_ volume: String, _ request: MutationRequest) async throws -> MutationResult {
        let view = try await self.wholeView()
        let state = view.supervisor.state
        let record = try self.record(of: volume, state)
        guard let name = request.to, let node = state.node(named: name) else {
            throw APIFailure(
                .usage, "`accept-loss` needs the node whose copy is to count",
                remedy: "name one of \(record.definition.replicas.map(\.node).joined(separator: ", ")) with --node")
        }
        let statement = "\(volume) may lose what \(name) lacks at \(record.epoch)/\(record.version)"
        let sentence = Self.loss(
            of: volume, from: name, holders: record.holders.map { state.name(of: $0) }, isUnproven: record.isUnproven)
        let lines = record.copies.map { copy in self.line(copy, record, view) }
        guard let signed = request.statement, !request.dryRun else {
            var result = MutationResult(accepted: false, sentence: sentence, statement: statement)
            result.facts = lines
            return result
        }
        try self.compare(signed, statement)
        let index = try await self.propose(
            .acceptLoss(record.name, record.epoch, version: record.version, node.id, statement: statement))
        var result = MutationResult(accepted: true, index: index.rawValue, sentence: sentence)
        result.facts = lines
        return result
    }

    /// What is signed for: which copy counts, and whose writes are lost then.
    static func loss(of volume: String, from name: String, holders: [String], isUnproven: Bool) -> String {
        let start = "\(volume) starts from the copy of \(name); "
        if isUnproven, holders.contains(name) {
            return start + "what the majority that was lost may have written without it is lost for good"
        }
        let others = holders.filter { $0 != name }.joined(separator: ", ")
        return start
            + "what \(others.isEmpty ? "others" : others) wrote since that copy left the in-sync set is lost for good"
    }

    func volumeAllowRepair(_ volume: String, _ request: MutationRequest) async throws -> MutationResult {
        let state = try await self.view().supervisor.state
        let record = try self.record(of: volume, state)
        let statement = "repair \(volume) at \(record.epoch)"
        let sentence =
            "the next start of the group on \(volume) runs `e2fsck -p`; what it changes is changed in every copy"
        guard let signed = request.statement, !request.dryRun else {
            let warning =
                "make sure first that the copy that will be used is a good one: `holdfast volume status \(volume)`"
            return MutationResult(accepted: false, sentence: sentence, warnings: [warning], statement: statement)
        }
        try self.compare(signed, statement)
        let index = try await self.propose(.allowRepair(record.name, record.epoch, statement: statement))
        return MutationResult(accepted: true, index: index.rawValue, sentence: sentence)
    }

    private func record(of volume: String, _ state: ClusterState) throws -> ClusterState.VolumeRecord {
        if let record = state.volume(VolumeName(volume)) { return record }
        let known = state.volumes.map(\.name.rawValue)
        throw APIFailure(
            .notFound, "there is no volume \(volume)",
            remedy: known.isEmpty ? "the configuration has none" : "there is \(known.joined(separator: ", "))")
    }

    private func compare(_ signed: String, _ wanted: String) throws {
        guard signed.trimmed != wanted else { return }
        throw APIFailure(
            .refused, "that is not the statement that was asked for; nothing was changed",
            remedy: "look again, then type exactly: \(wanted)")
    }

    /// What is known of one copy, as a sentence.
    private func line(
        _ copy: ClusterState.VolumeRecord.Copy, _ record: ClusterState.VolumeRecord, _ view: SupervisorView
    ) -> String {
        let state = view.supervisor.state
        let name = state.name(of: copy.node)
        let unproven = "held every write as far as was known when the majority was lost (epoch \(copy.epoch))"
        let holds =
            record.isUnproven && record.holders.contains(copy.node)
            ? unproven
            : record.holders.contains(copy.node)
                ? "holds every acknowledged write" : "lacks writes; complete up to some moment of epoch \(copy.epoch)"
        if copy.node == self.file.id { return "\(name) (this node): \(holds)" }
        guard let told = view.supervisor.summaries.first(where: { $0.node == copy.node }) else {
            return "\(name): \(holds); not heard since this daemon started"
        }
        let silence = Double(view.now.since(told.receivedAt).nanoseconds) / 1e9
        return "\(name): \(holds); heard \(Amounts.age(silence)) ago"
    }
}
