import Basis
import Reports
import Resources

/// What would follow from another configuration: fork, apply, plan. `plan` and `apply` show it before anything is changed.
package struct ConfigurationForecast {
    /// The steps, in order: what starts anew in place, what becomes of copies, what the planner does.
    package let actions: [PlanReport.Action]
    /// What it interrupts, and what it makes vanish.
    package let impact: ConfigurationImpact
    /// What goes down, in the order of groups.
    package var interruptions: [PlanReport.Interruption] { self.impact.interruptions.map { .init($0) } }

    /// Forecasts that node `origin` puts `policy` into force. Throws what the replicated state would refuse it for.
    package init(
        of policy: ClusterPolicy, text: String, from origin: NodeID, in state: ClusterState
    ) throws(Refusal) {
        var fork = state
        let outcome = fork.forecast(.configure(policy, text: text, expectedIndex: state.policyIndex), from: origin)
        if case .refused(let refusal) = outcome { throw refusal }
        var unborn: [GroupName] = []
        for group in fork.groups where group.epoch == .none {
            if let wanted = policy.group(group.name), !fork.unreported(group, wanted).isEmpty {
                unborn.append(group.name)
            }
        }
        for group in unborn {
            let since = fork.group(group)?.searchedSince ?? .zero
            _ = fork.forecast(
                .declareAbsent(group, nodes: fork.nodes.map(\.id), since: since, statement: "forecast"), from: origin)
        }
        let volumes = state.volumeConsequences(of: policy).map {
            PlanReport.Action(sentence: $0, reason: "a copy counts only while it surely holds every write (V21)")
        }
        let planned = Forecast.plan(fork)
        let releases = planned.compactMap { action -> (group: GroupName, target: String?)? in
            guard case .release(let group, _, let target) = action.step else { return nil }
            return (group, target)
        }
        self.actions = Self.restarts(policy, state) + volumes + Forecast.actions(planned, unborn: unborn)
        self.impact = ConfigurationImpact(from: state, to: policy, releases: releases)
    }

    /// What a new configuration starts again in place.
    private static func restarts(_ policy: ClusterPolicy, _ state: ClusterState) -> [PlanReport.Action] {
        state.groups.compactMap { record -> PlanReport.Action? in
            guard let owner = record.assignment?.node, let old = state.policy.group(record.name)?.resources,
                let new = policy.group(record.name)?.resources
            else { return nil }
            let kept = ResourcePolicy.commonStart(old, new)
            let stopped = old[kept...].map(\.name.rawValue)
            let started = new[kept...].map(\.name.rawValue)
            guard !stopped.isEmpty || !started.isEmpty else { return nil }
            let parts = [
                stopped.isEmpty ? nil : "stop \(Suggestion.list(stopped.reversed()))",
                started.isEmpty ? nil : "start \(Suggestion.list(started))",
            ].compactMap { $0 }
            return PlanReport.Action(
                sentence: "\(parts.joined(separator: ", then ")) of \(record.name) on \(state.name(of: owner))",
                reason: "what changes is started anew in place, with all that stands on it")
        }
    }
}

extension PlanReport.Interruption {
    /// The report of an interruption.
    fileprivate init(_ interruption: ConfigurationImpact.Interruption) {
        let longest = interruption.stopLimit + interruption.startLimit
        self.init(
            group: interruption.group.rawValue, node: interruption.node, isFinal: interruption.kind == .removal,
            sentence: interruption.sentence, longestSeconds: Double(longest.milliseconds) / 1000)
    }
}
