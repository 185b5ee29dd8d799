import Basis
import Cluster
import Raft

/// What is true within one generation: Raft once more, and the log once more. A recovery begins another one with what the chosen
/// survivor had, and those that it left behind may go on in theirs. (Rules R1 to R5)
struct GenerationTruth {
    private(set) var generation = Generation.first
    /// What was applied at each index.
    var applied: [UInt64: Entry] = [:]
    /// Who led in each term.
    var leaders: [UInt64: NodeID] = [:]
    /// Raft once more, which the real one is compared with.
    var model = RaftModel()
    /// The log once more, applied by nobody.
    var history = History()

    /// From now on all that counts is what this node's log held before it began.
    mutating func begins(_ generation: Generation, by node: NodeID, at now: UInt64) {
        self.generation = generation
        self.leaders = [:]
        self.model.begins(node)
        let last = self.model.committedIndex.rawValue
        let before = self.applied.count
        // Those that are left behind may have decided something else than what this log holds.
        self.applied = self.applied.filter { index, entry in
            index <= last && entry.mark.term == self.model.committed[Int(index)]
        }
        if self.applied.count < before {
            self.history = History(after: self.history)
            for index in 1...last {
                guard let entry = self.applied[index] else { break }
                // Judged already, when they were applied first.
                self.history.apply(entry, after: History.Disturbance(number: index, at: now), at: now)
            }
        }
        self.history.forgetOperators()
    }
}
