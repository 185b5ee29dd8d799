import Basis
import Raft

/// What this node follows, and how far the recovery of a lost majority is. (Rules R1 to R5)
struct Recovering: Sendable {
    /// How long survivors may take to prepare.
    static let patience = Span.seconds(8)
    /// How long the chosen one may take to begin.
    static let executionPatience = Span.seconds(10)
    /// How long nodes are waited for that are asked how they stand.
    static let surveyPatience = Span.milliseconds(1500)
    /// How often what was not answered is asked again, and who was left behind is told so.
    static let pause = Span.milliseconds(200)

    /// A recovery that was asked for here.
    struct Attempt: Sendable {
        /// How far it is.
        enum Phase: Sendable {
            /// The survivors turn away from the old generation. (Rule R2)
            case preparing(until: Tick)
            /// Whoever holds a lease that a survivor renewed runs out of it. (Rule R3)
            case waiting(until: Tick)
            /// The one with the longest log is to begin. (Rule R5)
            case executing(NodeID, until: Tick)
        }
        var plan: RecoveryPlan
        var client: UInt64
        var phase: Phase
        /// Of those that have prepared.
        var words: [Surveyed] = []
        var nextSendAt = Tick.zero
    }

    /// A client that wants to know how the nodes stand.
    struct Survey: Sendable {
        var client: UInt64
        var until: Tick
        var asked: Int
        var words: [Surveyed]
    }

    /// What this node follows, as it is on the disk.
    private(set) var record: GenerationRecord
    /// The disk does not say so yet.
    private(set) var isUnwritten = false
    /// What it is preparing, or prepared, for; nil after a restart.
    var plan: RecoveryPlan?
    /// At most one.
    var attempts: [Attempt] = []
    var surveys: [Survey] = []
    /// Nodes of an older generation that were told so, and when.
    var told: [(node: NodeID, at: Tick)] = []

    /// What the disk said. A log that is empty belongs to nobody: it follows what left its former one behind.
    init(_ record: GenerationRecord, hasEmptyLog: Bool) {
        self.record = record
        if hasEmptyLog, let overtaker = record.overtakenBy {
            self.record = GenerationRecord(overtaker)
            self.isUnwritten = true
        }
    }

    /// What this node follows.
    var generation: Generation { self.record.generation }
    /// It was left behind, and takes part in nothing.
    var isOvertaken: Bool { self.record.overtakenBy != nil }

    /// The highest number that this node knows of: a new generation has a higher one. (Rule R2)
    var highestNumber: UInt32 { max(self.generation.number, self.record.overtakenBy?.number ?? 0) }

    /// When to look again.
    var deadline: Tick {
        var next = Tick.never
        for survey in self.surveys { next = min(next, survey.until) }
        for attempt in self.attempts { next = min(next, attempt.nextSendAt) }
        return next
    }

    /// The disk says so.
    mutating func written(_ record: GenerationRecord) {
        self.record = record
        self.isUnwritten = false
    }

    /// The applied log knows a later generation than the file beside it, which was lost.
    mutating func follow(_ base: Generation) {
        guard self.generation.isBefore(base), !self.isOvertaken else { return }
        self.record = GenerationRecord(base)
        self.isUnwritten = true
    }

    /// Whether a node that was left behind is told so now.
    mutating func isToBeTold(_ node: NodeID, at now: Tick) -> Bool {
        if let place = self.told.firstIndex(where: { $0.node == node }) {
            guard now.since(self.told[place].at) >= Self.pause else { return false }
            self.told[place].at = now
        } else {
            self.told.append((node: node, at: now))
        }
        return true
    }

    /// A node said how it stands.
    mutating func surveyed(_ id: UInt64, _ word: Surveyed) {
        for place in self.surveys.indices where self.surveys[place].client == id {
            if self.surveys[place].words.contains(where: { $0.node == word.node }) { continue }
            self.surveys[place].words.append(word)
        }
    }

    /// The surveys that are over: all have answered, or the time is up.
    mutating func surveysDone(at now: Tick) -> [Survey] {
        let done = self.surveys.filter { now >= $0.until || $0.words.count >= $0.asked }
        self.surveys.removeAll { survey in done.contains { $0.client == survey.client } }
        return done
    }
}
