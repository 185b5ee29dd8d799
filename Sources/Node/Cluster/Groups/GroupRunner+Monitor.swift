import Basis
import Resources

/// Checks, failures, restarts in place, and giving up.
extension GroupRunner {
    mutating func monitor(at now: Tick, into requests: inout [Request]) {
        guard self.goal == .up, !self.isKilling else { return }
        for place in self.resources.indices {
            let resource = self.resources[place]
            guard resource.state == .running, resource.monitorCall == nil, now >= resource.nextMonitor else { continue }
            let id = self.nextCall
            self.nextCall += 1
            self.resources[place].monitorCall = id
            self.resources[place].nextMonitor = .never
            requests.append(
                .call(
                    AgentCall(
                        id: id, group: self.name, epoch: self.epoch, resource: resource.policy, action: .monitor,
                        timeout: resource.policy.monitorTimeout)))
        }
    }

    mutating func monitored(
        _ place: Int, _ outcome: AgentOutcome, at now: Tick, into requests: inout [Request]
    ) {
        guard self.resources[place].state == .running else { return }
        let interval = self.resources[place].policy.monitorInterval
        self.resources[place].nextMonitor = interval == .zero ? .never : now + interval
        switch outcome {
        case .success:
            self.resources[place].checkedAt = now
            self.resources[place].reason = ""
        case .degraded(let reason):
            self.resources[place].checkedAt = now
            self.resources[place].reason = reason
        case .notRunning:
            self.failed(place, "was found stopped", .soft, at: now, into: &requests)
        case .failed(let reason, let recovery):
            self.failed(place, "failed its check: \(reason)", recovery, at: now, into: &requests)
        case .timedOut:
            let limit = self.resources[place].policy.monitorTimeout
            self.failed(place, "did not answer its check within \(limit.words)", .soft, at: now, into: &requests)
        }
    }

    /// Restarts the resource and all that stand on it, or gives the group up when that happened too often.
    mutating func failed(
        _ place: Int, _ reason: String, _ recovery: AgentOutcome.Recovery, at now: Tick,
        into requests: inout [Request]
    ) {
        guard self.goal == .up else { return }
        let name = self.resources[place].policy.name
        self.resources[place].reason = reason
        // It is about to be stopped for a restart anyway: one cause counts once.
        if recovery == .soft, let floor = self.restartFrom, place >= floor { return }
        self.restarts.failures.removeAll { now.since($0) > self.restarts.window }
        self.restarts.failures.append(now)
        if recovery != .soft || self.restarts.failures.count > self.restarts.attempts {
            let count = self.restarts.failures.count
            let often = recovery == .soft && count > 1 ? " (\(count) times within \(self.restarts.window.words))" : ""
            requests.append(.note(.givesUp(name, reason: reason)))
            self.goal = .down(
                GroupFailure(resource: name, reason: reason + often, isFatal: recovery == .fatal))
            self.isReported = false
            self.restartFrom = nil
            self.closeWhatOpens()
            if self.resources[place].state == .starting { self.resources[place].state = .stopping }
            return
        }
        requests.append(
            .note(.restarts(name, reason: reason, count: self.restarts.failures.count, limit: self.restarts.attempts)))
        self.restarts.latest = Restarts.Latest(count: self.restarts.latest.count + 1, resource: name, reason: reason)
        self.restartFrom = min(place, self.restartFrom ?? place)
        // What ran for a while is restarted at once; what dies young again and again waits longer each time, so that it
        // does not spin.
        let ran = self.resources[place].state == .running ? now.since(self.resources[place].runningSince) : .zero
        self.restarts.youngDeaths = ran < .milliseconds(250) ? self.restarts.youngDeaths + 1 : 0
        if self.restarts.failures.count > 1, self.restarts.youngDeaths > 0 {
            self.retryAt = now + min(.milliseconds(500), .milliseconds(25 << UInt64(min(self.restarts.youngDeaths, 5))))
        }
    }

    func place(of volume: VolumeName) -> Int? {
        self.resources.firstIndex { $0.volume == volume }
    }
}
