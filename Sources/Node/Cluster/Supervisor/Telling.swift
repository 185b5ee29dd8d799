import Basis
import Raft

/// What the nodes tell each other of how they stand, for `status`.
struct Telling: Sendable {
    /// What is news to the others when it differs from what they were told.
    struct Key: Equatable, Sendable {
        var applied = LogIndex.zero
        var groupsVersion: UInt64 = .max
        var volumesVersion: UInt64 = 0
    }

    /// How the other nodes say they stand, with the time of arrival; sorted by node.
    var summaries: [(node: NodeID, receivedAt: Tick, summary: NodeSummary)] = []
    /// When this node tells it again.
    var nextAt = Tick.zero
    /// What it told last, and when.
    var toldKey = Key()
    var toldAt = Tick.zero
}
