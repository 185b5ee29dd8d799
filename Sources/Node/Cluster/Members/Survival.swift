import Basis

/// What failures a set of voters survives, said before and after a change. (Rule J1)
public struct Survival: Equatable, Sendable {
    /// So many nodes may fail, whichever they are, before no majority is left.
    public var nodes: Int
    /// Any one site may fail as a whole.
    public var anySite: Bool

    /// Of voters with their sites, and whether each is up now.
    public init(_ voters: [(site: String, isUp: Bool)]) {
        let majority = voters.count / 2 + 1
        let up = voters.filter(\.isUp).count
        self.nodes = max(0, up - majority)
        let sites = Set(voters.map(\.site))
        self.anySite =
            sites.count > 1
            && sites.allSatisfy { site in voters.filter { $0.isUp && $0.site != site }.count >= majority }
    }

    /// Fewer failures are survived than before.
    public func isWorse(than before: Survival) -> Bool {
        self.nodes < before.nodes || !self.anySite && before.anySite
    }

    /// `any 1 node, any site`, or `no failure`.
    public var words: String {
        var parts: [String] = []
        if self.nodes > 0 { parts.append(self.nodes == 1 ? "any node" : "any \(self.nodes) nodes") }
        if self.anySite { parts.append("any site") }
        return parts.isEmpty ? "no failure" : parts.joined(separator: ", ")
    }
}
