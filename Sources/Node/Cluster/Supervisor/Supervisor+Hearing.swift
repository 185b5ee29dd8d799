import Basis
import Mirror
import Raft
import Resources

/// A machine that was taken back to an earlier moment with its memory: the same boot, the same daemon, an older log. It learns
/// it from the first message of anybody who has talked to it since that moment. (Rule E4)
extension Supervisor {
    /// What a message to this node says about those before it.
    func hearingWord(to node: NodeID, at now: Tick) -> HearingWord {
        let records = self.consensus.requestsIssued
        for place in self.acquaintances.indices where self.acquaintances[place].node == node {
            return self.acquaintances[place].hearing.word(stamp: now, records: records)
        }
        return HearingWord(run: .none, stamp: now, records: records)
    }

    /// Takes what a message says about those before it.
    mutating func hear(_ word: HearingWord, from sender: NodeID, _ mark: StartMark, at now: Tick) -> Hearing.Finding {
        let place = self.acquaintance(sender)
        return self.acquaintances[place].hearing.take(
            word, from: mark.run, own: self.run, records: self.consensus.requestsIssued, at: now)
    }

    /// Whether this node has heard another one that its clock was further than this. For simulations.
    public func hasHeard(_ node: NodeID, after tick: Tick) -> Bool {
        self.acquaintances.contains { $0.node == node && $0.hearing.heard > tick }
    }

    /// Somebody has heard more of this run of the daemon than the run itself remembers. Its promises are forgotten, and so is
    /// what became of its life: nothing of it may go on. (Rules E2.2, E4)
    mutating func wasTakenBack(
        toldBy sender: NodeID, in message: NodeMessage, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        if case .challenge(_, let nonce) = message {
            let own = self.consensus.notedMark(of: self.identity.node)
            let admittedAt = own?.mark.directory == self.identity.memory.directory ? own?.admittedAt : nil
            self.send(
                .echo(nonce: nonce, remembers: false, admittedAt: admittedAt), to: sender, at: now, into: &effects)
        }
        // The guard ends what runs: this life may be over, and another node may run it.
        effects.append(
            .lease(
                end: .zero, self.holder.incarnation, grace: self.state.policy.timing.leaseGrace,
                sentAt: self.holder.sentAt))
        // Their copies are as old as the log. (Rule E4.2)
        for server in self.lastServers { effects.append(.volume(server.policy.name, .takenBack)) }
        self.forget(
            "\(self.state.name(of: sender)) has heard more of this daemon than the daemon knows: the machine was taken back "
                + "to an earlier moment with its memory (E4)", into: &effects)
    }

    // MARK: What nobody has heard (rule E4.3)

    private static let doubtMarkPause = Span.seconds(10)

    /// Boot clock and hardware clock have parted: the machine stood still, or it was taken back, and perhaps nobody who is in
    /// reach has heard it since. What it remembers of its answers may be too old, and a suspicion may be forgotten. So as a
    /// voter it is one that starts anew: it counts as having answered everybody now, and says nothing before the log has
    /// admitted another mark of it.
    mutating func doubtAsVoter(_ nonce: UInt64, at now: Tick) {
        self.voter = LeaseVoter(startedAt: now)
        self.doubtNonce = nonce
        self.derive()
    }

    /// Draws that mark. It need not wait for anybody, but a clock that parts all the time is not to use the list up.
    mutating func settleDoubtMark(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard let nonce = self.doubtNonce, self.drawnMark == nil, now >= self.nextDoubtMarkAt,
            !self.consensus.hasFailedDisk
        else { return }
        self.nextDoubtMarkAt = now + Self.doubtMarkPause
        self.doubtNonce = nil
        self.isDoubtMarkDrawn = true
        let mark = self.identity.memory.next(nonce: nonce)
        self.drawnMark = mark
        self.consensusStep(.draw(mark), at: now, into: &effects)
    }
}
