import Basis
import Raft

extension RaftModel {
    /// ReportDurable: that a voter has a suspicion, and answers no more, leaves the node when its disk has it, or had it before
    /// another leader cut it off. (Rules L5, L5.2)
    mutating func reported(_ node: NodeID, _ suspicion: LogMark) {
        guard let durable = self.durable(node), suspicion.index > durable.base.index,
            (self.known[suspicion]?.holders ?? 0) & Self.bit(node) == 0
        else { return }
        self.fail("ReportDurable: \(node) reports under suspicion \(suspicion), its disk ends at \(durable.last)")
    }
}
