import Basis
import Reports
import Resources

/// The answer of `holdfast explain`: where a group is, why, and what could be done about it.
package struct Explainer {
    private static let eventsMaximum = 12

    let status: StatusBuilder

    /// An answer from the same look as a report.
    package init(_ status: StatusBuilder) { self.status = status }

    /// The answer; nil when there is no such group.
    package func report(_ name: String) -> ExplainReport? {
        let state = self.status.state
        guard let record = state.group(GroupName(name)),
            let group = self.status.groups.first(where: { $0.name == name }),
            let observed = self.status.observation.group(record.name)
        else { return nil }
        let volumes = state.policy.group(record.name)?.volumes ?? []
        let events = state.events.filter { event in
            if let group = event.group { return group == record.name }
            if let volume = event.happening.volume { return volumes.contains(volume) }
            let node = EventParts(event.happening).node
            return node != nil && node?.id == record.lastOwner
        }.suffix(Self.eventsMaximum)
        var reasons: [String] = []
        if let assigned = state.events.last(where: {
            $0.group == record.name && $0.index.rawValue == record.epoch.index
        }) {
            reasons.append("\(assigned.sentence) (entry \(assigned.index), rule \(assigned.rule.rawValue))")
        }
        if let action = self.status.planned(record.name) { reasons.append("the planner would \(action.sentence)") }
        for ban in record.bans {
            reasons.append(
                "\(state.name(of: ban.node)): \(ban.failure.resource) \(ban.failure.reason)\(self.end(of: ban, record))"
            )
        }
        for (node, left) in self.remains(name) {
            reasons.append("\(node) \(left.reason)")
        }
        for volume in volumes {
            guard let held = state.volume(volume), held.epoch != .none else { continue }
            let holders = held.holders.map { state.name(of: $0) }.joined(separator: ", ")
            reasons.append("every acknowledged write of \(volume) is on \(holders) (V8)")
        }
        return ExplainReport(
            group: name, sentence: self.sentence(group), reasons: reasons,
            candidates: self.candidates(observed), events: events.map { EventReport($0) },
            nextStep: self.next(group), recovery: self.status.recoverySentence(record.name))
    }

    /// Nodes that could not take down what is left of a group there, with what they say.
    private func remains(_ group: String) -> [(node: String, remains: GroupRemains)] {
        (self.status.state.group(GroupName(group))?.remains ?? []).map {
            (self.status.state.name(of: $0.node), $0.remains)
        }
    }

    private func sentence(_ group: GroupReport) -> String {
        switch group.state {
        case .running: "\(group.name) runs on \(group.owner ?? "?") under epoch \(group.epoch)."
        case .stopped: "\(group.name) is stopped, because an operator wants it so."
        default:
            "\(group.name) is \(group.state.rawValue)"
                + (group.owner.map { " on \($0)" } ?? "") + (group.reason.isEmpty ? "." : ": \(group.reason).")
        }
    }

    private func candidates(_ group: Observation.Group) -> [ExplainReport.Candidate] {
        guard let policy = self.status.state.policy.group(group.name) else { return [] }
        let eligibility = Eligibility(group, policy, self.status.observation)
        return (policy.nodes + group.retreats).map { name in
            if group.unreported.contains(name) {
                let found = group.findings.first { $0.node == name }?.reason
                return .init(
                    node: name, eligible: false, reason: found ?? "has not reported that nothing of it runs there (B2)")
            }
            if let place = eligibility.candidates.firstIndex(of: name) {
                return .init(
                    node: name, eligible: true,
                    reason: name == group.owner ? "owns it" : (place == 0 ? "is the best choice" : "may run it"))
            }
            return .init(
                node: name, eligible: false,
                reason: eligibility.excluded.first { $0.node == name }?.reason ?? "may not run it")
        }
    }

    /// Until when a failure bans its node.
    private func end(of ban: ClusterState.GroupRecord.Ban, _ record: ClusterState.GroupRecord) -> String {
        guard let window = self.status.state.policy.group(record.name)?.restartWindow,
            let age = self.status.age(since: ban.since)
        else { return "" }
        let left = window.milliseconds - min(window.milliseconds, age)
        return
            "; it may run there again in \(Amounts.age(Double(left) / 1000)), or after `holdfast group start \(record.name)`"
    }

    private func next(_ group: GroupReport) -> String? {
        if [.waiting, .stopping, .moving].contains(group.state), let left = self.remains(group.name).first {
            return StatusBuilder.remedy(left.remains, of: group.name, on: left.node)
        }
        return switch group.state {
        case .parked, .failed: "repair the cause, then `holdfast group start \(group.name)`"
        case .stopped: "`holdfast group start \(group.name)`"
        case .waiting: self.status.hasQuorum ? nil : "bring a majority of the nodes back"
        case .running, .starting, .stopping, .moving: nil
        }
    }
}
