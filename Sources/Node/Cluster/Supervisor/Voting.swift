import Basis
import Raft

/// This node as a voter on the others' leases, and what it reports of them to the leader. (Rules L4 to L7)
struct Voting: Sendable {
    /// What matters to a voter in entries that are in the log and not applied yet.
    struct Tail: Sendable {
        struct Suspicion: Sendable {
            var node: NodeID
            var incarnation: Incarnation
            var mark: LogMark
        }
        /// Rule L4: a suspicion is a promise as soon as the log has it.
        var suspicions: [Suspicion] = []
        /// The longest D of a configuration in the same entries. (Rule L5.1)
        var longestLease = Span.zero
        /// The logs of this node that the same entries let in. (Rule E2.10)
        var ownLogs: [DirectoryID] = []
        /// Which entries were read.
        var version: (log: UInt64, applied: LogIndex) = (.max, .zero)

        /// Rules L4, L8: what this voter's log says about a node.
        func view(
            ofNodeAt place: Int, in nodes: [ClusterState.NodeRecord], membershipIndex: LogIndex
        ) -> LeaseVoter.View {
            let standing = nodes[place].standing
            return LeaseVoter.View(
                incarnation: nodes[place].incarnation, bootID: nodes[place].bootID,
                isSuspected: self.suspicion(ofNodeAt: place, in: nodes) != nil,
                isLost: standing == .lost || standing == .never, membershipIndex: membershipIndex)
        }

        /// The open suspicion of a node in the durable log: applied, or still in the tail. (Rule L4)
        ///
        /// A tail entry that is cut off again was never committed, so no `lost` can ever name it, and the promise ends
        /// with it. A `trust` counts only once it is applied.
        func suspicion(ofNodeAt place: Int, in nodes: [ClusterState.NodeRecord]) -> LogMark? {
            if case .suspected(let at) = nodes[place].standing {
                return LogMark(term: nodes[place].suspicionTerm, index: at)
            }
            for tail in self.suspicions
            where tail.node == nodes[place].id && tail.incarnation == nodes[place].incarnation {
                return tail.mark
            }
            return nil
        }
    }

    /// Answers renewals.
    var voter: LeaseVoter
    var tail = Tail()
    /// When the next report to the leader is due, the state of the log that the last one was made of, and whether it said
    /// anything about any node.
    var nextReportAt = Tick.zero
    var reportedVersion: (log: UInt64, applied: LogIndex, durable: LogIndex) = (.max, .zero, .zero)
    var hadLines = false
    /// The leader that is told.
    var leader: NodeID?

    private static let reportInterval = Span.milliseconds(100)

    init(startedAt: Tick) { self.voter = LeaseVoter(startedAt: startedAt) }

    /// When the next report is due.
    var deadline: Tick { self.nextReportAt }

    /// Whether it is time to look at what this voter hears, or the log has changed.
    mutating func isReportDue(_ version: (log: UInt64, applied: LogIndex, durable: LogIndex), at now: Tick) -> Bool {
        guard now >= self.nextReportAt || version != self.reportedVersion else { return false }
        self.reportedVersion = version
        return true
    }

    /// Whether the leader is told these lines: something, or for the first time that there is nothing any more.
    mutating func settle(
        _ lines: [VoterReport.Line], _ nodes: [ClusterState.NodeRecord], detection: Span, at now: Tick
    ) -> Bool {
        self.nextReportAt =
            lines.isEmpty
            ? self.voter.nextSilence(of: nodes, detection: detection, after: now) : now + Self.reportInterval
        defer { self.hadLines = !lines.isEmpty }
        return !lines.isEmpty || self.hadLines
    }
}

extension LeaseVoter {
    /// When the next node will have been silent for the detection time, if it stays silent from now on.
    func nextSilence(of nodes: [ClusterState.NodeRecord], detection: Span, after now: Tick) -> Tick {
        var next = now + .seconds(1)
        for place in nodes.indices where nodes[place].standing == .trusted {
            let silence = self.silence(of: nodes[place].id, at: now)
            if silence <= detection {
                next = min(next, now + Span(nanoseconds: detection.nanoseconds - silence.nanoseconds + 1))
            }
        }
        return next
    }
}
