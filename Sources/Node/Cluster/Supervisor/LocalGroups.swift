import Basis
import Raft
import Resources

/// What runs on this node, and what is left here of what must not run.
public struct LocalGroups: Sendable {
    /// What decides about all groups of this node alike.
    struct Key: Equatable, Sendable {
        var hasLease = false
        var isCaughtUp = false
        var isGuarded = false
        var incarnation = Incarnation.none
        /// Rules L1, L10, L12.
        var mayStart: Bool { self.hasLease && self.isCaughtUp && self.isGuarded }
    }

    /// The groups that run here, sorted by name.
    public internal(set) var runners: [GroupRunner] = []
    /// Grows whenever a runner becomes something else.
    public internal(set) var version: UInt64 = 0
    /// How often a group was looked at since the daemon started: what a node's work grows with.
    public internal(set) var settledCount: UInt64 = 0
    /// The groups to look at.
    var changes = GroupChanges()
    /// The part of `version` that `changes` tells of.
    var namedVersion: UInt64 = 0
    /// What was so when all were looked at last.
    var settledAt = Key()
    /// The soonest deadline of a runner.
    var runnersDeadline = Tick.never
    /// When all are looked at again while something is under way.
    var nextSweep = Tick.zero
    /// Nothing about groups is under way: time alone changes nothing.
    var areCalm = false
    /// What an earlier daemon of this boot left, until it is taken over. (Rule L10)
    var adoptable: Facts?
    /// What was written down last, and the version that it was made of.
    var lastFacts: Facts?
    var factsVersion: UInt64 = .max
    /// The epochs whose end was asked for. (Rule L11.1)
    var stoppedEpochs: [GroupName: Epoch] = [:]
    /// The next call of an agent.
    var nextCall: UInt64 = 1
    /// What is left here of groups that must not run here.
    var remains = LocalRemains()
    /// The searches for groups that were never started.
    var searches: [AbsentProbe] = []

    /// Which groups a step looks at.
    enum Look: Equatable, Sendable {
        case nothing
        case everything
        case some([GroupName])
    }

    /// How soon everything is looked at again while something is under way: reports that were given up are asked for again.
    private static let sweepInterval = Span.milliseconds(200)

    /// A runner became something else: its group is to be looked at, and no other.
    mutating func changed(_ group: GroupName) {
        self.changes.add(group)
        if self.namedVersion == self.version { self.namedVersion += 1 }
        self.version += 1
    }

    /// Those that changed; all when the lease, the guard, or a life did, or something else than what one runner does.
    mutating func look(_ key: Key, at now: Tick) -> Look {
        if self.version != self.namedVersion {
            self.namedVersion = self.version
            self.changes.addEverything()
        }
        if key != self.settledAt || now >= self.sweepDeadline || self.changes.isEverything {
            self.settledAt = key
            self.changes.removeAll()
            return .everything
        }
        if self.changes.isEmpty { return .nothing }
        let names = self.changes.sorted
        self.changes.removeAll()
        return .some(names)
    }

    /// They were looked at, and something is under way, or nothing.
    mutating func looked(isCalm: Bool, at now: Tick) {
        self.nextSweep = now + Self.sweepInterval
        self.areCalm = isCalm
    }

    /// What is to be written down before anything that follows starts; nil when that is there already. (Rule L10)
    mutating func settleFacts(bootID: String, _ incarnation: Incarnation, takenBack: [Facts.TakenBack]) -> Facts? {
        guard self.adoptable == nil else { return nil }
        if self.factsVersion == self.version, self.lastFacts?.incarnation == incarnation { return nil }
        self.factsVersion = self.version
        if self.runners.isEmpty, let last = self.lastFacts, last.groups.isEmpty, last.incarnation == incarnation,
            last.takenBack == takenBack
        {
            return nil
        }
        let facts = Facts(
            bootID: bootID, incarnation: incarnation,
            groups: self.runners.map { runner in
                .init(
                    name: runner.name, epoch: runner.epoch, isUp: runner.isUp,
                    resources: runner.resources.map(\.policy).digest)
            }, takenBack: takenBack)
        guard facts != self.lastFacts else { return nil }
        if self.runners.isEmpty, self.lastFacts == nil || self.lastFacts?.groups.isEmpty == true,
            facts.incarnation == self.lastFacts?.incarnation, facts.takenBack == self.lastFacts?.takenBack ?? []
        {
            return nil
        }
        self.lastFacts = facts
        return facts
    }

    /// When all are looked at again although nothing happens.
    var sweepDeadline: Tick { self.areCalm ? .never : self.nextSweep }

    func runner(named name: GroupName) -> GroupRunner? { self.runners.place(of: name).map { self.runners[$0] } }
}

extension [GroupRunner] {
    /// Where a group's runner lies.
    func place(of name: GroupName) -> Int? { self.place(of: name, by: \.name) }
}

/// What is left on this node of groups that must not run here. (Rules L11.5, L12.3)
struct LocalRemains: Sendable {
    /// What is left of one group.
    struct Remaining: Equatable, Sendable {
        var group: GroupName
        var remains: GroupRemains
        /// When it is reported again.
        var nextReport: Tick
        /// When it is killed again, if no runner sees to that.
        var nextKill: Tick
    }

    /// Sorted by group.
    var all: [Remaining] = []
    /// The groups that are being killed here without a runner.
    var ending: [GroupName] = []
    /// When the log's word about this node is compared with what is left.
    var nextLook = Tick.zero
    /// Since when the guard has been killing what does not die; zero when nothing is left. (Rule L12.3)
    var guardKillsSince = Tick.zero

    /// How soon to look again while something is left.
    func deadline(after now: Tick) -> Tick { self.all.isEmpty ? .never : now + .milliseconds(500) }
}
