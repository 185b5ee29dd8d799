import Basis
import Raft

/// A supervisor at one moment, with what its driver alone knows: all that the answers for people are made from.
package struct SupervisorView: Sendable {
    /// A copy.
    package var supervisor: Supervisor
    /// The moment.
    package var now: Tick
    /// The wall clock at that moment in milliseconds since 1970, for people.
    package var wallMilliseconds: UInt64
    /// When a leader was last heard, or this node last led with a majority.
    package var leaderSeenAt: Tick?
    /// The log takes no more writes.
    package var isPoisoned: Bool
    /// When its daemon began.
    package var startedAt: Tick
    /// What that told since then.
    package var told: ToldCounts

    /// A look from its parts.
    package init(
        supervisor: Supervisor, now: Tick, wallMilliseconds: UInt64, leaderSeenAt: Tick?, isPoisoned: Bool = false,
        startedAt: Tick = .zero, told: ToldCounts = ToldCounts()
    ) {
        self.supervisor = supervisor
        self.now = now
        self.wallMilliseconds = wallMilliseconds
        self.leaderSeenAt = leaderSeenAt
        self.isPoisoned = isPoisoned
        self.startedAt = startedAt
        self.told = told
    }
}

/// What this machine's other processes say of themselves; nothing is decided from it.
package struct MachineFacts: Equatable, Sendable {
    /// Why the guard has no watchdog; nil when it has one, or has said nothing yet.
    package var watchdogLack: String?
    /// How the kernel of this machine has its volumes.
    package var carriers: [VolumeName: String]

    /// Facts from their parts.
    package init(watchdogLack: String? = nil, carriers: [VolumeName: String] = [:]) {
        self.watchdogLack = watchdogLack
        self.carriers = carriers
    }
}

extension Supervisor {
    /// When this node last led, which is now, or heard the leader that it follows; nil while it knows of none. The driver
    /// keeps the latest.
    package func leaderSeen(at now: Tick) -> Tick? {
        if self.consensus.isLeader { return now }
        return self.consensus.leader.flatMap { leader in
            self.consensus.lastContacts.first { $0.0 == leader }?.1
        }
    }
}
