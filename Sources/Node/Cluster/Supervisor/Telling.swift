import Basis
import Raft

/// What the nodes tell each other of how they stand, for `status`.
struct Telling: Sendable {
    /// What is news to the others when it differs from what they were told.
    struct Key: Equatable, Sendable {
        var applied = LogIndex.zero
        var groupsVersion: UInt64 = .max
        var volumesVersion: UInt64 = 0
        var programsVersion: UInt64 = 0
    }

    /// How the other nodes say they stand, with the time of arrival; sorted by node.
    var summaries: [(node: NodeID, receivedAt: Tick, summary: NodeSummary)] = []
    /// What runs beside this daemon.
    var helpers: LocalHelpers
    /// When this node tells it again.
    var nextAt = Tick.zero
    /// What it told last, and when.
    var toldKey = Key()
    var toldAt = Tick.zero

    /// Nothing new is told this often.
    private static let interval = Span.milliseconds(1000)
    /// News waits this long after what was told last; so much earlier than due is told what goes along with something else.
    private static let newsInterval = Span.milliseconds(200)

    init(_ release: Release) { self.helpers = LocalHelpers(release) }

    /// Clients that wait for how those stand that this node hears nothing of by itself. (Rule J7)
    var gathering: [(client: UInt64, until: Tick)] = []
    /// When a node was heard last whose release has no such rule: it tells everybody, and everybody tells it.
    private var earlierHeardAt: Tick?

    /// What another node said a moment ago counts, and no longer.
    private static let wordMaximum = Span.seconds(3)

    /// When this node tells it again, or somebody has waited long enough.
    var deadline: Tick { self.gathering.reduce(self.nextAt) { min($0, $1.until) } }

    /// Whether it is told now.
    mutating func settle(_ key: Key, slack: Span, at now: Tick) -> Bool {
        let isNews = key != self.toldKey
        if isNews { self.nextAt = min(self.nextAt, self.toldAt + Self.newsInterval) }
        guard now + (isNews ? slack : Self.newsInterval) >= self.nextAt else { return false }
        self.nextAt = now + Self.interval
        self.toldKey = key
        self.toldAt = now
        return true
    }

    /// Another node tells how it stands, itself or through a third one.
    mutating func received(_ summary: NodeSummary, from node: NodeID, isDirect: Bool, at now: Tick) {
        if isDirect, summary.programs == nil { self.earlierHeardAt = now }
        self.note(summary, of: node, heardAt: now)
    }

    private mutating func note(_ summary: NodeSummary, of node: NodeID, heardAt: Tick) {
        if let place = self.summaries.firstIndex(where: { $0.node == node }) {
            self.summaries[place] = (node, heardAt, summary)
        } else {
            self.summaries.append((node, heardAt, summary))
            self.summaries.sort { $0.node < $1.node }
        }
    }

    // MARK: Of those that are not heard (rule J7)

    /// Whether a node was heard a moment ago whose release has no such rule.
    func hearsEarlierRelease(at now: Tick) -> Bool {
        self.earlierHeardAt.map { now.since($0) <= Self.wordMaximum } ?? false
    }

    /// Whether a node has said itself, a moment ago, that it is of a release that has the rule.
    func speaksPresentRelease(_ node: NodeID, at now: Tick) -> Bool {
        self.summaries.contains {
            $0.node == node && $0.summary.programs != nil && now.since($0.receivedAt) <= Self.wordMaximum
        }
    }

    /// What others said a moment ago, for who does not hear them.
    func standings(at now: Tick) -> [Standing] {
        self.summaries.compactMap { entry in
            let age = now.since(entry.receivedAt)
            return age <= Self.wordMaximum ? Standing(node: entry.node, age: age, summary: entry.summary) : nil
        }
    }

    /// What another node has heard, unless this one has heard something later.
    mutating func passedOn(_ standing: Standing, at now: Tick) {
        let heardAt = Tick(nanoseconds: now.nanoseconds - min(now.nanoseconds, standing.age.nanoseconds))
        let known = self.summaries.first { $0.node == standing.node }
        guard known.map({ $0.receivedAt < heardAt }) ?? true else { return }
        self.note(standing.summary, of: standing.node, heardAt: heardAt)
    }
}
