import Basis
import Raft

/// What this node knows of the logs of those that talk to it, and whether it believes them. (Rules E2, E2.1, E4)
struct Peers: Sendable {
    /// By the order in which they were met.
    var acquaintances: [Acquaintance]
    /// The latest number of a challenge.
    var nextChallenge: UInt64
    /// The mark of the message that is being taken.
    var presentMark = StartMark.none
    /// Which of consensus' marks are counted.
    var countedVersion: UInt64 = 0
    /// Those that said what no correct peer can say, sorted by node. (`Violation`)
    var distrusted: [Supervisor.Distrust] = []

    init(noted: [NotedMark], of own: NodeID, nonce: UInt64, at now: Tick) {
        self.acquaintances = noted.filter { $0.node != own }.map {
            Acquaintance(node: $0.node, counted: $0.mark, at: now)
        }
        self.nextChallenge = nonce
    }

    /// A peer said, in the message that is being taken, what it cannot say.
    mutating func accuse(_ accusation: Raft.Effects.Accusation, at now: Tick) {
        self.distrusted.removeAll { $0.node == accusation.node }
        self.distrusted.append(
            Supervisor.Distrust(
                node: accusation.node, mark: self.presentMark, violation: accusation.violation, at: now))
        self.distrusted.sort { $0.node < $1.node }
    }

    /// Whether consensus messages of this start of a peer are dropped.
    mutating func isDistrusted(_ sender: NodeID, _ mark: StartMark) -> Bool {
        if self.distrusted.isEmpty { return false }
        self.distrusted.removeAll { $0.node == sender && !$0.mark.isSameStart(as: mark) }
        return self.distrusted.contains { $0.node == sender }
    }
}

/// What this node knows of the log of one that talks to it.
struct Acquaintance: Sendable {
    struct Held: Sendable {
        var message: NodeMessage
        var mark: StartMark
        var via: NodeID
    }
    struct Challenge: Sendable {
        var mark: StartMark
        var nonce: UInt64
        var at: Tick
    }
    /// Evidence, seen in the echo of a fresh challenge: this log does not remember what was noted of the node.
    struct Evidence: Sendable {
        var mark: StartMark
        var at: Tick
        /// When the directory was let in that it does not remember.
        var admittedAt: LogIndex
    }
    let node: NodeID
    /// Noted durably: what comes under this mark counts.
    var counted: StartMark
    /// When something was heard last under the mark that counts, or when this daemon began to listen.
    var countedAt: Tick
    /// The mark of the latest message that was taken.
    var seen = StartMark.none
    /// When a learner was heard last under it.
    var seenAt = Tick.zero
    var challenge: Challenge?
    var evidence: Evidence?
    /// What came under a mark that does not count yet, or shows less than was known before, oldest first.
    var held: [Held] = []
    /// How far it was heard, and has heard. (Rule E4)
    var hearing = Hearing()
    /// When it was told last that this node is there, although this log does not know it. (Rule E4.1)
    var spokenAt = Tick.zero

    init(node: NodeID, counted: StartMark, at now: Tick) {
        self.node = node
        self.counted = counted
        self.countedAt = now
    }
}

extension [Acquaintance] {
    /// What a message to this node says about those before it. (Rule E4)
    func word(to node: NodeID, stamp: Tick, records: UInt64) -> HearingWord {
        for place in self.indices where self[place].node == node {
            var word = self[place].hearing.word(stamp: stamp, records: records)
            word.counts = word.run != .none && self[place].counted.run == word.run
            return word
        }
        return HearingWord(run: .none, stamp: stamp, records: records)
    }

    /// Some node was seen not to remember what is noted of it.
    var isAnyForgetful: Bool { self.contains { $0.evidence != nil } }
}
