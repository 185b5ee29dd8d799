import Basis
import Reports

/// How often each kind of note and of event was told since this daemon began. Nothing is decided from it.
package struct ToldCounts: Sendable {
    /// How often one kind was told.
    struct Count: Equatable, Sendable {
        var severity: Severity
        var count: UInt64 = 0
    }

    /// By the notes' identifiers.
    private(set) var notes: [String: Count] = [:]
    /// By the events' identifiers.
    private(set) var events: [String: Count] = [:]
    /// What entries up to here have told is counted, or was told before; nil until this daemon has caught up.
    private var counted: LogIndex?

    /// Nothing was told yet.
    package init() {}

    /// A note was told.
    package mutating func count(_ note: Note) {
        self.notes[note.identifier, default: Count(severity: note.severity)].count += 1
    }

    /// Looks for events since the last look, among those that are kept at the entry `index`. A daemon that begins applies what
    /// others were told long ago: only what it applies once it has caught up with the cluster is news.
    package mutating func count(_ events: ArraySlice<ClusterEvent>, through index: LogIndex, isNews: Bool) {
        guard isNews, self.counted != index else { return }
        if let counted = self.counted {
            for event in events.reversed() {
                if event.index <= counted { break }
                let happening = event.happening
                self.events[happening.identifier, default: Count(severity: happening.severity)].count += 1
            }
        }
        self.counted = index
    }

    /// What an operator sees of it.
    package func report(node: String, seconds: Double) -> CountersReport {
        CountersReport(
            node: node, daemonSeconds: seconds, notes: Self.counters(self.notes), events: Self.counters(self.events))
    }

    private static func counters(_ counts: [String: Count]) -> [CountersReport.Counter] {
        counts.sorted { $0.key < $1.key }.map {
            CountersReport.Counter(kind: $0.key, severity: $0.value.severity.name, count: $0.value.count)
        }
    }
}
