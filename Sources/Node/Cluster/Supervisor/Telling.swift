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

    /// When this node tells it again.
    var deadline: Tick { self.nextAt }

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

    /// Another node tells how it stands.
    mutating func received(_ summary: NodeSummary, from node: NodeID, at now: Tick) {
        if let place = self.summaries.firstIndex(where: { $0.node == node }) {
            self.summaries[place] = (node, now, summary)
        } else {
            self.summaries.append((node, now, summary))
            self.summaries.sort { $0.node < $1.node }
        }
    }
}
