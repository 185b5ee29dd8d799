import Basis
import Raft
import Resources

/// A node that ends in order: its groups move or stop, it gives its lease back, and only then its daemon goes. (Rule L21)
extension Supervisor {
    /// How long a leader is waited for. Without one nobody can be told and nobody takes over, and what runs here is stopped
    /// in order while the lease still holds: so do the last nodes of a cluster that is switched off.
    static let shutDownPatience = Span.seconds(2)

    /// What keeps this node from going, in words; nil once it may.
    var shutDownLeft: String? {
        if self.hasResigned { return nil }
        return self.localLeft ?? self.assignedLeft ?? "the cluster has not heard yet that this node shuts down"
    }

    private var localLeft: String? {
        let here = self.state.name(of: self.identity.node)
        if let runner = self.groups.runners.first(where: { !$0.isEmpty }) {
            return "\(runner.name) is \(runner.phase) on \(here)"
        }
        if let remaining = self.groups.remains.all.first {
            return "\(remaining.group): \(here) \(remaining.remains.reason)"
        }
        return self.groups.remains.ending.first.map { "\($0) is being killed" }
    }

    private var assignedLeft: String? {
        self.state.groups.first { record in
            record.assignment.map { $0.node == self.identity.node && $0.incarnation == self.birth.incarnation } ?? false
        }.map { "the cluster has not heard yet that \($0.name) has stopped here" }
    }

    mutating func settleShutDown(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard let place = self.state.nodes.place(of: self.identity.node) else { return }
        let (me, life) = (self.identity.node, self.state.nodes[place].incarnation)
        let isDeparting = self.state.nodes[place].isDeparting
        let isMine = self.birth.isAdmitted && self.state.nodes[place].standing != .lost
        guard let since = self.departure.since else {
            // An earlier daemon of this life was to end here, and this one came instead.
            if isDeparting, isMine, self.birth.isCaughtUp {
                self.request(.depart(me, life, isDeparting: false), at: now, into: &effects)
            }
            return
        }
        guard !self.hasResigned else { return }
        let isAlone = self.consensus.outline.leader == nil && now >= since + Self.shutDownPatience
        if isAlone {
            self.stopAll(at: now, into: &effects)
        } else if isMine, !isDeparting {
            self.request(.depart(me, life, isDeparting: true), at: now, into: &effects)
        }
        guard self.localLeft == nil else { return }
        // Before the log knows of it, a group could still be assigned to a node that will never start it.
        let isKnown = (isDeparting || !isMine) && self.assignedLeft == nil
        guard isKnown || isAlone else { return }
        self.resign(into: &effects)
    }

    /// Nothing runs here any more, and nothing will in this life.
    mutating func resign(into effects: inout [SupervisorEffect]) {
        self.departure.resignedLife = self.birth.incarnation
        self.lease.holder.resign(self.birth.incarnation)
        self.schedule.isUnsettled = true
        effects.append(.note(.leaseGivenBack))
    }

    /// Nothing of any group runs here, or is being killed.
    var isEmptied: Bool { self.localLeft == nil }

    /// Rule L11.1: what was stopped here does not run again under its epoch, whatever the others hear of it and when.
    mutating func stopAll(at now: Tick, into effects: inout [SupervisorEffect]) {
        for runner in self.groups.runners where runner.goal == .up {
            self.stepRunner(runner.name, runner.epoch, .stop(nil), at: now, into: &effects)
        }
    }
}
