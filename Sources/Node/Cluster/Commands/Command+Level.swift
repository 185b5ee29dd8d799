import Basis
import Resources

/// What a command needs of the nodes that apply it. (Rule U1)
extension Command {
    /// The level that brought words about certificates.
    package static let certificateLevel = FeatureLevel(3)
    /// The level that brought what the log says of copies of machines.
    static let twinLevel = FeatureLevel(3)

    /// The feature level that brought this kind of command: a build that does less cannot read it. It is the version of its entry.
    var kindLevel: FeatureLevel {
        switch self {
        case .raise: FeatureLevel(2)
        case .certified, .changeAuthority: Self.certificateLevel
        case .duplicated, .original: Self.twinLevel
        case .expectPause: FeatureLevel(3)
        case .configure(let policy, _, _) where !policy.leaderSites.isEmpty: FeatureLevel(3)
        default: .first
        }
    }

    /// The level that the cluster must be at before it is proposed. The first raise is proposed by who has heard all nodes.
    var neededLevel: FeatureLevel {
        switch self {
        case .raise(let level, _): FeatureLevel(max(1, level.rawValue) - 1)
        default: self.kindLevel
        }
    }
}

extension ClusterState {
    /// Why the cluster is not far enough for a command; nil if it is. (Rule U1)
    func levelObjection(to command: Command) -> Refusal? {
        guard command.neededLevel > self.level else { return nil }
        return .unfit(
            "this needs feature level \(command.neededLevel); the cluster is at \(self.level): upgrade all nodes, then "
                + "`holdfast upgrade finalize`")
    }

    /// Why this node may not join a cluster that has agreed on more than it can do. (Rule U2)
    public func objection(toJoiningAt level: FeatureLevel) -> String? {
        guard level < self.level else { return nil }
        return
            "this cluster is at feature level \(self.level), and the release on that machine does \(level): install the release "
            + "that the other nodes run"
    }

    mutating func raise(to level: FeatureLevel, counting: [NodeID], at index: LogIndex) -> Outcome {
        guard level > self.level else {
            return .refused(.over("the cluster is at feature level \(self.level) already"))
        }
        // Rule U1: a node that joined meanwhile was not heard, and may be of a release that cannot do it.
        if let uncounted = self.nodes.first(where: { !counting.contains($0.id) }) {
            return .refused(.unfit("\(uncounted.about.name) was not heard to do feature level \(level)"))
        }
        self.level = level
        self.note(.cluster(.raised(level)), at: index)
        return .accepted
    }
}
