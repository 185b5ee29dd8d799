import Basis
import Mirror
import Raft

/// One node's decisions, as a value: consensus, cluster state, leases, and the groups and volumes that run here.
///
/// Start reading at `step`. The driver feeds inputs and performs effects in order; the simulator does the same in
/// virtual time. Split by concern: `+Consensus` (log and messages), `+Leases` (both sides of the lease), `+Leader`
/// (what only the leader decides), `+Groups` and `+Volumes` (what runs here), `+Clients`.
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
        /// All fields.
        public init(node: NodeID, bootID: String, memory: LogMemory, nonce: UInt64) {
            self.node = node
            self.bootID = bootID
            self.memory = memory
            self.nonce = nonce
        }
    }

    /// One volume's server on this node.
    struct VolumeView: Equatable, Sendable {
        var name: VolumeName
        var isConnected = false
        var status: VolumeStatus?
        /// What its server found where the copy should be.
        var report: CopyReport?
        var failure = ""
        /// Why there is no copy that counts, if there is none, and which of it was noted for the journal.
        var problem = ""
        var notedProblem = ""
        /// The last epoch under which its server said that it serves clients, in this life of the daemon.
        var openedEpoch = Epoch.none
        /// When the server may be asked again to make or to note a copy.
        var askAt = Tick.zero
        /// The question whose answer decides whether the copy is an older one, and what the log knew when it was asked.
        var question: UInt64 = 0
        var askedAgainst: CopyKnowledge?
        var isAnswered = false
    }

    /// A command that was handed to the leader and is not applied yet.
    struct Pending: Equatable, Sendable {
        var sequence: UInt64
        var command: Command
        var client: UInt64?
        var sentAt: Tick
        var deadline: Tick
    }

    /// A request as its origin numbers it.
    struct RequestKey: Hashable, Sendable {
        var origin: NodeID
        var nonce: UInt64
        var sequence: UInt64
    }

    /// What decides about all groups of this node alike.
    struct GroupsKey: Equatable, Sendable {
        var hasLease = false
        var isCaughtUp = false
        var isGuarded = false
        var incarnation = Incarnation.none
        /// Rules L1, L10, L12.
        var mayStart: Bool { self.hasLease && self.isCaughtUp && self.isGuarded }
    }

    /// What is due within this time is done along with what is due now: fewer wake-ups, fuller packets.
    static let timerSlack = Span.milliseconds(20)
    /// What can be done along with something else waits this much longer for it before it wakes the node by itself.
    static let timerPatience = Span.milliseconds(10)
    /// While something that was asked for is missing, how soon to look again.
    private static let retryPause = Span.milliseconds(100)

    struct Report: Equatable, Sendable {
        var voter: NodeID
        var receivedAt: Tick
        var lines: [VoterReport.Line]
    }

    struct Leadership: Equatable, Sendable {
        var since: Tick
        /// The last index when leadership began; decisions wait until it is applied.
        var index: LogIndex
        var clusterMilliseconds: UInt64
    }

    /// Who this is.
    public internal(set) var identity: Identity
    /// The replicated log.
    public internal(set) var consensus: Consensus
    /// What the applied log says.
    public internal(set) var state = ClusterState()
    /// This node's lease.
    public internal(set) var holder: LeaseHolder
    /// This node's votes on others' leases.
    public internal(set) var voter: LeaseVoter
    /// Who can be talked to.
    public internal(set) var reachability: Reachability
    /// The groups that run here, sorted by name.
    public internal(set) var runners: [GroupRunner] = []
    /// How the other nodes say they stand, with the time of arrival; sorted by node.
    public internal(set) var summaries: [(node: NodeID, receivedAt: Tick, summary: NodeSummary)] = []
    /// The wall clock for stamps that people read; set by the driver before each step.
    public var wallMilliseconds: UInt64 = 0
    /// The applied state is surely not older than this daemon's start. (Rule L10)
    public internal(set) var isCaughtUp = false
    /// Peers that said what no correct peer can say. (`Violation`)
    public internal(set) var distrusted: [Distrust] = []
    /// What of the log this release cannot read; nothing after it is applied.
    public internal(set) var unreadable: String?
    /// When boot clock and hardware clock last parted; zero if they never did. (Rule L20)
    public internal(set) var doubtSince = Tick.zero
    var wasInDoubt = false
    /// The guard's last look.
    public internal(set) var guardSeenAt = Tick.zero

    /// The mark that the log admits: that of this daemon's start, or the one that was drawn in a doubt since;
    /// `identity.memory` may have later ones. (Rules E2.3, E4.3)
    var startMark: StartMark
    /// This run of the daemon, as others know it. (Rule E4)
    let run: RunID
    /// What the next mark is made of, while it waits for the other nodes, and the mark, while it waits for the disk.
    var offeredNonce: UInt64?
    var drawnMark: StartMark?
    /// What the mark of a doubt is made of, before it is drawn; whether the drawn mark is that one; and from when on another may
    /// be drawn. (Rule E4.3)
    var doubtNonce: UInt64?
    var isDoubtMarkDrawn = false
    var nextDoubtMarkAt = Tick.zero
    /// When the last entry was applied, or this daemon began.
    var appliedAt: Tick
    /// The mark of the message that is being taken.
    var presentMark = StartMark.none
    /// What this node knows of the logs of those that talk to it. (Rule E2.1)
    var acquaintances: [Acquaintance] = []
    var nextChallenge: UInt64 = 0
    /// Which of consensus' marks are counted.
    var countedVersion: UInt64 = 0
    var notedAppliedIndex: LogIndex?
    /// This node's log is not the one that others hold promises of; it counts nowhere before it is let in. (Rule E2.2)
    public internal(set) var isStranger = false
    /// This log was rolled back: it is kept aside, and this life of the daemon takes part in nothing more. (Rule E2.2)
    public internal(set) var hasForgotten = false
    var appliedMembership: Membership
    var appliedMembershipIndex: LogIndex
    var appliedTerm = Term.zero
    var raftEffects = Raft.Effects()
    var volumes: [VolumeView] = []
    /// Sorted by sequence.
    var pending: [Pending] = []
    /// What this leader has proposed and not applied yet.
    var proposed: Set<RequestKey> = []
    var nextSequence: UInt64 = 1
    var nextCall: UInt64 = 1
    var leadership: Leadership?
    var reports: [Report] = []
    var tailSuspicions: [(node: NodeID, incarnation: Incarnation, mark: LogMark)] = []
    /// The longest D of a configuration in the same entries. (Rule L5.1)
    var tailLease = Span.zero
    var tailVersion: (log: UInt64, applied: LogIndex) = (.max, .zero)
    var readID: UInt64 = 0
    var readIndex: LogIndex?
    var nextReadAt = Tick.zero
    var nextAdmitAt = Tick.zero
    var nextReportAt = Tick.zero
    var reportedVersion: (log: UInt64, applied: LogIndex, durable: LogIndex) = (.max, .zero, .zero)
    var lastLeader: NodeID?
    var nextSummaryAt = Tick.zero
    /// What was told in the last summary, and when.
    var toldKey = SummaryKey()
    var toldAt = Tick.zero
    /// Grows with each change of what a volume's server is, but not with its progress.
    var volumesVersion: UInt64 = 0
    var nextPlanAt = Tick.zero
    /// From here on the leader decides along with whatever else is due.
    var planFrom = Tick.zero
    var nextHandoverAt = Tick.zero
    var hadReportLines = false
    var absentProbes: [AbsentProbe] = []
    /// What is left here of groups that must not run here, sorted by group. (Rules L11.5, L12.3)
    var remaining: [Remaining] = []
    /// The groups that are being killed here without a runner.
    var ending: [GroupName] = []
    var nextRemainsLook = Tick.zero
    /// Since when this daemon shuts its node down in order. (Rule L21)
    var shutDownSince: Tick?
    /// The life of this node whose lease was given back; `.none` is that of a node that was not let in.
    var resignedLife: Incarnation?
    /// Nothing runs here any more, and the lease of this life was given back. A life that was let in meanwhile, because it had
    /// asked before, has one of its own. (Rule L21)
    public var hasResigned: Bool { self.resignedLife == self.myIncarnation }
    /// Since when the guard has been killing what does not die; zero when nothing is left. (Rule L12.3)
    var guardKillsSince = Tick.zero
    var inspections: [Inspection] = []
    var adoptable: Facts?
    var stoppedEpochs: [GroupName: Epoch] = [:]
    var lastFacts: Facts?
    /// Copies that were taken back, before their servers have shown that they know it. (Rule E4.2)
    var takenBackCopies: [Facts.TakenBack] = []
    var lastServers: [VolumeServerSpec] = []
    var lastPeers: [PeerSpec] = []
    /// The nodes of `lastPeers`.
    var peerNodes: [NodeID] = []
    var peersDerivedAt: LogIndex?
    var serversDerivedAt: ServersKey?
    var copiesSettledAt = CopiesKey()
    var nextCopyLook = Tick.never
    var wasLeaseValid = false
    var publishedEnd = Tick.zero
    /// Grows whenever a runner becomes something else.
    public internal(set) var runnersVersion: UInt64 = 0
    /// How often a group was looked at since the daemon started: what a node's work grows with.
    public internal(set) var groupsSettled: UInt64 = 0
    /// How often the plan was made.
    public internal(set) var plansMade: UInt64 = 0
    /// The groups to look at.
    var changedGroups = GroupChanges()
    /// The part of `runnersVersion` that `changedGroups` tells of.
    var namedVersion: UInt64 = 0
    var settledAt = GroupsKey()
    /// The soonest deadline of a runner.
    var runnersDeadline = Tick.never
    var nextSettle = Tick.zero
    /// Nothing about groups is under way: time alone changes nothing.
    var areGroupsCalm = false
    var factsVersion: UInt64 = .max
    /// This node's admitted life, if this boot is the one that was admitted.
    var myIncarnation = Incarnation.none
    /// This very life of the daemon is the admitted one.
    public private(set) var isAdmitted = false
    /// The log has let in this very start of this node's log, whatever became of its life. (Rule E2.5)
    private(set) var isMarkAdmitted = false
    var nextMembershipAt = Tick.zero
    var nextReplanAt = Tick.zero
    var plannedAt = LogIndex.zero
    /// The plan made of the state at `plannedAt` asks for nothing.
    var isPlanEmpty = false
    /// When the last plan was made, and whether something was applied since.
    var lastPlanAt = Tick.zero
    var isPlanOwed = false
    /// The next moment at which `tick` does something.
    public private(set) var deadline = Tick.zero
    /// The part of `deadline` that does not depend on consensus.
    private var ownDeadline = Tick.zero
    /// Something changed on which what this node does depends; most messages change nothing of the kind.
    var isUnsettled = true
    /// When a message that changes nothing is a welcome occasion to do what is nearly due.
    private var occasionAt = Tick.zero

    /// A node that starts. `facts` and `leaseEnd` are what an earlier daemon of the same boot left, if anything.
    public init(
        identity: Identity, settings: Consensus.Settings, restored: RestoredState, facts: Facts?, leaseEnd: Tick,
        seed: UInt64, at now: Tick
    ) throws(CodecError) {
        self.identity = identity
        self.startMark = identity.memory.present
        self.run = identity.memory.present.run
        self.appliedAt = now
        self.consensus = Consensus(
            id: identity.node, settings: settings, restored: restored, seed: seed, at: now)
        self.holder = LeaseHolder(node: identity.node, bootID: identity.bootID, nonce: identity.nonce)
        if let snapshot = restored.snapshot {
            self.state = try ClusterState(decoding: snapshot.data)
            self.appliedMembership = snapshot.membership
            self.appliedMembershipIndex = snapshot.membershipIndex
            self.appliedTerm = snapshot.mark.term
        } else {
            self.appliedMembership = Membership(voters: [])
            self.appliedMembershipIndex = .zero
        }
        self.voter = LeaseVoter(startedAt: now)
        self.reachability = Reachability(node: identity.node)
        // A read's number must not repeat one of an earlier life of the daemon.
        self.readID = identity.nonce & 0x3F_FFFF_FFFF
        self.nextChallenge = identity.nonce
        self.acquaintances = self.consensus.notedMarks.filter { $0.node != identity.node }.map {
            Acquaintance(node: $0.node, counted: $0.mark)
        }
        self.derive()
        if let facts, facts.bootID == identity.bootID {
            self.takenBackCopies = facts.takenBack
            self.adopt(facts, leaseEnd: leaseEnd, at: now)
        }
        self.deadline = now
    }

    /// Advances by one input. Effects are appended, to be performed in order.
    public mutating func step(
        _ input: SupervisorInput, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        if self.hasForgotten { return }
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
            if now < self.ownDeadline {
                self.settleIfNeeded(at: now, into: &effects)
                return
            }
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
            self.guardKillsSince = since
            self.runnersVersion += 1
        case .drawMark(let nonce): self.offeredNonce = nonce
        case .doubt(let since, let nonce):
            self.doubtSince = max(self.doubtSince, since)
            if let nonce { self.doubtAsVoter(nonce, at: now) }
        case .guardSeen(let tick):
            let wasGuarded = self.isGuarded(at: now)
            self.guardSeenAt = max(self.guardSeenAt, tick)
            if wasGuarded { return }
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
        if self.hasForgotten { return }
        for place in envelopes.indices {
            guard envelopes[place].to == self.identity.node else {
                self.relay(envelopes[place], via: via, at: now, into: &effects)
                continue
            }
            let (sender, mark) = (envelopes[place].from, envelopes[place].mark)
            var message = NodeMessage.readRequest(id: 0)
            swap(&message, &envelopes[place].message)
            let finding = self.hear(envelopes[place].word, from: sender, mark, at: now, into: &effects)
            if finding == .takenBack {
                return self.wasTakenBack(toldBy: sender, in: message, at: now, into: &effects)
            }
            if self.isMeantForAnother(message, envelopes[place].word) { continue }
            self.receive(
                message, from: sender, mark, via: via, isLate: finding == .late, at: now, into: &effects)
            if self.hasForgotten { return }
        }
        self.settleIfNeeded(at: now, into: &effects)
    }

    /// After a message: all of it if something changed or is due, else nothing but the next deadline.
    private mutating func settleIfNeeded(at now: Tick, into effects: inout [SupervisorEffect]) {
        if self.isUnsettled || now >= self.occasionAt {
            self.settle(at: now, into: &effects)
        } else {
            self.deadline = min(self.ownDeadline, self.consensus.outline.nextDeadline)
        }
    }

    /// Everything that depends on time or on the applied state. Each part is idle when nothing is due.
    private mutating func settle(at now: Tick, into effects: inout [SupervisorEffect]) {
        if self.hasForgotten { return }
        // What a part below changes in the log, the parts above see after the next message.
        self.isUnsettled = false
        self.settlePeers(into: &effects)
        self.settleMarks(at: now, into: &effects)
        if self.doubtNonce != nil { self.settleDoubtMark(at: now, into: &effects) }
        if self.offeredNonce != nil { self.settleDrawing(at: now, into: &effects) }
        if self.hasForgotten { return }
        self.settleLeases(at: now, into: &effects)
        self.settleLinks(at: now, into: &effects)
        self.settleRemains(at: now, into: &effects)
        self.settleShutDown(at: now, into: &effects)
        self.settleBirth(at: now, into: &effects)
        self.settleServers(into: &effects)
        self.settleGroups(at: now, into: &effects)
        self.settleCopies(at: now, into: &effects)
        self.settleLeader(at: now, into: &effects)
        self.settlePending(at: now, into: &effects)
        self.settleSummary(at: now, into: &effects)
        self.noteDeadlines(after: now)
    }

    private mutating func noteDeadlines(after now: Tick) {
        let shared = min(self.holder.deadline, self.reachability.deadline, self.nextSummaryAt)
        var next = self.nextReportAt
        if self.wasLeaseValid { next = min(next, self.holder.end) }
        if !self.remaining.isEmpty { next = min(next, now + .milliseconds(500)) }
        if self.isCaughtUp { next = min(next, self.nextCopyLook) }
        for place in self.runners.indices { next = min(next, self.runners[place].deadline) }
        let early = Tick(nanoseconds: shared.nanoseconds - min(shared.nanoseconds, Self.timerSlack.nanoseconds))
        var occasion = min(next, early)
        if !self.areGroupsCalm { occasion = min(occasion, self.nextSettle) }
        if self.leadership != nil {
            occasion = min(occasion, self.nextPlanAt)
            if self.isSomebodySilent || self.isPlanOwed { next = min(next, self.nextPlanAt) }
        }
        if !self.isCaughtUp || !self.isAdmitted || !self.pending.isEmpty {
            next = min(next, now + Self.retryPause)
            occasion = now
        }
        self.ownDeadline = min(next, shared + Self.timerPatience)
        self.occasionAt = occasion
        self.deadline = min(self.ownDeadline, self.consensus.outline.nextDeadline)
    }

    /// Some voter says that somebody is silent.
    @inline(__always)  // A call would copy the whole supervisor.
    var isSomebodySilent: Bool { self.reports.contains { !$0.lines.isEmpty } }

    /// The applied log suspects somebody.
    @inline(__always)  // As above.
    var isSomebodySuspected: Bool {
        self.state.nodes.indices.contains { place in
            if case .suspected = self.state.nodes[place].standing { true } else { false }
        }
    }

    /// What follows from the applied state alone, so that it is not worked out anew at each step.
    mutating func derive() {
        self.isAdmitted = false
        self.isMarkAdmitted =
            self.me?.mark == self.startMark && !self.isDoubtMarkDue
        guard let me = self.me, me.bootID == self.identity.bootID, me.standing != .lost, me.standing != .never else {
            self.myIncarnation = .none
            return
        }
        self.myIncarnation = me.incarnation
        self.isAdmitted = self.isMarkAdmitted
    }

    /// This node's record, once it has joined.
    public var me: ClusterState.NodeRecord? { self.state.node(self.identity.node) }

    /// The guard looked at the lease a moment ago. (Rule L12)
    public func isGuarded(at now: Tick) -> Bool {
        self.guardSeenAt != .zero && now.since(self.guardSeenAt) < .milliseconds(500)
    }

    /// Voters, sorted: the possible relays. (Rule L16)
    var relays: [NodeID] { self.consensus.outline.membership.allVoters }

    mutating func send(_ message: NodeMessage, to node: NodeID, at now: Tick, into effects: inout [SupervisorEffect]) {
        let hop =
            self.reachability.sendDirectly(to: node, at: now)
            ? node : self.reachability.nextHop(to: node, relays: self.relays, at: now)
        effects.append(
            .send(
                Envelope(
                    from: self.identity.node, to: node, isRelayed: hop != node,
                    mark: self.identity.memory.present, word: self.hearingWord(to: node, at: now), message: message),
                to: hop))
    }
}
