import Basis
import Resources

/// The search for a group that never ran: where nothing of it is, where something is, and who signed. (Rule B2)
extension ClusterState {
    mutating func applySearch(_ command: Command, at index: LogIndex) -> Outcome {
        switch command {
        case .absent(let group, let node, let incarnation, let since):
            return self.updateGroup(group) { state, record in
                if let objection = state.searchObjection(record, node, incarnation, since) { return objection }
                record.findings.removeAll { $0.node == node }
                record.absentOn.append(node)
                record.absentOn.sort()
                return nil
            }
        case .found(let group, let finding, let incarnation, let since):
            return self.updateGroup(group) { state, record in
                if let objection = state.searchObjection(record, finding.node, incarnation, since) { return objection }
                record.findings.removeAll { $0.node == finding.node }
                record.findings.append(finding)
                record.findings.sort { $0.node < $1.node }
                state.note(.group(group, .found(finding, on: state.named(finding.node))), at: index)
                return nil
            }
        case .declareAbsent(let group, let nodes, let since, let statement):
            return self.updateGroup(group) { state, record in
                guard record.epoch == .none else { return "it was born already; nothing needs to be signed" }
                guard since == record.searchedSince else {
                    return .over("the configuration was changed meanwhile, and it is searched for anew")
                }
                for node in nodes where !record.absentOn.contains(node) { record.absentOn.append(node) }
                record.absentOn.sort()
                record.findings.removeAll { nodes.contains($0.node) }
                let signed = GroupHappening.absenceSigned(
                    on: nodes.map { state.named($0) }, statement: KeptWords(statement))
                state.note(.group(group, signed), at: index)
                return nil
            }
        default:
            preconditionFailure("not about a search: \(command)")
        }
    }

    private func searchObjection(
        _ record: GroupRecord, _ node: NodeID, _ incarnation: Incarnation, _ since: LogIndex
    ) -> Refusal? {
        guard self.node(node)?.incarnation == incarnation else { return .over("that was another life of the node") }
        guard record.epoch == .none else { return "it was born already" }
        guard since == record.searchedSince else { return .over("that was another search") }
        guard !record.absentOn.contains(node) else {
            return "\(self.name(of: node)) has reported already, or was signed for"
        }
        return nil
    }

    /// A new group, or one that never ran and is something else now, is searched for from here on.
    mutating func beginSearches(before: ClusterPolicy, at index: LogIndex) {
        for place in self.groups.indices where self.groups[place].epoch == .none {
            let name = self.groups[place].name
            let isKnown = self.groups[place].searchedSince != .zero
            if isKnown, before.group(name)?.resources == self.policy.group(name)?.resources { continue }
            self.groups[place].searchedSince = index
            self.groups[place].absentOn = []
            self.groups[place].findings = []
        }
    }

    /// Rule B2: why a group that never ran must not start yet.
    func birthObjection(_ record: GroupRecord, _ policy: GroupPolicy) -> String? {
        guard record.epoch == .none else { return nil }
        let missing = self.unreported(record, policy)
        return missing.isEmpty ? nil : "\(missing.joined(separator: ", ")) has not reported that nothing of it runs"
    }

    /// Members of the group's list that have not reported `absent`. (Rule B2)
    public func unreported(_ record: GroupRecord, _ policy: GroupPolicy) -> [String] {
        if record.epoch != .none { return [] }
        return policy.nodes.filter { name in
            guard let node = self.node(named: name), !node.about.isWitness else { return false }
            return !record.absentOn.contains(node.id)
        }
    }
}
