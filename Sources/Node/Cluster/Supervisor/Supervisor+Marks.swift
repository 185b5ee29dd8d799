import Basis
import Raft

/// Whose promises count: only those of a log that remembers the start that was noted of it last. (Rules E2 to E2.2)
///
/// In steady state that is one comparison. After a start of the sender it is a challenge, an echo, and one sync here.
extension Supervisor {
    private static let challengePause = Span.milliseconds(100)
    private static let evidenceAge = Span.seconds(2)
    private static let maximumHeld = 32
    /// Who was not heard for so long is over, as far as noting another boot goes; the others have a leader by then.
    private static let bootPatience = Span.seconds(2)

    // MARK: The one who counts

    /// Whether a message may be taken now. Those that promise nothing always; others only under the noted mark: they are
    /// held while their sender is asked what it remembers. (Rule E2.1)
    mutating func counts(
        _ message: NodeMessage, from sender: NodeID, _ mark: StartMark, via: NodeID, isLate: Bool, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) -> Bool {
        let place = self.acquaintance(sender)
        if self.peers.acquaintances[place].counted == mark {
            // Rule E4: who shows less than it showed before is asked whether it remembers.
            if isLate, !self.promisesNothing(message, from: sender), !self.isLearnersAnswer(message, from: sender) {
                self.hold(message, mark, via, place)
                self.challenge(place, mark, at: now, into: &effects)
                return false
            }
            if self.peers.acquaintances[place].seen != mark { self.peers.acquaintances[place].seen = mark }
            self.peers.acquaintances[place].countedAt = now
            return true
        }
        if self.promisesNothing(message, from: sender) {
            // It is asked as soon as it speaks: until its mark counts here it takes no consensus message of this node.
            if self.consensus.notedMark(of: sender)?.mark != mark || self.peers.acquaintances[place].evidence != nil {
                self.challenge(place, mark, at: now, into: &effects)
            }
            return true
        }
        if self.isLearnersAnswer(message, from: sender) {
            // A late message of an earlier start; one that goes on coming is a log that was rolled back.
            if mark.isBefore(self.peers.acquaintances[place].seen),
                now.since(self.peers.acquaintances[place].seenAt) < Self.evidenceAge
            {
                return false
            }
            self.peers.acquaintances[place].seenAt = now
            if self.peers.acquaintances[place].seen != mark {
                self.peers.acquaintances[place].seen = mark
                self.consensusStep(.startedAnew(sender), at: now, into: &effects)
            }
            return true
        }
        let noted = self.consensus.notedMark(of: sender)
        // An earlier start of the same log: the message is late, or the log was rolled back. It is not held, but its sender is
        // asked: who sent the message in an earlier life answers under another mark.
        let isEarlier = noted.map { mark.isBefore($0.mark) } ?? false
        if isEarlier {
            self.challenge(place, mark, at: now, into: &effects)
            return false
        }
        self.hold(message, mark, via, place)
        guard let noted else {
            // Nothing of this node was ever counted here, so there is nothing that it can have forgotten.
            self.consensusStep(
                .note(NotedMark(node: sender, mark: mark, admittedAt: .zero)), at: now, into: &effects)
            return false
        }
        // What is noted already only waits for the disk, unless there is evidence against it.
        if noted.mark == mark, self.peers.acquaintances[place].evidence == nil { return false }
        self.challenge(place, mark, at: now, into: &effects)
        return false
    }

    private mutating func hold(_ message: NodeMessage, _ mark: StartMark, _ via: NodeID, _ place: Int) {
        if self.peers.acquaintances[place].held.count >= Self.maximumHeld {
            self.peers.acquaintances[place].held.removeFirst()
        }
        self.peers.acquaintances[place].held.append(.init(message: message, mark: mark, via: via))
    }

    /// Asks a node what it remembers, unless it was asked a moment ago.
    private mutating func challenge(
        _ place: Int, _ mark: StartMark, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        let node = self.peers.acquaintances[place].node
        guard let noted = self.consensus.notedMark(of: node) else { return }
        if let asked = self.peers.acquaintances[place].challenge, asked.mark == mark,
            now.since(asked.at) < Self.challengePause
        {
            return
        }
        self.peers.nextChallenge &+= 1
        self.peers.acquaintances[place].challenge = .init(mark: mark, nonce: self.peers.nextChallenge, at: now)
        self.send(.challenge(noted, nonce: self.peers.nextChallenge), to: node, at: now, into: &effects)
    }

    mutating func acquaintance(_ node: NodeID) -> Int {
        for place in self.peers.acquaintances.indices where self.peers.acquaintances[place].node == node {
            return place
        }
        self.peers.acquaintances.append(Acquaintance(node: node, counted: .none, at: .zero))
        return self.peers.acquaintances.count - 1
    }

    private func promisesNothing(_ message: NodeMessage, from sender: NodeID) -> Bool {
        switch message {
        case .ping, .summary, .askStandings, .standings, .challenge, .echo, .readRequest, .transferRequest: return true
        // Rule L18: a refusal can only end or shorten a lease, and waits for no disk of who asked.
        case .notRenewed: return true
        case .forward(let command):
            // The request to be let in, which the log judges itself.
            if case .admit(let subject, _, _) = command.command { return subject == sender }
            return false
        default: return false
        }
    }

    /// A node without a vote follows the log under whatever mark: nothing of it is counted anywhere.
    private func isLearnersAnswer(_ message: NodeMessage, from sender: NodeID) -> Bool {
        guard case .raft(let message) = message, !self.consensus.outline.membership.isVoter(sender) else {
            return false
        }
        switch message.body {
        case .appendAccepted, .appendRejected, .heartbeatResponse, .snapshotProgress, .readRequest, .outdated,
            .preVoteRequest, .preVoteResponse:
            return true
        case .append, .heartbeat, .snapshotChunk, .timeoutNow, .voteRequest, .voteResponse, .readResponse: return false
        }
    }

    /// The answer to a challenge.
    mutating func echoed(
        _ nonce: UInt64, remembers: Bool, admittedAt: LogIndex?, by sender: NodeID, _ mark: StartMark, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        let place = self.acquaintance(sender)
        guard let asked = self.peers.acquaintances[place].challenge, asked.nonce == nonce, asked.mark == mark,
            let noted = self.consensus.notedMark(of: sender)
        else { return }
        self.peers.acquaintances[place].challenge = nil
        // Another directory that the log let in later than the one noted here: this node is behind.
        let isLaterDirectory = mark.directory != noted.mark.directory && (admittedAt ?? .zero) > noted.admittedAt
        guard remembers || isLaterDirectory else {
            if self.peers.acquaintances[place].evidence == nil {
                effects.append(.note(.doesNotRemember(sender, noted.mark)))
            }
            self.peers.acquaintances[place].held = []
            self.peers.acquaintances[place].counted = .none
            self.peers.acquaintances[place].evidence = .init(mark: mark, at: now, admittedAt: noted.admittedAt)
            self.schedule.isUnsettled = true
            return
        }
        self.peers.acquaintances[place].evidence = nil
        // What it sent is held, and it is asked again when it sends more.
        if self.mayBeCopy(mark, of: noted.mark, place, at: now) { return }
        let raised = NotedMark(node: sender, mark: mark, admittedAt: max(noted.admittedAt, admittedAt ?? .zero))
        if raised.raises(noted) {
            self.consensusStep(.note(raised), at: now, into: &effects)
        } else {
            if self.peers.acquaintances[place].counted == mark { self.takeHeld(place, mark, at: now, into: &effects) }
            self.countMarks(at: now, into: &effects)
        }
    }

    /// Whether a later start was made in another boot, and the earlier boot was heard a moment ago: it may still live, and
    /// have promised what a copy of its log knows nothing of. What the log itself lets in is noted from there. (Rule E2.9)
    private func mayBeCopy(_ mark: StartMark, of noted: StartMark, _ place: Int, at now: Tick) -> Bool {
        !mark.isSameBoot(as: noted) && now.since(self.peers.acquaintances[place].countedAt) < Self.bootPatience
    }

    /// What was noted is durable: promises under these marks count from here on.
    mutating func marksPersisted(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard self.peers.countedVersion != self.consensus.notedVersion else { return }
        self.countMarks(at: now, into: &effects)
    }

    private mutating func countMarks(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard self.consensus.areMarksDurable else { return }
        self.peers.countedVersion = self.consensus.notedVersion
        self.useDrawnMark(into: &effects)
        for noted in self.consensus.notedMarks where noted.node != self.identity.node {
            let place = self.acquaintance(noted.node)
            if let evidence = self.peers.acquaintances[place].evidence {
                guard noted.admittedAt > evidence.admittedAt else { continue }
                self.peers.acquaintances[place].evidence = nil
            }
            guard self.peers.acquaintances[place].counted != noted.mark else { continue }
            self.peers.acquaintances[place].counted = noted.mark
            self.peers.acquaintances[place].countedAt = now
            self.takeHeld(place, noted.mark, at: now, into: &effects)
        }
    }

    /// What was held under a mark counts.
    private mutating func takeHeld(
        _ place: Int, _ mark: StartMark, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        let node = self.peers.acquaintances[place].node
        let held = self.peers.acquaintances[place].held
        self.peers.acquaintances[place].held = []
        for letter in held where letter.mark == mark {
            self.receive(letter.message, from: node, letter.mark, via: letter.via, at: now, into: &effects)
        }
    }

    // MARK: Evidence

    /// Whether there is evidence, new or old, against the log of a node that the applied log knows.
    func hasEvidence(against node: NodeID) -> Bool {
        guard let evidence = self.peers.acquaintances.first(where: { $0.node == node })?.evidence else { return false }
        return (self.state.node(node)?.directoryAdmittedAt ?? .zero) <= evidence.admittedAt
    }

    /// Whether a node that is heard right now does not remember what is noted of it. (Rule E2.6)
    public func isForgetful(_ node: NodeID, at now: Tick) -> Bool {
        guard let evidence = self.peers.acquaintances.first(where: { $0.node == node })?.evidence else { return false }
        return self.hasEvidence(against: node) && now.since(evidence.at) < Self.evidenceAge
    }

    /// The mark under which a node was heard last.
    func seenMark(of node: NodeID) -> StartMark? { self.peers.acquaintances.first { $0.node == node }?.seen }

    // MARK: The one who is asked

    /// Says whether this log remembers a start that another node noted of it. Who must say no draws the consequence.
    mutating func challenged(
        _ noted: NotedMark, nonce: UInt64, by asker: NodeID, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard noted.node == self.identity.node else { return }
        let memory = self.identity.memory
        guard memory.reachesBack(to: noted.mark) else {
            effects.append(.note(.askedTooFarBack(by: asker, noted.mark)))
            return
        }
        let own = self.consensus.notedMark(of: self.identity.node)
        let admittedAt = own?.mark.directory == memory.directory ? own?.admittedAt : nil
        let remembers = memory.remembers(noted.mark)
        self.send(
            .echo(nonce: nonce, remembers: remembers, admittedAt: admittedAt), to: asker, at: now, into: &effects)
        if remembers { return }
        let asking = "\(self.state.name(of: asker)) holds promises of \(noted.mark) of this node's log"
        if noted.mark.directory == memory.directory {
            self.forgetLaterStart("\(asking), which this copy does not remember: it is older", into: &effects)
        } else if let admittedAt {
            // The asker may lag behind; a directory that was let in later than this one takes its place.
            guard admittedAt < noted.admittedAt else { return }
            self.forgetLaterStart("\(asking); this is an older one", into: &effects)
        } else if !self.marks.isStranger {
            self.marks.isStranger = true
            effects.append(.note(.isStranger(askedBy: asker, noted.mark, own: memory.directory)))
        }
    }

    /// Rule E2.10: this log is learned anew in place of one that was lost, and as far as it has come it knows that one alone. The
    /// voters that it knows may be this node by itself. A log with which a lost majority was left behind counts as it is.
    var isLearningAnew: Bool {
        let directory = self.identity.memory.present.directory
        if self.recovering.record.preparedWith == directory { return false }
        if self.voting.tail.ownLogs.contains(directory) { return false }
        return self.birth.isAnotherLogAdmitted || !self.voting.tail.ownLogs.isEmpty
    }

    /// Rule E2.2: this log is not what it was. It is kept aside, and the node comes back with a new one.
    mutating func forget(_ reason: String, into effects: inout [SupervisorEffect]) {
        self.marks.hasForgotten = true
        effects.append(.forget(reason: reason))
    }

    // MARK: Marks between starts

    /// Draws another mark of this log while every other node is in touch: each of them notes it within a moment, and from
    /// then on each of them alone tells a copy from before. Nobody lags more than one mark behind, so that none is ever
    /// asked for that the list has lost. (Rule E2.3)
    mutating func settleDrawing(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard let nonce = self.marks.offeredNonce, self.marks.drawn == nil, self.birth.isMarkAdmitted,
            self.consensus.areMarksDurable, !self.consensus.hasFailedDisk,
            self.state.nodes.allSatisfy({ node in
                node.id == self.identity.node || self.links.reachability.isGood(node.id, at: now)
            })
        else { return }
        self.marks.offeredNonce = nil
        let mark = self.identity.memory.next(nonce: nonce)
        self.marks.drawn = mark
        self.consensusStep(.draw(mark), at: now, into: &effects)
    }

    /// The mark is durable: from here on everything leaves under it.
    private mutating func useDrawnMark(into effects: inout [SupervisorEffect]) {
        guard let mark = self.marks.drawn else { return }
        self.marks.drawn = nil
        self.identity.memory.draw(nonce: mark.nonce)
        if self.marks.isDrawnInDoubt {
            self.marks.isDrawnInDoubt = false
            self.marks.admittable = mark
            self.derive()
            self.schedule.isUnsettled = true
        }
        effects.append(.note(.newMark(mark)))
    }

    // MARK: The log's own record

    /// Notes what the applied log knows of everybody's marks; it may only raise what is noted. (Rules E2.1, E2.7)
    mutating func settleMarks(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard self.marks.notedAppliedIndex != self.state.appliedIndex, !self.consensus.hasFailedDisk else { return }
        self.marks.notedAppliedIndex = self.state.appliedIndex
        for place in self.state.nodes.indices where self.state.nodes[place].mark != .none {
            let record = NotedMark(
                node: self.state.nodes[place].id, mark: self.state.nodes[place].mark,
                admittedAt: self.state.nodes[place].directoryAdmittedAt)
            if record.node == self.identity.node, !self.recognises(record, into: &effects) { continue }
            guard record.raises(self.consensus.notedMark(of: record.node)) else { continue }
            self.consensusStep(.note(record), at: now, into: &effects)
        }
    }

    /// Compares what the log knows of this node with its memory. False when the log means another directory.
    private mutating func recognises(_ record: NotedMark, into effects: inout [SupervisorEffect]) -> Bool {
        let memory = self.identity.memory
        if record.mark.directory == memory.directory {
            self.marks.isStranger = false
            // A record that the list does not go back to is one of an old snapshot.
            if memory.reachesBack(to: record.mark), !memory.remembers(record.mark) {
                self.forget("the log has admitted \(record.mark), which this copy does not remember", into: &effects)
            }
            return true
        }
        if let own = self.consensus.notedMark(of: self.identity.node), own.mark.directory == memory.directory,
            own.admittedAt < record.admittedAt
        {
            self.forget("the log has admitted another directory, \(record.mark), since", into: &effects)
        }
        return false
    }
}
