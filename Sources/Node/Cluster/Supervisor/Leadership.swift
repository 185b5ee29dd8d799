import Basis
import Raft
import Resources

/// What a node knows and decides only because it leads. It begins with nothing and ends with the leadership.
struct Leadership: Sendable {
    /// A request as its origin numbers it.
    struct RequestKey: Hashable, Sendable {
        var origin: NodeID
        var nonce: UInt64
        var sequence: UInt64

        init(_ command: LogCommand) {
            self.origin = command.origin
            self.nonce = command.nonce
            self.sequence = command.sequence
        }
    }

    /// What a voter hears of the others.
    struct Report: Sendable {
        var voter: NodeID
        var receivedAt: Tick
        var lines: [VoterReport.Line]
    }

    private static let planInterval = Span.milliseconds(50)
    private static let membershipInterval = Span.milliseconds(250)
    private static let replanInterval = Span.milliseconds(1000)
    /// How long the next plan waits, for each group: about five times of what the last one took.
    private static let planPausePerGroup = Span(nanoseconds: 50_000)
    /// With at most so many groups no plan waits.
    private static let groupsWithoutPause = 50

    /// When it began.
    let since: Tick
    /// The last index when it began; decisions wait until it is applied.
    let index: LogIndex
    /// Cluster time when it began.
    let clusterMilliseconds: UInt64
    /// What was proposed and is not applied yet.
    var proposed: Set<RequestKey> = []
    /// The latest of each voter.
    var reports: [Report] = []
    /// When the leader decides next, and from when on it does so early, when the node steps anyway.
    var nextPlanAt = Tick.zero
    var planFrom = Tick.zero
    /// Votes are looked at again.
    var nextMembershipAt = Tick.zero
    /// When the plan is made again although nothing was applied; what was asked for may have been lost.
    var nextReplanAt = Tick.zero
    /// The state that the last plan was made of, when, and whether it asked for nothing.
    var plannedAt = LogIndex.zero
    var lastPlanAt = Tick.zero
    var isPlanEmpty = false
    /// Something was applied since, and the plan waits a little.
    var isPlanOwed = false
    /// How often the plan was made.
    var plansMade: UInt64 = 0
    /// Between whom there was a choice when votes were last looked at, and who was wanted: hardly an entry changes that.
    private var lastChoice = (of: VoterChoice([]), voters: [NodeID]())

    init(since: Tick, index: LogIndex, clusterMilliseconds: UInt64) {
        self.since = since
        self.index = index
        self.clusterMilliseconds = clusterMilliseconds
    }

    /// When it must decide; otherwise it does so along with whatever else is due.
    var deadline: Tick { self.isSomebodySilent || self.isPlanOwed ? self.nextPlanAt : .never }

    /// Some voter says that somebody is silent.
    var isSomebodySilent: Bool { self.reports.contains { !$0.lines.isEmpty } }

    /// A voter says what it hears: that is looked at now.
    mutating func received(_ report: VoterReport, from voter: NodeID, at now: Tick) {
        self.reports.removeAll { $0.voter == voter }
        self.reports.append(Report(voter: voter, receivedAt: now, lines: report.lines))
        self.nextPlanAt = now
    }

    /// A command was applied: it is on its way no more.
    mutating func applied(_ command: LogCommand) {
        if !self.proposed.isEmpty { self.proposed.remove(RequestKey(command)) }
    }

    /// Whether all that was in the log when it began is applied: before, nothing is decided and nothing proposed.
    func hasApplied(upTo index: LogIndex) -> Bool { index >= self.index }

    /// Cluster time while this node leads, as far as its boot clock can say.
    func clusterTime(at now: Tick) -> UInt64 { self.clusterMilliseconds + now.since(self.since).milliseconds }

    /// Whether there is something to decide.
    func isDue(_ applied: LogIndex, at now: Tick) -> Bool {
        self.hasApplied(upTo: applied) && now >= min(self.planFrom, self.nextPlanAt)
    }

    /// A round of decisions begins, with what the leader itself hears.
    mutating func begin(_ own: Report, detection: Span, nextReportAt: Tick, at now: Tick) {
        for place in self.reports.indices.reversed() {
            let isOwn = self.reports[place].voter == own.voter
            if isOwn || now.since(self.reports[place].receivedAt) > detection { self.reports.remove(at: place) }
        }
        self.reports.append(own)
        // While nobody is silent, what is decided changes only with a report, an entry, or this node's own hearing.
        self.nextPlanAt =
            self.isSomebodySilent
            ? now + Self.planInterval
            : min(now + Self.membershipInterval, max(nextReportAt, now + Self.planInterval))
        self.planFrom = now + self.nextPlanAt.since(now) / 2
    }

    /// Whether votes are looked at in this round.
    mutating func areVotesDue(isNew: Bool, at now: Tick) -> Bool {
        guard isNew || now >= self.nextMembershipAt else { return false }
        self.nextMembershipAt = now + Self.membershipInterval
        return true
    }

    /// The voters that are wanted of these.
    mutating func voters(of choice: VoterChoice) -> [NodeID] {
        if choice != self.lastChoice.of { self.lastChoice = (choice, choice.voters) }
        return self.lastChoice.voters
    }

    /// Whether not everybody who is up could have answered this leader yet: then votes are looked at again as soon as they could.
    mutating func awaitsAnswers(for patience: Span, at now: Tick) -> Bool {
        guard now < self.since + patience else { return false }
        self.nextMembershipAt = self.since + patience
        return true
    }

    /// Whether this round sees to bans and to the handing over of leadership, and if so whether it makes a plan.
    ///
    /// A plan looks at every group, so it costs more the more groups there are. Entries that follow each other closely share
    /// one plan: the next one waits for as long as the last one cost, several times over, and sees all that was applied.
    mutating func planDue(isNew: Bool, _ state: ClusterState, at now: Tick) -> Bool? {
        self.isPlanOwed = false
        guard isNew || now >= self.nextReplanAt else { return nil }
        let many = max(0, state.groups.count - Self.groupsWithoutPause)
        let from = self.lastPlanAt + Self.planPausePerGroup * UInt64(many)
        if isNew, many > 0, now < from {
            self.isPlanOwed = true
            self.nextPlanAt = min(self.nextPlanAt, from)
            self.planFrom = min(self.planFrom, from)
            return nil
        }
        self.lastPlanAt = now
        self.plannedAt = state.appliedIndex
        self.nextReplanAt = now + Self.replanInterval
        return isNew || !self.isPlanEmpty
    }

    /// The plan was made.
    mutating func planned(_ plan: Plan) {
        self.plansMade += 1
        self.isPlanEmpty = plan.actions.isEmpty
    }
}
