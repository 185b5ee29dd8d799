import Basis

/// How fast the disk of this node makes things durable, and how long it may take before somebody else should lead: learned from
/// what it did in this run, from handing a request out to its confirmation. (Rule C10)
struct DiskPace: Sendable {
    /// No disk is waited for longer before another node leads; one that hangs is known within this.
    static let longestPatience = Span.milliseconds(700)
    /// What every disk may take now and then.
    static let shortestPatience = Span.milliseconds(200)
    /// A disk may take so many times of what it seldom took before.
    private static let factor: UInt64 = 8
    private static let samplesMaximum = 32
    /// With fewer there is no history to judge by.
    private static let samplesMinimum = 8
    /// After an answer that came too late others go first for so long.
    private static let probation = Span.seconds(10)

    /// The latest durations, in a ring.
    private var samples: [Span] = []
    private var place = 0
    /// How long an answer may take before the disk counts as stalled.
    private(set) var patience = Self.longestPatience
    /// What is seldom exceeded; zero without a history.
    private(set) var seldom = Span.zero
    /// Since when the disk has owed the answer for which it was found stalled; nil while it is not.
    private(set) var stalledSince: Tick?
    private var unprovenUntil = Tick.zero

    /// Nothing was made durable in this run.
    init() { self.samples.reserveCapacity(Self.samplesMaximum) }

    /// The disk owes an answer for too long.
    var isStalled: Bool { self.stalledSince != nil }

    /// Others should lead: it is stalled, or was so a moment ago.
    func isUnproven(at now: Tick) -> Bool { self.isStalled || now < self.unprovenUntil }

    /// The disk has owed an answer since then: whether it is stalled from now on.
    mutating func look(owedSince since: Tick, at now: Tick) -> Bool {
        guard !self.isStalled, now >= since + self.patience else { return false }
        self.stalledSince = since
        return true
    }

    /// An answer came after so long; nothing is owed for longer. Whether the disk was stalled until now.
    mutating func answered(after duration: Span, at now: Tick) -> Bool {
        self.note(duration)
        guard self.isStalled else { return false }
        self.stalledSince = nil
        self.unprovenUntil = now + Self.probation
        return true
    }

    /// The second longest of the latest is what it seldom takes: one hiccup alone proves nothing.
    private mutating func note(_ duration: Span) {
        if self.samples.count < Self.samplesMaximum {
            self.samples.append(duration)
        } else {
            self.samples[self.place] = duration
        }
        self.place = (self.place + 1) % Self.samplesMaximum
        guard self.samples.count >= Self.samplesMinimum else { return }
        var (first, second) = (Span.zero, Span.zero)
        for sample in self.samples {
            if sample > first {
                (first, second) = (sample, first)
            } else if sample > second {
                second = sample
            }
        }
        self.seldom = second
        let most = Span(nanoseconds: min(second.nanoseconds, Self.longestPatience.nanoseconds)) * Self.factor
        self.patience = min(max(most, Self.shortestPatience), Self.longestPatience)
    }
}

extension Consensus {
    /// When the disk counts as stalled unless it answers before; `never` when it owes nothing, or does so already.
    var stallDeadline: Tick {
        guard !self.durability.pace.isStalled, let since = self.durability.owedSince else { return .never }
        return since + self.durability.pace.patience
    }

    /// Looks at the disk, and hands over if others commit what it does not take. Without them an election could not be won
    /// either: its winner would need this node's vote. (Rule C10)
    mutating func lookAtDisk(into effects: inout Effects) {
        guard let since = self.durability.owedSince else { return }
        if self.durability.pace.look(owedSince: since, at: self.latest) {
            effects.notes.append(.diskStalls(self.latest.since(since)))
        }
        guard self.durability.pace.isStalled, case .leader = self.state, self.leading.transfer == nil,
            self.latest >= self.leading.restUntil, self.commitIndex > self.durability.last,
            let position = self.successor(holding: self.commitIndex)
        else { return }
        self.startTransfer(to: self.leading.peers[position].node, into: &effects)
    }

    /// Since when the disk has owed the answer for which it counts as stalled; nil while it does not. (Rule C10)
    public var diskStalledSince: Tick? { self.durability.pace.stalledSince }
}
