import Basis
import Mirror
import Raft
import Resources

/// A machine that was taken back to an earlier moment with its memory: the same boot, the same daemon, an older log. It learns
/// it from the first message of anybody who has talked to it since that moment. (Rule E4)
extension Supervisor {
    /// What a message to this node says about those before it.
    func hearingWord(to node: NodeID, at now: Tick) -> HearingWord {
        self.peers.acquaintances.word(to: node, stamp: now, records: self.consensus.outline.requestsIssued)
    }

    /// Takes what a message says about those before it.
    mutating func hear(
        _ word: HearingWord, from sender: NodeID, _ mark: StartMark, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) -> Hearing.Finding {
        let place = self.acquaintance(sender)
        let before = self.peers.acquaintances[place].hearing.run
        let finding = self.peers.acquaintances[place].hearing.take(
            word, from: mark.run, own: self.marks.run, records: self.consensus.outline.requestsIssued, at: now)
        // Another run of it: what the former one acknowledged, this one may not hold.
        if before != .none, before != self.peers.acquaintances[place].hearing.run {
            self.consensusStep(.startedAnew(sender), at: now, into: &effects)
        }
        return finding
    }

    /// Whether a consensus message rests on what this log never promised, or promises no more: its sender counts another run,
    /// perhaps one of a later log of this node. A leader that was taken back has made entries that bear term and index of others,
    /// so such messages do not even show what is wrong here. A log that was never let in has promised nothing. (Rule E4.1)
    func isMeantForAnother(_ message: NodeMessage, _ word: HearingWord) -> Bool {
        guard case .raft = message, !(word.counts && word.run == self.marks.run) else { return false }
        return self.me?.mark.directory == self.identity.memory.directory
    }

    /// Says something to whoever does not count this run and is no node yet as far as this log goes: it gets no pings, and would
    /// never ask what this node remembers. (Rule E4.1)
    mutating func speak(to sender: NodeID, at now: Tick, into effects: inout [SupervisorEffect]) {
        let place = self.acquaintance(sender)
        guard !self.links.nodes.contains(sender), !self.state.hasLeft(sender),
            now.since(self.peers.acquaintances[place].spokenAt) >= Reachability.pingInterval
        else { return }
        self.peers.acquaintances[place].spokenAt = now
        self.send(.ping(hears: [], reaches: []), to: sender, at: now, into: &effects)
    }

    /// Whether this node has heard another one that its clock was further than this. For simulations.
    public func hasHeard(_ node: NodeID, after tick: Tick) -> Bool {
        self.peers.acquaintances.contains { $0.node == node && $0.hearing.heard > tick }
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
        self.letGo(into: &effects)
        self.forget(
            "\(self.state.name(of: sender)) has heard more of this daemon than the daemon knows: the machine was taken back "
                + "to an earlier moment with its memory (E4)", into: &effects)
    }

    /// The guard ends what runs: this life may be over, and another node may run it. And the copies are as old as all else.
    private mutating func letGo(into effects: inout [SupervisorEffect]) {
        effects.append(
            .lease(
                end: .zero, self.lease.holder.incarnation, grace: self.state.policy.timing.leaseGrace,
                sentAt: self.lease.holder.sentAt))
        self.tellServers(into: &effects)
    }

    /// Another node knows a later start of this log. If the log has admitted the present one, no older copy was put back while
    /// no daemon ran: for then this start would be new. It is the machine that was taken back, to before that later start.
    mutating func forgetLaterStart(_ reason: String, into effects: inout [SupervisorEffect]) {
        if self.me?.mark.isSameStart(as: self.identity.memory.present) == true { self.letGo(into: &effects) }
        self.forget(reason, into: &effects)
    }

    // MARK: Copies (rule E4.2)

    /// The copies here are as old as the log. Their servers are told; that they may not have heard it outlives this daemon, with
    /// what runs here, which the next one ends.
    private mutating func tellServers(into effects: inout [SupervisorEffect]) {
        var owed = self.volumes.takenBack
        for view in self.volumes.views {
            effects.append(.volume(view.name, .takenBack))
            guard case .ready(let mark) = view.report?.finding else { continue }
            owed.removeAll { $0.volume == view.name }
            owed.append(.init(volume: view.name, mark: mark.mark))
        }
        let known = self.groups.adoptable ?? self.groups.lastFacts
        effects.append(
            .facts(
                Facts(
                    bootID: self.identity.bootID, incarnation: known?.incarnation ?? self.birth.incarnation,
                    groups: known?.groups ?? [], takenBack: owed)))
    }

    /// A server reports its copy: it is told once more what an earlier daemon may not have got to it.
    mutating func repeatTakenBack(_ name: VolumeName, _ mark: CopyMark, into effects: inout [SupervisorEffect]) {
        guard let place = self.volumes.takenBack.firstIndex(where: { $0.volume == name }) else { return }
        if self.volumes.takenBack[place].mark == mark.mark {
            effects.append(.volume(name, .takenBack))
        } else {
            self.volumes.takenBack.remove(at: place)
            self.groups.version += 1
        }
    }

    // MARK: What nobody has heard (rule E4.3)

    private static let doubtMarkPause = Span.seconds(10)

    /// Boot clock and hardware clock have parted: the machine stood still, or it was taken back, and perhaps nobody who is in
    /// reach has heard it since. What it remembers of its answers may be too old, and a suspicion may be forgotten. So as a
    /// voter it is one that starts anew: it counts as having answered everybody now, and says nothing before the log has
    /// admitted another mark of it.
    mutating func doubtAsVoter(_ nonce: UInt64, at now: Tick) {
        self.voting.voter = LeaseVoter(startedAt: now)
        self.marks.doubtNonce = nonce
        self.derive()
    }

    /// Draws that mark. It need not wait for anybody, but a clock that parts all the time is not to use the list up.
    mutating func settleDoubtMark(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard let nonce = self.marks.doubtNonce, self.marks.drawn == nil, now >= self.marks.nextInDoubtAt,
            !self.consensus.hasFailedDisk
        else { return }
        self.marks.nextInDoubtAt = now + Self.doubtMarkPause
        self.marks.doubtNonce = nil
        self.marks.isDrawnInDoubt = true
        let mark = self.identity.memory.next(nonce: nonce)
        self.marks.drawn = mark
        self.consensusStep(.draw(mark), at: now, into: &effects)
    }
}
