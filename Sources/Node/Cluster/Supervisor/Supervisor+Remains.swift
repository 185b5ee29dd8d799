import Basis
import Resources

/// What this node could not take down of a group that must not run here: it says so by every path that it has, asks for no
/// new life meanwhile, and tries again. (Rules L11.5, L12.3)
extension Supervisor {
    private static let reportInterval = Span.seconds(3)
    private static let killInterval = Span.seconds(1)

    /// A kill ended: what is left of the group here, nil for nothing.
    mutating func groupRemains(_ group: GroupName, _ remains: GroupRemains?, at now: Tick) {
        let place = self.groups.remains.all.firstIndex { $0.group == group }
        if let remains {
            if let place {
                guard self.groups.remains.all[place].remains != remains else { return }
                self.groups.remains.all[place].remains = remains
                self.groups.remains.all[place].nextReport = now
            } else {
                self.groups.remains.all.append(
                    LocalRemains.Remaining(
                        group: group, remains: remains, nextReport: now, nextKill: now + Self.killInterval))
                self.groups.remains.all.sort { $0.group < $1.group }
            }
        } else {
            guard let place else { return }
            self.groups.remains.all.remove(at: place)
        }
        self.groups.version += 1
    }

    /// Whether something of a group that is not wanted here is still here, or may be.
    func isRemaining(_ group: GroupName) -> Bool {
        self.groups.remains.ending.contains(group) || self.groups.remains.all.contains { $0.group == group }
    }

    /// Kills what an earlier daemon left and no runner of this one knows. Until the kill has ended it counts as still here:
    /// no new life is asked for, and the group does not start. (Rules L10, L11.5)
    mutating func end(_ group: GroupName, into effects: inout [SupervisorEffect]) {
        if !self.groups.remains.ending.contains(group) { self.groups.remains.ending.append(group) }
        effects.append(.killGroup(group))
    }

    /// A kill ended. What no runner sees to is killed again until it is dead.
    mutating func groupKilled(_ group: GroupName, isDead: Bool, at now: Tick, into effects: inout [SupervisorEffect]) {
        self.stepRunner(group, nil, .killed(isDead), at: now, into: &effects)
        if isDead { self.groupRemains(group, nil, at: now) }
        guard self.groups.remains.ending.contains(group) else { return }
        self.groups.remains.ending.removeAll { $0 == group }
        self.groups.version += 1
        guard !isDead, self.groups.runners.place(of: group) == nil, !self.isRemaining(group) else { return }
        self.groupRemains(
            group, GroupRemains(kind: .unkilled, reason: "could not kill what an earlier daemon left"), at: now)
    }

    mutating func settleRemains(at now: Tick, into effects: inout [SupervisorEffect]) {
        for place in self.groups.remains.all.indices {
            let group = self.groups.remains.all[place].group
            if now >= self.groups.remains.all[place].nextKill {
                self.groups.remains.all[place].nextKill = now + Self.killInterval
                if self.groups.runners.place(of: group) == nil { effects.append(.killGroup(group)) }
            }
            // A group that is in no configuration any more has no record to note it in: its node goes on killing.
            guard now >= self.groups.remains.all[place].nextReport, let me = self.me, self.state.group(group) != nil
            else {
                continue
            }
            self.groups.remains.all[place].nextReport = now + Self.reportInterval
            self.request(
                .remains(group, me.id, me.incarnation, self.groups.remains.all[place].remains), at: now, into: &effects)
        }
        let me = self.identity.node
        guard self.birth.isCaughtUp, now >= self.groups.remains.nextLook, let place = self.state.nodes.place(of: me)
        else { return }
        self.groups.remains.nextLook = now + .milliseconds(500)
        let life = self.state.nodes[place].incarnation
        for place in self.state.groups.indices {
            // Mostly nothing remains anywhere.
            guard self.state.groups[place].remains.contains(where: { $0.node == me }) else { continue }
            let name = self.state.groups[place].name
            if !self.isRemaining(name) { self.request(.remains(name, me, life, nil), at: now, into: &effects) }
        }
    }

    /// A person's word, as the log has it now: the agents' stops are not asked for any more. Only what this life of the
    /// daemon knows of is meant: an entry that is applied anew after a restart may be older than what runs.
    mutating func confirmedStopped(_ group: GroupName, on node: NodeID, into effects: inout [SupervisorEffect]) {
        guard node == self.identity.node, self.birth.isCaughtUp,
            let place = self.groups.remains.all.firstIndex(where: { $0.group == group }),
            self.groups.remains.all[place].remains.kind == .unstopped
        else { return }
        effects.append(.note(.confirmedStopped(group)))
        effects.append(.forgetStarted(group))
        effects.append(.killGroup(group))
    }
}
