import Basis
import Mirror
import Raft

/// One node's decisions, as a value: consensus, cluster state, leases, and the groups and volumes that run here.
///
/// Start reading at `step`. The driver feeds inputs and performs effects in order; the simulator does the same in
/// virtual time. What it knows lies in values, each with its own `settle` and `deadline` (`Birth`, `LocalLease`, `Voting`,
/// `Leadership`, `LocalGroups`, `LocalVolumes`, `Requests`, `Telling`); what must leave the node for it is done by concern:
/// `+Consensus` (log and messages), `+Leases` (both sides of the lease), `+Leader`, `+Groups` and `+Volumes` (what runs here),
/// `+Clients`.
public struct Supervisor: Sendable {
    /// What a node knows about itself when its daemon starts.
    public struct Identity: Equatable, Sendable {
        /// Its id.
        public var node: NodeID
        /// This boot of the machine.
        public var bootID: String
        /// Which log it has, and the starts of it. (Rule E2)
        public var memory: LogMemory
        /// Random, for this life of the daemon. (Rule L2)
        public var nonce: UInt64
        /// What it follows, as kept beside the log. (Rule R1)
        public var generation: GenerationRecord
        /// What its daemon is.
        public var release: Release
        /// Whom it may ask before its log has told who the nodes are; some may have gone since. (Rule L16)
        public var seeds: [NodeID]
        /// All fields.
        public init(
            node: NodeID, bootID: String, memory: LogMemory, nonce: UInt64,
            generation: GenerationRecord = GenerationRecord(.first), seeds: [NodeID] = [],
            release: Release = .present
        ) {
            self.release = release
            self.generation = generation
            self.seeds = seeds
            self.node = node
            self.bootID = bootID
            self.memory = memory
            self.nonce = nonce
        }
    }

    /// What is due within this time is done along with what is due now: fewer wake-ups, fuller packets.
    static let timerSlack = Span.milliseconds(20)
    /// What can be done along with something else waits this much longer for it before it wakes the node by itself.
    static let timerPatience = Span.milliseconds(10)

    /// Who this is.
    public internal(set) var identity: Identity
    /// The replicated log.
    public internal(set) var consensus: Consensus
    /// What the applied log says.
    public internal(set) var state = ClusterState()
    /// How far that is.
    var applied: AppliedLog
    /// How this daemon comes to take part.
    var birth: Birth
    /// What this node follows, and how a lost majority is left behind.
    var recovering: Recovering
    /// How this node goes.
    var departure = Departure()
    /// This node's lease.
    var lease: LocalLease
    /// This node's votes on others' leases.
    var voting: Voting
    /// The marks of this node's log.
    var marks: OwnMarks
    /// What this node knows of the logs of those that talk to it.
    var peers: Peers
    /// Who can be talked to.
    var links: Links
    /// What only the leader decides, while this node leads.
    var leadership: Leadership?
    /// What runs here.
    public internal(set) var groups = LocalGroups()
    /// The volume servers here.
    var volumes = LocalVolumes()
    /// What was asked for and is not done yet.
    var requests: Requests
    /// What the nodes tell each other.
    var telling: Telling
    /// When what is due.
    public internal(set) var schedule: Schedule
    /// The wall clock for stamps that people read; set by the driver before each step.
    public var wallMilliseconds: UInt64 = 0
    /// Lent to each step of the consensus, so that its memory is there already.
    var raftEffects = Raft.Effects()

    /// A node that starts. `facts` and `leaseEnd` are what an earlier daemon of the same boot left, if anything.
    public init(
        identity: Identity, settings: Consensus.Settings, restored: RestoredState, facts: Facts?, leaseEnd: Tick,
        seed: UInt64, at now: Tick
    ) throws(CodecError) {
        self.identity = identity
        self.marks = OwnMarks(present: identity.memory.present)
        self.consensus = Consensus(
            id: identity.node, settings: settings, restored: restored, seed: seed, at: now)
        if let snapshot = restored.snapshot { self.state = try identity.release.state(decoding: snapshot.data) }
        try identity.release.check(restored)
        self.applied = AppliedLog(restored.snapshot, at: now)
        self.recovering = Recovering(identity.generation, hasEmptyLog: self.consensus.hasPromisedNothing)
        self.birth = Birth(nonce: identity.nonce)
        self.requests = Requests(nonce: identity.nonce)
        self.lease = LocalLease(
            holder: LeaseHolder(node: identity.node, bootID: identity.bootID, nonce: identity.nonce))
        self.voting = Voting(startedAt: now)
        self.telling = Telling(identity.release)
        self.peers = Peers(noted: self.consensus.notedMarks, of: identity.node, nonce: identity.nonce, at: now)
        self.links = Links(node: identity.node, seeds: identity.seeds)
        self.schedule = Schedule(at: now)
        self.derive()
        self.refreshTail()
        self.consensus.abstains = self.hasNoVoteYet
        if let facts, facts.bootID == identity.bootID {
            self.volumes.takenBack = facts.takenBack
            self.adopt(facts, leaseEnd: leaseEnd, at: now)
        }
    }

    /// Advances by one input. Effects are appended, to be performed in order.
    public mutating func step(
        _ input: SupervisorInput, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        if self.marks.hasForgotten { return }
        #if DEBUG
            defer { self.assertInvariants() }
        #endif
        switch input {
        case .receive(let envelopes, let via):
            var envelopes = envelopes
            self.receive(&envelopes, via: via, at: now, into: &effects)
            return
        case .persisted(let sequence):
            self.consensusStep(.persisted(sequence: sequence), at: now, into: &effects)
            self.marksPersisted(at: now, into: &effects)
            self.settleIfNeeded(at: now, into: &effects)
            return
        case .tick:
            if now >= self.consensus.outline.nextDeadline { self.consensusStep(.tick, at: now, into: &effects) }
            if now < self.schedule.own {
                self.settleIfNeeded(at: now, into: &effects)
                return
            }
        case .snapshot(let word): self.snapshotEnded(word, at: now, into: &effects)
        case .diskFailed:
            effects.append(.note(.diskFailed))
            self.consensusStep(.diskFailed, at: now, into: &effects)
        case .agentFinished(let id, let outcome): self.agentFinished(id, outcome, at: now, into: &effects)
        case .serviceExited(let group, let resource, let epoch, let reason):
            self.stepRunner(group, epoch, .exited(resource, reason: reason), at: now, into: &effects)
        case .groupRemains(let group, let remains): self.groupRemains(group, remains, at: now)
        case .groupKilled(let group, let isDead):
            self.groupKilled(group, isDead: isDead, at: now, into: &effects)
        case .volume(let name, let event): self.volumeEvent(name, event, at: now, into: &effects)
        case .volumeConnected(let name): self.volumeConnection(name, isUp: true, at: now, into: &effects)
        case .volumeDisconnected(let name): self.volumeConnection(name, isUp: false, at: now, into: &effects)
        case .volumeEnded(let name, let reason): self.volumeEnded(name, reason, at: now, into: &effects)
        case .client(let id, let request): self.client(id, request, at: now, into: &effects)
        case .guardKills(let since):
            self.groups.remains.guardKillsSince = since
            self.groups.version += 1
        case .twins(let node, let twins, let settledAt):
            self.met(twins, of: node, after: settledAt, at: now, into: &effects)
        case .isTwin(let node, let word): self.isTold(word, by: node, into: &effects)
        case .shownOut(let node, let generation): self.shownOut(by: node, of: generation, into: &effects)
        case .drawMark(let nonce): self.marks.offeredNonce = nonce
        case .doubt(let since, let nonce):
            self.lease.doubtSince = max(self.lease.doubtSince, since)
            if let nonce { self.doubtAsVoter(nonce, at: now) }
        case .guardSeen(let tick):
            let wasGuarded = self.isGuarded(at: now)
            self.lease.guardSeenAt = max(self.lease.guardSeenAt, tick)
            if wasGuarded { return }
        case .runs(let role, let helper, let isRenewable):
            self.helpers.runs(role, helper, isRenewable: isRenewable, at: now)
        case .generationWritten(let record): self.generationWritten(record, at: now, into: &effects)
        case .inspected(let id, let asker, let answers):
            self.inspected(id, for: asker, answers, at: now, into: &effects)
            return
        }
        self.settle(at: now, into: &effects)
    }

    /// Takes messages that arrived together, as `step` does with `receive`. They are moved out, not copied: what is left
    /// of the envelopes means nothing.
    public mutating func receive(
        _ envelopes: inout [Envelope], via: NodeID, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        if self.marks.hasForgotten { return }
        #if DEBUG
            defer { self.assertInvariants() }
        #endif
        for place in envelopes.indices {
            guard envelopes[place].to == self.identity.node else {
                self.relay(envelopes[place], via: via, at: now, into: &effects)
                continue
            }
            let (sender, mark) = (envelopes[place].from, envelopes[place].mark)
            if case .recovery(let word) = envelopes[place].message {
                // Of any generation, but only from its sender itself.
                if via == sender, !self.state.hasLeft(via) { self.take(word, from: sender, at: now, into: &effects) }
                continue
            }
            if envelopes[place].generation != self.recovering.generation {
                self.hearOfAnother(envelopes[place], via: via, at: now, into: &effects)
                continue
            }
            if self.recovering.isOvertaken { continue }
            var message = NodeMessage.readRequest(id: 0)
            swap(&message, &envelopes[place].message)
            let finding = self.hear(envelopes[place].word, from: sender, mark, at: now, into: &effects)
            if finding == .takenBack {
                return self.wasTakenBack(toldBy: sender, in: message, at: now, into: &effects)
            }
            if self.isMeantForAnother(message, envelopes[place].word) {
                self.speak(to: sender, at: now, into: &effects)
                continue
            }
            self.receive(
                message, from: sender, mark, via: via, isLate: finding == .late, at: now, into: &effects)
            if self.marks.hasForgotten { return }
        }
        self.settleIfNeeded(at: now, into: &effects)
    }

    /// After a message: all of it if something changed or is due, else nothing but the next deadline.
    private mutating func settleIfNeeded(at now: Tick, into effects: inout [SupervisorEffect]) {
        if self.schedule.isUnsettled || now >= self.schedule.occasion {
            self.settle(at: now, into: &effects)
        } else {
            self.schedule.deadline = min(self.schedule.own, self.consensus.outline.nextDeadline)
        }
    }

    /// Everything that depends on time or on the applied state. Each part is idle when nothing is due.
    private mutating func settle(at now: Tick, into effects: inout [SupervisorEffect]) {
        if self.marks.hasForgotten { return }
        // What a part below changes in the log, the parts above see after the next message.
        self.schedule.isUnsettled = false
        self.settlePeers(into: &effects)
        self.settleRecovery(at: now, into: &effects)
        self.settleMarks(at: now, into: &effects)
        if self.marks.doubtNonce != nil { self.settleDoubtMark(at: now, into: &effects) }
        if self.marks.offeredNonce != nil { self.settleDrawing(at: now, into: &effects) }
        if self.marks.hasForgotten { return }
        self.settleLeases(at: now, into: &effects)
        self.settleLinks(at: now, into: &effects)
        self.settleRemains(at: now, into: &effects)
        self.settleShutDown(at: now, into: &effects)
        self.settleUnreadable(at: now, into: &effects)
        self.settleSnapshots(at: now, into: &effects)
        self.settleBirth(at: now, into: &effects)
        self.settleServers(into: &effects)
        self.settleGroups(at: now, into: &effects)
        self.settleCopies(at: now, into: &effects)
        self.settleRenewal(at: now, into: &effects)
        self.settleLeader(at: now, into: &effects)
        self.settlePending(at: now, into: &effects)
        self.settleReads(at: now, into: &effects)
        self.settleSummary(at: now, into: &effects)
        self.noteDeadlines(after: now)
    }

    private mutating func noteDeadlines(after now: Tick) {
        let shared = min(self.lease.holder.deadline, self.links.deadline, self.telling.deadline)
        var next = min(self.voting.deadline, self.lease.deadline, self.groups.remains.deadline(after: now))
        next = min(next, self.recovering.deadline, self.applied.desk.againAt)
        if self.birth.isCaughtUp { next = min(next, self.volumes.deadline) }
        for place in self.groups.runners.indices { next = min(next, self.groups.runners[place].deadline) }
        let early = Tick(nanoseconds: shared.nanoseconds - min(shared.nanoseconds, Self.timerSlack.nanoseconds))
        var occasion = min(next, early, self.groups.sweepDeadline)
        if let leadership = self.leadership {
            occasion = min(occasion, leadership.nextPlanAt)
            next = min(next, leadership.deadline)
        }
        if !self.birth.isDone || !self.requests.pending.isEmpty {
            next = min(next, self.birth.deadline(after: now), self.requests.deadline(after: now))
            occasion = now
        }
        if !self.requests.reads.waiting.isEmpty { next = min(next, self.requests.reads.deadline(after: now)) }
        self.schedule.own = min(next, shared + Self.timerPatience)
        self.schedule.occasion = occasion
        self.schedule.deadline = min(self.schedule.own, self.consensus.outline.nextDeadline)
    }

    /// What follows from the applied state alone, so that it is not worked out anew at each step.
    mutating func derive() {
        // Rule E5: a person has said that this machine is the node.
        if self.links.twinWord != nil, self.me?.twins.chosen == self.identity.bootID { self.links.twinWord = nil }
        self.birth.derive(from: self.me, bootID: self.identity.bootID, self.marks)
    }

    /// This node's record, once it has joined.
    public var me: ClusterState.NodeRecord? { self.state.node(self.identity.node) }

    /// The guard looked at the lease a moment ago. (Rule L12)
    public func isGuarded(at now: Tick) -> Bool { self.lease.isGuarded(at: now) }

    /// What runs beside this daemon and outlives it.
    var helpers: LocalHelpers {
        get { self.telling.helpers }
        _modify { yield &self.telling.helpers }
    }

    /// Voters, sorted: the possible relays. An empty log names none: then any node that was named beside it. (Rule L16)
    var relays: [NodeID] {
        let voters = self.consensus.outline.membership.allVoters
        return voters.isEmpty ? self.links.nodes : voters
    }

    mutating func send(
        _ message: consuming NodeMessage, to node: NodeID, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        // Rule R1: who was left behind says nothing that could count.
        if self.recovering.isOvertaken { return }
        let hop =
            self.links.reachability.sendDirectly(to: node, at: now)
            ? node : self.links.reachability.nextHop(to: node, relays: self.relays, at: now)
        effects.append(.send(self.envelope(message, to: node, isRelayed: hop != node, at: now), to: hop))
    }

    /// What this node says to another one, with all that goes with it.
    func envelope(
        _ message: consuming NodeMessage, to node: NodeID, isRelayed: Bool, at now: Tick
    ) -> Envelope {
        Envelope(
            from: self.identity.node, to: node, isRelayed: isRelayed, generation: self.recovering.generation,
            mark: self.identity.memory.present, word: self.hearingWord(to: node, at: now), message: message)
    }
}
