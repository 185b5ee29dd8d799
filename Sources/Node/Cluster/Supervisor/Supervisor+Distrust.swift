import Basis
import Raft

/// What a peer, or the log, says that cannot be: it costs the message and an alarm, never the daemon.
extension Supervisor {
    /// A peer whose consensus messages are no longer listened to.
    public struct Distrust: Equatable, Sendable {
        /// The peer.
        public var node: NodeID
        /// The start of its log that it concerns: when it starts anew it is listened to again.
        public var mark: StartMark
        /// What it said.
        public var violation: Violation
        /// When.
        public var at: Tick
    }

    /// Takes note of what a peer cannot have said; from now on its consensus messages are dropped.
    mutating func accuse(
        _ accusations: [Raft.Effects.Accusation], at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        for accusation in accusations {
            self.peers.accuse(accusation, at: now)
            effects.append(.note(.distrusts(accusation.node, accusation.violation)))
        }
    }

    /// A committed entry, or a snapshot, that this release cannot read. The node applies nothing from there on and so knows
    /// of no later life, assignment or configuration; it keeps the log for the others, and leads no more.
    mutating func stopApplying(
        _ what: String, _ error: any Error, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard self.applied.unreadable == nil else { return }
        self.applied.unreadable =
            "\(what) cannot be read (\(error)): install the release that the other nodes run, then restart this daemon"
        effects.append(.note(.unreadable(self.applied.unreadable ?? what)))
        if self.consensus.outline.isLeader {
            self.consensusStep(.transferLeadership(to: nil), at: now, into: &effects)
        }
    }
}
