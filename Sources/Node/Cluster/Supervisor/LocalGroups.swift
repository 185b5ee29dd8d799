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
}
