import Basis
import Resources

/// What this node could not take down of a group that must not run here: it says so by every path that it has, asks for no
/// new life meanwhile, and tries again. (Rules L11.5, L12.3)
extension Supervisor {
    /// What is left of one group.
    struct Remaining: Equatable, Sendable {
        var group: GroupName
        var remains: GroupRemains
        /// When it is reported again.
        var nextReport: Tick
        /// When it is killed again, if no runner sees to that.
        var nextKill: Tick
    }

    private static let reportInterval = Span.seconds(3)
    private static let killInterval = Span.seconds(1)

    /// A kill ended: what is left of the group here, nil for nothing.
    mutating func groupRemains(_ group: GroupName, _ remains: GroupRemains?, at now: Tick) {
        let place = self.remaining.firstIndex { $0.group == group }
        if let remains {
            if let place {
                guard self.remaining[place].remains != remains else { return }
                self.remaining[place].remains = remains
                self.remaining[place].nextReport = now
            } else {
                self.remaining.append(
                    Remaining(group: group, remains: remains, nextReport: now, nextKill: now + Self.killInterval))
                self.remaining.sort { $0.group < $1.group }
            }
        } else {
            guard let place else { return }
            self.remaining.remove(at: place)
        }
        self.runnersVersion += 1
    }

    /// Whether something of a group that is not wanted here is still here, or may be.
    func isRemaining(_ group: GroupName) -> Bool {
        self.ending.contains(group) || self.remaining.contains { $0.group == group }
    }

    /// Kills what an earlier daemon left and no runner of this one knows. Until the kill has ended it counts as still here:
    /// no new life is asked for, and the group does not start. (Rules L10, L11.5)
    mutating func end(_ group: GroupName, into effects: inout [SupervisorEffect]) {
        if !self.ending.contains(group) { self.ending.append(group) }
        effects.append(.killGroup(group))
    }

    /// A kill ended. What no runner sees to is killed again until it is dead.
    mutating func groupKilled(_ group: GroupName, isDead: Bool, at now: Tick, into effects: inout [SupervisorEffect]) {
        self.stepRunner(group, nil, .killed(isDead), at: now, into: &effects)
        if isDead { self.groupRemains(group, nil, at: now) }
        guard self.ending.contains(group) else { return }
        self.ending.removeAll { $0 == group }
        self.runnersVersion += 1
        guard !isDead, self.place(ofRunner: group) == nil, !self.isRemaining(group) else { return }
        self.groupRemains(
            group, GroupRemains(kind: .unkilled, reason: "could not kill what an earlier daemon left"), at: now)
    }

    mutating func settleRemains(at now: Tick, into effects: inout [SupervisorEffect]) {
        for place in self.remaining.indices {
            let group = self.remaining[place].group
            if now >= self.remaining[place].nextKill {
                self.remaining[place].nextKill = now + Self.killInterval
                if self.place(ofRunner: group) == nil { effects.append(.killGroup(group)) }
            }
            // A group that is in no configuration any more has no record to note it in: its node goes on killing.
            guard now >= self.remaining[place].nextReport, let me = self.me, self.state.group(group) != nil else {
                continue
            }
            self.remaining[place].nextReport = now + Self.reportInterval
            self.request(
                .remains(group, me.id, me.incarnation, self.remaining[place].remains), at: now, into: &effects)
        }
        guard self.isCaughtUp, now >= self.nextRemainsLook, let me = self.me else { return }
        self.nextRemainsLook = now + .milliseconds(500)
        for record in self.state.groups
        where record.remains.contains(where: { $0.node == me.id }) && !self.isRemaining(record.name) {
            self.request(.remains(record.name, me.id, me.incarnation, nil), at: now, into: &effects)
        }
    }

    /// A person's word, as the log has it now: the agents' stops are not asked for any more. Only what this life of the
    /// daemon knows of is meant: an entry that is applied anew after a restart may be older than what runs.
    mutating func confirmedStopped(_ group: GroupName, on node: NodeID, into effects: inout [SupervisorEffect]) {
        guard node == self.identity.node, self.isCaughtUp,
            let place = self.remaining.firstIndex(where: { $0.group == group }),
            self.remaining[place].remains.kind == .unstopped
        else { return }
        effects.append(.note(.confirmedStopped(group)))
        effects.append(.forgetStarted(group))
        effects.append(.killGroup(group))
    }
}
