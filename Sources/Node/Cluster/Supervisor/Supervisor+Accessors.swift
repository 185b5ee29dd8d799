import Basis
import Raft

/// What others look at: the status page, the simulator's checkers, and tests.
extension Supervisor {
    /// This node's lease.
    public var holder: LeaseHolder { self.lease.holder }
    /// When boot clock and hardware clock last parted; zero if they never did. (Rule L20)
    public var doubtSince: Tick { self.lease.doubtSince }
    /// The guard's last look.
    public var guardSeenAt: Tick { self.lease.guardSeenAt }
    /// This node's votes on others' leases.
    public var voter: LeaseVoter { self.voting.voter }
    /// Who can be talked to.
    public var reachability: Reachability { self.links.reachability }
    /// How often the plan was made since this node leads.
    public var plansMade: UInt64 { self.leadership?.plansMade ?? 0 }
    /// How the other nodes say they stand, with the time of arrival; sorted by node.
    public var summaries: [(node: NodeID, receivedAt: Tick, summary: NodeSummary)] { self.telling.summaries }
    /// The applied state is surely not older than this daemon's start. (Rule L10)
    public var isCaughtUp: Bool { self.birth.isCaughtUp }
    /// This very life of the daemon is the admitted one.
    public var isAdmitted: Bool { self.birth.isAdmitted }
    /// Peers that said what no correct peer can say. (`Violation`)
    public var distrusted: [Distrust] { self.peers.distrusted }
    /// What of the log this release cannot read; nothing after it is applied.
    public var unreadable: String? { self.applied.unreadable }
    /// This node's log is not the one that others hold promises of; it counts nowhere before it is let in. (Rule E2.2)
    public var isStranger: Bool { self.marks.isStranger }
    /// This log was rolled back: it is kept aside, and this life of the daemon takes part in nothing more. (Rule E2.2)
    public var hasForgotten: Bool { self.marks.hasForgotten }
    /// Nothing runs here any more, and the lease of this life was given back. A life that was let in meanwhile, because it had
    /// asked before, has one of its own. (Rule L21)
    public var hasResigned: Bool { self.departure.resignedLife == self.birth.incarnation }
}
