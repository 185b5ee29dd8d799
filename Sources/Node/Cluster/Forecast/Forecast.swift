import Basis
import Reports
import Resources

/// What would follow if a command were committed now: it is applied to a copy of the state, and the planner looks at that.
package struct Forecast {
    /// The state as it would be; unchanged where the command is refused.
    package let state: ClusterState
    /// What applying the command would say.
    package let outcome: Outcome
    /// What the planner would do then, before anything of it is done.
    package var actions: [PlanReport.Action] { Self.actions(Self.plan(self.state)) }

    /// Forecasts `command` as if node `origin` had asked for it. The time of the cluster stands still.
    package init(of command: Command, from origin: NodeID, in state: ClusterState) {
        var fork = state
        self.outcome = fork.forecast(command, from: origin)
        self.state = fork
    }

    /// What the planner would do now, with the state as it is.
    package static func present(_ state: ClusterState) -> [PlanReport.Action] { self.actions(self.plan(state)) }

    static func plan(_ state: ClusterState) -> [Plan.Action] {
        Planner.plan(policy: state.policy, observation: state.observation).actions
    }

    /// The report of planned steps. Those of `unborn` groups wait until it is known that nothing of them runs. (Rule B2)
    static func actions(_ planned: [Plan.Action], unborn: [GroupName] = []) -> [PlanReport.Action] {
        planned.map { action in
            PlanReport.Action(
                sentence: action.briefSentence, reason: action.reason,
                waitsFor: unborn.contains(action.group)
                    ? "every member of its list reports that nothing of it runs there (B2)" : nil)
        }
    }
}

extension ClusterState {
    /// Applies a command that nobody committed: for a copy that is thrown away.
    mutating func forecast(_ command: Command, from origin: NodeID) -> Outcome {
        self.apply(
            LogCommand(
                origin: origin, nonce: 0, sequence: 0, clusterMilliseconds: self.clusterMilliseconds,
                wallMilliseconds: self.wallMilliseconds, command: command),
            at: self.appliedIndex.next)
    }
}

extension Plan.Action {
    /// The sentence without its reason.
    var briefSentence: String {
        let tail = ", because \(self.reason)"
        return self.sentence.hasSuffix(tail) ? String(self.sentence.dropLast(tail.count)) : self.sentence
    }
}
