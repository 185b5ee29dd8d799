import Basis
import Raft

extension RaftModel {
    /// Who was chosen begins a generation alone: what its log holds is committed from now on, and nothing else. (Rule R5)
    mutating func begins(_ node: NodeID) {
        guard let durable = self.durable(node) else {
            return self.fail("\(node) begins a generation with a log that nobody knows")
        }
        self.committed.removeLast(max(0, self.committed.count - 1 - Int(durable.base.index.rawValue)))
        self.committed += durable.terms
        self.committedIn = durable.last.term
        for place in self.nodes.indices {
            self.nodes[place].commit = min(self.nodes[place].commit, self.committedIndex)
        }
        // What was made in the generation before, by those that are left behind, may have the marks of what is made in this one.
        let last = self.committedIndex
        self.known = self.known.filter { $0.key.index <= last }
    }

    /// A node follows this generation from now on: what it was in another one does not count here.
    mutating func comesOver(_ node: NodeID, holding durable: Durable?) {
        self.takenBack(node)
        self.nodes[self.place(node)].resumes = false
        self.nodes[self.place(node)].durable = durable
        self.votes = self.votes.filter { $0.key.voter != node }
    }
}
