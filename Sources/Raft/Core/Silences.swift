import Basis

/// For how long a line is seldom silent between two messages of somebody who is alive: what loss, jitter, pauses and slow disks
/// make of it, learned from the latest five to ten minutes. Nobody is given up for a silence that is usual here. (Rule C5)
struct Silences: Sendable {
    /// One rank more than what is seldom: two cuts alone prove nothing about a line.
    private static let rank = 3
    private static let period = Span.seconds(300)
    /// A lost repetition doubles the wait for the next, so the next rarer silence is more than twice as long.
    private static let factor: UInt64 = 3

    /// The longest of this period and of the one before, the longest first.
    private var present: [Span] = []
    private var former: [Span] = []
    private var periodEnd = Tick.zero
    /// What is seldom exceeded; zero without a history.
    private(set) var seldom = Span.zero
    /// Silence for which nobody is given up; zero without a history.
    var patience: Span { self.seldom * Self.factor }

    /// A message came after so long.
    mutating func note(_ silence: Span, at now: Tick) {
        if now >= self.periodEnd {
            self.former = self.periodEnd == .zero || now >= self.periodEnd + Self.period ? [] : self.present
            self.present = []
            self.periodEnd = now + Self.period
            self.rank()
        }
        if self.present.count == Self.rank {
            guard silence > self.present[Self.rank - 1] else { return }
            self.present.removeLast()
        }
        let place = self.present.firstIndex { $0 < silence } ?? self.present.count
        self.present.insert(silence, at: place)
        self.rank()
    }

    private mutating func rank() {
        let all = (self.present + self.former).sorted { $1 < $0 }
        self.seldom = all.count < Self.rank ? .zero : all[Self.rank - 1]
    }
}

extension Consensus {
    /// Silence after which a leader, or a majority, is given up: as it is set, or longer where the lines are such that it must
    /// be. Safety does not rest on it: reads ask a majority (C6), leases are another matter (L1).
    public var patience: Span {
        max(self.settings.electionTimeout, min(self.election.silences.patience, self.settings.electionTimeoutMaximum))
    }

    /// Silence after which this node asks for votes at the latest, if nobody leads.
    public var longestPatience: Span { self.patience + self.spread }

    /// Over so long the nodes spread their elections.
    private var spread: Span { max(self.settings.electionTimeout, self.patience / 2) }

    /// Somebody who was alive all the time was silent for so long. What lasts very long is a cut, and nothing to get used to.
    mutating func noteSilence(since heard: Tick) {
        let silence = self.latest.since(heard)
        if silence <= self.settings.electionTimeout * 4 { self.election.silences.note(silence, at: self.latest) }
    }

    mutating func resetElectionDeadline(at now: Tick) { self.awaitElection(from: now, within: self.patience) }

    /// Votes are on their way for as long as the answers to the pre-votes were, and are written down on the way. Who cannot win
    /// in that time waits longer the next time.
    mutating func awaitVotes(since asked: Tick) {
        let way = (self.latest.since(asked) + self.durability.pace.seldom) * 2 * (1 << self.election.failures)
        let longest = max(self.patience, self.settings.electionTimeoutMaximum)
        self.awaitElection(from: self.latest, within: min(max(way, self.patience), longest))
    }

    /// The nodes spread their elections over as long as one of them takes.
    private mutating func awaitElection(from now: Tick, within patience: Span) {
        let drawn = self.random.span(.zero, Span(nanoseconds: self.spread.nanoseconds - 1))
        let spread = patience > self.patience ? drawn * (patience.milliseconds / self.spread.milliseconds + 1) : drawn
        let isLast = self.isWitness || self.durability.pace.isUnproven(at: now)
        self.election.deadline = now + patience + spread + (isLast ? self.patience : .zero)
    }
}
