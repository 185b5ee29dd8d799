import Basis
import Cluster
import Resources
import Testing

private func at(_ milliseconds: UInt64) -> Tick { Tick(nanoseconds: milliseconds * 1_000_000) }

/// A runner whose agents answer as told.
final class GroupRunnerBench {
    var runner: GroupRunner
    let original: GroupPolicy
    var requests: [GroupRunner.Request] = []
    var now: UInt64 = 1000

    init(_ agents: [String] = ["filesystem", "exec", "address"], attempts: Int = 2) {
        let resources = agents.enumerated().map { place, agent in
            ResourcePolicy(
                name: ResourceName("r\(place)"), agent: agent,
                parameters: agent == "volume" ? [.init("volume", "data")] : [])
        }
        let policy = GroupPolicy(
            name: GroupName("g"), nodes: ["a"], restartAttempts: attempts, resources: resources)
        self.original = policy
        self.runner = GroupRunner(
            policy: policy, epoch: Epoch(generation: 0, index: 9), incarnation: Incarnation(3), firstCall: 1)
    }

    /// The group's policy with other resources.
    func policy(_ change: (inout [ResourcePolicy]) -> Void) -> GroupPolicy {
        var policy = self.original
        change(&policy.resources)
        return policy
    }

    func step(_ input: GroupRunner.Input) {
        self.requests = []
        self.runner.step(input, at: at(self.now), into: &self.requests)
    }

    var call: AgentCall? {
        for case .call(let call) in self.requests where call.action != .monitor { return call }
        return nil
    }

    /// Whose checks are asked for.
    var checked: [String] {
        self.requests.compactMap { request in
            guard case .call(let call) = request, call.action == .monitor else { return nil }
            return call.resource.name.rawValue
        }
    }

    /// Answers calls with success until there are none.
    func succeed() -> [String] {
        var done: [String] = []
        while let call = self.call {
            done.append("\(call.action.rawValue) \(call.resource.name)")
            self.step(.agentFinished(id: call.id, .success))
        }
        return done
    }
}
