import Basis

/// Who votes, of all that may. (Rule J1)
///
/// An odd number, at most seven, because an even one survives no more failures than one less. The sites come first: the largest
/// number with which no site alone is a majority, or, where the nodes stand in too few sites for that, the largest there is.
public struct VoterChoice: Equatable, Sendable {
    /// A node that may vote.
    public struct Candidate: Equatable, Sendable {
        /// Its id.
        public var id: NodeID
        /// Its site.
        public var site: String
        /// It runs no groups, so it leads only in need.
        public var isWitness: Bool
        /// It votes now.
        public var isVoter: Bool
        /// It is up, and its log has caught up: else it is given no vote that it does not have.
        public var isReady: Bool
        /// All fields.
        public init(id: NodeID, site: String, isWitness: Bool, isVoter: Bool, isReady: Bool) {
            self.id = id
            self.site = site
            self.isWitness = isWitness
            self.isVoter = isVoter
            self.isReady = isReady
        }

        /// Whom a site sends first: who votes already, so that votes do not wander; who is up; who can lead.
        fileprivate var rank: (Int, Int, Int, UInt32) {
            (self.isVoter ? 0 : 1, self.isReady ? 0 : 1, self.isWitness ? 1 : 0, self.id.rawValue)
        }
    }

    /// No cluster has more voters: each more makes every entry dearer, and seven survive three failures.
    public static let votersMaximum = 7

    private let candidates: [Candidate]

    /// All that may vote, whether they could at once or not.
    public init(_ candidates: [Candidate]) { self.candidates = candidates }

    /// The voters that are wanted now, sorted; empty when nobody may vote.
    ///
    /// While one that should have a vote cannot have it yet, nobody loses a vote for the number's sake.
    public var voters: [NodeID] {
        let ideal = Self.best(of: self.candidates)
        let able = self.candidates.filter { $0.isVoter || $0.isReady }
        if ideal.allSatisfy({ id in able.contains { $0.id == id } }) { return ideal }
        let possible = Self.best(of: able)
        let present = self.candidates.filter(\.isVoter).map(\.id).sorted()
        return possible.count >= present.count ? possible : present
    }

    private static func best(of candidates: [Candidate]) -> [NodeID] {
        let bySite = Set(candidates.map(\.site)).sorted().map { site in
            candidates.filter { $0.site == site }.sorted { $0.rank < $1.rank }
        }
        let most = min(Self.votersMaximum, candidates.count)
        var largest: [NodeID] = []
        for number in stride(from: most % 2 == 1 ? most : most - 1, through: 1, by: -2) {
            let chosen = Self.choose(number, bySite)
            // Somebody must be able to lead for good.
            guard chosen.contains(where: { !$0.isWitness }) else { continue }
            let voters = chosen.map(\.id).sorted()
            if number >= 3, Self.largestShare(chosen) * 2 < number { return voters }
            if largest.isEmpty { largest = voters }
        }
        return largest
    }

    private static func largestShare(_ chosen: [Candidate]) -> Int {
        var shares: [String: Int] = [:]
        for candidate in chosen { shares[candidate.site, default: 0] += 1 }
        return shares.values.max() ?? 0
    }

    /// So many, one after the other from the site that has sent the fewest.
    private static func choose(_ number: Int, _ bySite: [[Candidate]]) -> [Candidate] {
        var sent = [Int](repeating: 0, count: bySite.count)
        var chosen: [Candidate] = []
        while chosen.count < number {
            let sites = bySite.indices.filter { sent[$0] < bySite[$0].count }
            let next = sites.min { left, right in
                let (one, other) = (bySite[left][sent[left]], bySite[right][sent[right]])
                return sent[left] != sent[right] ? sent[left] < sent[right] : one.rank < other.rank
            }
            guard let next else { break }
            chosen.append(bySite[next][sent[next]])
            sent[next] += 1
        }
        if !chosen.contains(where: { !$0.isWitness }),
            let member = bySite.joined().filter({ !$0.isWitness }).min(by: { $0.rank < $1.rank })
        {
            chosen.removeLast()
            chosen.append(member)
        }
        return chosen
    }
}

extension VoterChoice {
    /// Of the nodes that may vote and stay; `voting` vote now.
    package init(
        of nodes: [ClusterState.NodeRecord], voting: [NodeID], isReady: (ClusterState.NodeRecord) -> Bool
    ) {
        self.init(
            nodes.filter { $0.about.role.mayVote && !$0.isRetiring }.map { record in
                Candidate(
                    id: record.id, site: record.about.site, isWitness: record.about.isWitness,
                    isVoter: voting.contains(record.id), isReady: isReady(record))
            })
    }
}
