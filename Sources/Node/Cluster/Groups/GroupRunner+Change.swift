import Basis
import Resources

/// A new configuration for a group that runs: what differs, and all that stands on it, is stopped, exchanged and started
/// in place. A change of times alone stops nothing.
extension GroupRunner {
    /// Whether this is the configuration that it has, or is on its way to.
    public func agrees(with policy: GroupPolicy) -> Bool {
        policy.restartAttempts == self.restarts.attempts && policy.restartWindow == self.restarts.window
            && policy.resources == self.replacement ?? self.resources.map(\.policy)
    }

    mutating func change(to policy: GroupPolicy, at now: Tick, into requests: inout [Request]) {
        if case .down = self.goal { return }
        self.restarts.attempts = policy.restartAttempts
        self.restarts.window = policy.restartWindow
        let wanted = policy.resources
        let kept = ResourcePolicy.commonStart(self.resources.map(\.policy), wanted)
        for place in 0..<kept where self.resources[place].policy != wanted[place] {
            self.resources[place].policy = wanted[place]
            guard self.resources[place].state == .running, self.resources[place].monitorCall == nil else { continue }
            let interval = wanted[place].monitorInterval
            self.resources[place].nextMonitor = interval == .zero ? .never : now + interval
        }
        guard kept < self.resources.count || kept < wanted.count else {
            self.replacement = nil
            return
        }
        self.replacement = wanted
        self.restarts.failures.removeAll()
        requests.append(.note(.newConfiguration(starting: wanted[kept...].map(\.name))))
        guard kept < self.resources.count, self.goal == .up else { return }
        self.restartFrom = min(kept, self.restartFrom ?? kept)
        if let call = self.call, call.resource >= kept, self.resources[call.resource].state == .starting {
            // Its stop copes with a half-started resource.
            requests.append(.cancel(call.id))
            self.call = nil
        }
    }

    /// Exchanges what is stopped by now. A volume stays open.
    mutating func takeReplacement() {
        guard let wanted = self.replacement else { return }
        self.replacement = nil
        let kept = ResourcePolicy.commonStart(self.resources.map(\.policy), wanted)
        let old = self.resources[kept...]
        self.resources.removeSubrange(kept...)
        for policy in wanted[kept...] {
            let resource = Resource(policy: policy)
            let open = resource.volume.flatMap { volume in old.first { $0.volume == volume } }
            self.resources.append(open.map { Resource(policy: policy, state: $0.state) } ?? resource)
        }
    }
}
