import Basis
import Raft
import Resources

/// What the leader decides about the lives of nodes, from what a majority of the voters hears. (Rules L4 to L7)
extension Leadership {
    /// Whether a voter reports a node.
    func isReported(_ node: NodeID) -> Bool {
        self.reports.contains { report in report.lines.contains { $0.node == node } }
    }

    /// What the log is asked for about a node; nil while there is nothing to decide. `settled` is how long the membership has
    /// been what it is: no time from before counts. `isPauseExpected`: a person said that it would be silent for a while.
    func verdict(
        on record: ClusterState.NodeRecord, isOut: Bool, isPauseExpected: Bool, _ membership: Membership,
        _ timing: Timing,
        settled: Span,
        at now: Tick
    ) -> Command? {
        func line(of voter: NodeID) -> (line: VoterReport.Line, since: Span)? {
            guard let report = self.reports.first(where: { $0.voter == voter }),
                let line = report.lines.first(where: {
                    $0.node == record.id && $0.incarnation == record.incarnation
                })
            else { return nil }
            return (line, now.since(report.receivedAt))
        }
        switch record.standing {
        case .never, .lost:
            return nil
        case .trusted:
            // Rule L7: a majority must report silence; a leader that alone cannot hear takes nothing away.
            let isSilent = membership.hasMajority { voter in
                line(of: voter).map { min($0.line.silence, settled) > timing.detection } ?? false
            }
            // Rules E2.6, J2: who has forgotten what it promised, or is to leave for good, is taken out although it is heard.
            // Rule L22: a pause that was announced is no reason; everything else is one all the same.
            return isSilent && !isPauseExpected || isOut ? .suspect(record.id, record.incarnation) : nil
        case .suspected(let at):
            // Rule L6: a majority has the suspicion, and the youngest of its answers is older than T. Only time
            // since a report arrived may be added to the age in it.
            let isOver = membership.hasMajority { voter in
                guard let (line, since) = line(of: voter),
                    line.suspectedAt == LogMark(term: record.suspicionTerm, index: at)
                else { return false }
                return min(line.answerAge + since, settled)
                    >= timing.wait(forLease: line.answerDuration, grace: record.longestGrace)
            }
            // Rule L4: an open suspicion ends with `lost` or `trust`, under this leader or the next.
            // The node itself counts as hearing itself: with another voter dead, nobody else is left to say so.
            let isHeard = membership.hasMajority { voter in
                // After a reboot it says itself that it is another life.
                if voter == record.id, line(of: voter) == nil { return true }
                guard let (line, since) = line(of: voter) else { return false }
                return line.silence + since < timing.detection
            }
            if isHeard, !isOut { return .trust(record.id, record.incarnation, suspectedAt: at) }
            return isOver ? .lost(record.id, record.incarnation, suspectedAt: at) : nil
        }
    }
}
