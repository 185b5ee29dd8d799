import Basis
import Raft
import Testing

@testable import Cluster

/// `a1`, `b2w`: the site, the number, and `w` for a witness; `*` votes now, `-` is not ready.
private func choose(_ words: String) -> [UInt32] {
    let candidates = words.split(separator: " ").map { word -> VoterChoice.Candidate in
        let digits = word.filter(\.isNumber)
        return VoterChoice.Candidate(
            id: NodeID(UInt32(digits) ?? 0), site: String(word.first ?? "x"), isWitness: word.contains("w"),
            isVoter: word.contains("*"), isReady: !word.contains("-"))
    }
    return VoterChoice(candidates).voters.map(\.rawValue)
}

@Suite struct `Who votes (J1)` {
    @Test func `one votes alone until there are three`() {
        #expect(choose("a1*") == [1])
        #expect(choose("a1* a2") == [1])
        #expect(choose("a1* a2 a3") == [1, 2, 3])
        #expect(choose("a1* b2 c3w") == [1, 2, 3])
    }

    @Test func `an odd number votes, at most seven`() {
        #expect(choose("a1* a2* a3* a4") == [1, 2, 3])
        #expect(choose("a1* a2* a3* a4 a5") == [1, 2, 3, 4, 5])
        #expect(choose((1...9).map { "a\($0)" }.joined(separator: " ")).count == 7)
    }

    @Test func `no site alone is a majority, where that is possible`() {
        #expect(choose("a1* a2* b3* c4") == [1, 3, 4])
        #expect(choose("a1* a2* b3* b4 c5w") == [1, 2, 3, 4, 5])
        #expect(choose("a1 a2 a3 a4 b5 c6") == [1, 5, 6])
        // With two sites one of them always is.
        #expect(choose("a1* a2* b3*") == [1, 2, 3])
    }

    @Test func `votes do not wander: who votes keeps the vote against who is as good`() {
        #expect(choose("a1 a2* b3* c4*") == [2, 3, 4])
        #expect(choose("a1 a2* a3* a4*") == [2, 3, 4])
        // Also while it is away.
        #expect(choose("a1 a2*- b3* c4*") == [2, 3, 4])
    }

    @Test func `who is not ready gets no vote, and nobody loses one for the number's sake meanwhile`() {
        #expect(choose("a1* a2 a3-") == [1])
        // The third has forgotten what it promised, and is a learner for now.
        #expect(choose("a1* a2* a3-") == [1, 2])
        #expect(choose("a1* a2* b3* c4-") == [1, 2, 3])
    }

    @Test func `when a node leaves the number becomes odd again`() {
        #expect(choose("a1* a2*") == [1])
        #expect(choose("a1* b2* c3* a4*") == [1, 2, 3])
    }

    @Test func `somebody can always lead for good`() {
        #expect(choose("a1w* a2") == [2])
        #expect(choose("a1w* b2w* c3w* d4") == [1, 2, 4])
        #expect(choose("a1w* a2w*") == [])
    }
}

@Suite struct `What failures voters survive` {
    private func survival(_ words: String) -> String {
        Survival(words.split(separator: " ").map { (String($0.first ?? "x"), !$0.contains("-")) }).words
    }

    @Test func `is counted over those that are up`() {
        #expect(self.survival("a b c") == "any node, any site")
        #expect(self.survival("a a b") == "any node")
        #expect(self.survival("a b c-") == "no failure")
        #expect(self.survival("a") == "no failure")
        #expect(self.survival("a a b b c") == "any 2 nodes, any site")
        #expect(self.survival("a a a b c") == "any 2 nodes")
    }

    @Test func `is worse when either kind is less`() {
        let three = Survival([("a", true), ("b", true), ("c", true)])
        let twoSites = Survival([("a", true), ("a", true), ("b", true)])
        #expect(twoSites.isWorse(than: three))
        #expect(!three.isWorse(than: twoSites))
        #expect(!three.isWorse(than: three))
    }
}

@Suite struct `A voter that has forgotten (E2.6)` {
    private let membership = Membership(
        voters: [NodeID(6), NodeID(7), NodeID(9)], learners: [NodeID(1), NodeID(5)], witnesses: [NodeID(7), NodeID(9)])

    @Test func `learns the log anew without a vote`() {
        let plain = Membership(voters: [NodeID(1), NodeID(2), NodeID(3)], witnesses: [NodeID(3)])
        let target = plain.withoutVote(of: NodeID(1), orElse: [])
        #expect(target == Membership(voters: [NodeID(2), NodeID(3)], learners: [NodeID(1)], witnesses: [NodeID(3)]))
    }

    @Test func `gives its vote to a member where only witnesses would be left`() {
        let target = self.membership.withoutVote(of: NodeID(6), orElse: [NodeID(5), NodeID(6)])
        #expect(target?.voters == [NodeID(5), NodeID(7), NodeID(9)])
        #expect(target?.learners == [NodeID(1), NodeID(6)])
        #expect(target?.witnesses == [NodeID(7), NodeID(9)])
        #expect(self.membership.withoutVote(of: NodeID(6), orElse: [NodeID(6)]) == nil)
    }
}
