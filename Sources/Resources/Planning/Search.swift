import Basis

/// Why a group that never ran waits, node by node, and the way out. (Rule B2)
enum Search {
    static func reason(_ group: Observation.Group, _ observation: Observation) -> String {
        var asked: [String] = []
        var parts: [String] = []
        var away: [String] = []
        for name in group.unreported {
            switch observation.node(name)?.standing {
            case .lost:
                parts.append("\(name) is down")
                away.append(name)
            case .suspected: parts.append("\(name) is silent")
            case .never:
                parts.append("\(name) was never up")
                away.append(name)
            case .up, nil:
                if let found = group.findings.first(where: { $0.node == name }) {
                    parts.append("\(name) \(found.reason)")
                } else {
                    asked.append(name)
                }
            }
        }
        let met = group.findings.map(\.node).filter { group.unreported.contains($0) && !away.contains($0) }
        if !asked.isEmpty {
            parts.insert("\(asked.joined(separator: ", ")) must first report that nothing of it runs there", at: 0)
        }
        if away.isEmpty && met.isEmpty { return parts.joined(separator: "; ") }
        var ways: [String] = []
        if !met.isEmpty {
            ways.append("stop it on \(met.joined(separator: ", ")), where it is looked for again by itself")
        }
        if !away.isEmpty { ways.append("bring \(away.joined(separator: ", ")) back") }
        return parts.joined(separator: "; ") + ": \(ways.joined(separator: " and ")), or, if nothing of it runs there, "
            + "sign that with `holdfast group start \(group.name) --declare-absent`"
    }
}
