import Basis
import Resources

/// What nodes could not take down: said on every node, from the log and from what each node says of itself, because a node
/// that lost its lease may be heard while no entry of it is committed. (Rules L11.5, L12.3)
extension StatusBuilder {
    /// One sentence for each group and node, sorted.
    var remainsSentences: [String] {
        var found: [(group: GroupName, node: String, remains: GroupRemains)] = []
        func add(_ group: GroupName, _ node: String, _ remains: GroupRemains) {
            if !found.contains(where: { $0.group == group && $0.node == node }) { found.append((group, node, remains)) }
        }
        for record in self.state.nodes {
            for left in self.summary(of: record.id)?.summary.remains ?? [] {
                add(left.group, record.about.name, left.remains)
            }
        }
        for group in self.state.groups {
            for left in group.remains { add(group.name, self.state.name(of: left.node), left.remains) }
        }
        let guards = self.state.nodes.compactMap { record -> String? in
            guard let time = self.summary(of: record.id)?.summary.guardKillsFor, time > .zero else { return nil }
            return
                "the guard of \(record.about.name) has been killing what ran there for \(Amounts.exact(self.rounded(time))), "
                + "and it does not die: look at the machine, or turn it off"
        }
        return guards
            + found.sorted { ($0.group, $0.node) < ($1.group, $1.node) }.map { entry in
                let remedy = Self.remedy(entry.remains, of: entry.group.rawValue, on: entry.node)
                return "something of \(entry.group) is alive on \(entry.node), which \(entry.remains.reason): \(remedy)"
            }
    }

    /// What a person can do about it.
    static func remedy(_ remains: GroupRemains, of group: String, on node: String) -> String {
        switch remains.kind {
        case .unkilled: "look at the machine, or turn it off"
        case .unstopped:
            "repair what its stop says, or turn the machine off; then `holdfast group confirm-stopped \(group) --on \(node) "
                + "--statement TEXT`"
        }
    }
}
