import Basis
import Testing

@testable import Raft

@Suite struct `A log that cannot be is noticed` {
    private func said(_ change: (inout Consensus) -> Void) -> String {
        var consensus = Consensus(
            id: NodeID(1), settings: Consensus.Settings(), restored: RestoredState(), seed: 1, at: .zero)
        change(&consensus)
        do { try consensus.checkInvariants() } catch { return error.description }
        return "nothing"
    }

    @Test func `a sound one says nothing`() { #expect(self.said { _ in } == "nothing") }

    @Test func `what is committed, delivered and voted for`() {
        #expect(self.said { $0.commitIndex = LogIndex(7) }.contains("committed beyond the log"))
        #expect(self.said { $0.deliveredIndex = LogIndex(7) }.contains("delivered what is not committed"))
        #expect(self.said { $0.state = .candidate(Campaign(term: Term(1), transfer: false)) }.contains("(C1)"))
        #expect(
            self.said {
                let peer = Progress(node: NodeID(2), isVoter: true, next: LogIndex(1), contact: .zero)
                $0.leading = Leader(peers: [peer], heartbeatDue: .never, opening: .zero, uncommittedBytes: 0)
            }.contains("does not lead"))
    }
}
