import Basis

/// Which nodes may run a group, and why the others may not.
public struct Eligibility {
    /// Nodes that may run it, best first.
    public private(set) var candidates: [String] = []
    /// The others of its list, with reasons.
    public private(set) var excluded: [Observation.Ban] = []
    /// Every excluded node that is up was excluded because the group failed there.
    public private(set) var isExhausted = false

    /// Judges each node of the group's list, and whoever alone has its data. (Rule V21.1)
    ///
    /// Order: a node that did not restart since the group's last epoch goes before one that did, because its copy
    /// also holds writes that were acknowledged but not flushed (rule V8's guarantee); then, if all have restarted,
    /// the previous owner (rule B3); then who is not about to pause (rule L22); then the order of the list.
    public init(_ group: Observation.Group, _ policy: GroupPolicy, _ observation: Observation) {
        var bannedUp = 0
        var otherUp = 0
        for name in policy.nodes + group.retreats {
            switch Self.objection(to: name, group, observation) {
            case .none: self.candidates.append(name)
            case .some(.failedThere(let reason)):
                bannedUp += 1
                self.excluded.append(.init(node: name, reason: reason))
            case .some(.other(let reason)):
                otherUp += 1
                self.excluded.append(.init(node: name, reason: reason))
            }
        }
        self.isExhausted = self.candidates.isEmpty && bannedUp > 0 && otherUp == 0
        func restarted(_ name: String) -> Bool {
            guard group.epochIndex > 0, let node = observation.node(name) else { return false }
            return node.admittedAt > group.epochIndex
        }
        func isToPause(_ name: String) -> Bool { observation.node(name)?.isToPause == true }
        self.candidates = self.candidates.filter { !isToPause($0) } + self.candidates.filter { isToPause($0) }
        let survivors = self.candidates.filter { !restarted($0) }
        var restartedOnes = self.candidates.filter { restarted($0) }
        if survivors.isEmpty, let last = group.lastOwner, let index = restartedOnes.firstIndex(of: last) {
            restartedOnes.insert(restartedOnes.remove(at: index), at: 0)
        }
        self.candidates = survivors + restartedOnes
    }

    private enum Objection {
        case failedThere(String)
        case other(String)
    }

    private static func objection(
        to name: String, _ group: Observation.Group, _ observation: Observation
    ) -> Objection? {
        guard let node = observation.node(name) else { return .other("has not joined") }
        guard node.isMember else { return .other("is a witness") }
        if node.isDuplicated { return .other("may be several machines") }
        switch node.standing {
        case .never: return .other("was never up")
        case .suspected: return .other("is silent")
        case .lost: return .other("is down")
        case .up: break
        }
        if node.isDeparting { return .other("is shutting down") }
        if node.isDrained { return .other("is drained") }
        if let lack = group.withoutData.first(where: { $0.node == name }) { return .other(lack.reason) }
        if let place = group.occupied.first(where: { $0.node == name }) { return .other(place.reason) }
        if let ban = group.bans.first(where: { $0.node == name }) { return .failedThere(ban.reason) }
        return nil
    }

    /// `osk-1 is down; tok-2 is drained`.
    public var exclusions: String {
        self.excluded.map { "\($0.node) \($0.reason)" }.joined(separator: "; ")
    }
}
