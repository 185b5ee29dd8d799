import Basis
import Glibc
import Resources

/// The stops that follow a kill: what an OCF agent keeps in the kernel or in another daemon survives the death of its
/// processes. (Rules L11, L12)
extension AgentRunner {
    /// A stop that failed after a kill, and when it is tried again.
    struct FailedStop: Sendable {
        var reason: String
        var attempts: UInt64
        var nextAt: Tick
    }

    /// Between two tries of a failing stop: at first and at most.
    private static let firstPause = Span.seconds(1)
    private static let lastPause = Span.seconds(30)
    /// A stop whose resource the kill has ended already is a courtesy (it removes pid files and the like).
    private static let courtesyTime = Span.seconds(10)

    /// Calls `stop` for everything of a group that was started and not stopped, the latest first, once its processes are
    /// dead. Blocks while the agents work. Returns why something is still there; nil when nothing is.
    func stopAfterKill(_ group: GroupName) -> String? {
        var left = self.records.unreadable(of: group).map { "\($0.resource) (\($0.reason))" }
        for record in self.records.started(of: group) {
            let policy = record.policy
            let reason = self.stopAfterKill(record, policy)
            guard let reason else { continue }
            if policy.isKillable {
                // The kill ended it, whatever its agent says.
                self.environment.log(
                    "\(group)/\(policy.name): its stop after the kill failed, which does no harm: \(reason)")
                self.records.removeStarted(group, policy.name)
            } else {
                left.append("\(policy.name) (\(reason))")
            }
        }
        return left.isEmpty ? nil : left.joined(separator: ", ")
    }

    private func stopAfterKill(_ record: StartedRecord, _ policy: ResourcePolicy) -> String? {
        let key = ExitWatcher.Key(group: GroupName(record.group), resource: policy.name)
        let known = self.withState { $0.failedStops[key] }
        if let known, self.environment.clock() < known.nextAt { return known.reason }
        let timeout = policy.isKillable ? min(policy.stopTimeout, Self.courtesyTime) : policy.stopTimeout
        let call = AgentCall(
            id: self.withState { state in
                state.stopsAfterKill += 1
                return UInt64.max - state.stopsAfterKill
            }, group: key.group, epoch: record.epoch, resource: policy, action: .stop, timeout: timeout)
        let outcome = self.perform(call, cancel: CancelSignal(), isAfterKill: true)
        let reason: String
        switch outcome {
        case .success, .notRunning:
            self.withState { $0.failedStops[key] = nil }
            return nil
        case .degraded(let text), .failed(let text, _): reason = text
        case .timedOut: reason = "its stop was not done within \(timeout)"
        }
        let attempts = (known?.attempts ?? 0) + 1
        let pause = min(Self.lastPause, Self.firstPause * (1 << min(attempts - 1, 5)))
        let next = self.environment.clock() + pause
        self.withState { $0.failedStops[key] = FailedStop(reason: reason, attempts: attempts, nextAt: next) }
        self.environment.log(
            "\(key.group)/\(key.resource): its stop after the kill failed, and is tried again: \(reason)")
        return reason
    }

    /// A person says that nothing of the group is left here: its agents' stops are not asked for any more.
    public func forgetStarted(_ group: GroupName) {
        for record in self.records.started(of: group) {
            self.records.removeStarted(group, ResourceName(record.resource))
        }
        for record in self.records.unreadable(of: group) { unlink(record.path) }
        self.withState { state in
            for key in state.failedStops.keys where key.group == group { state.failedStops[key] = nil }
        }
    }
}
