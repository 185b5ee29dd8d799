import Basis
import Resources

extension GroupRunner {
    /// What happens to a runner.
    public enum Input: Equatable, Sendable {
        /// Begin, or go on after `suspend` with what was wanted before: a stop that began is not taken back.
        case resume
        /// Stop everything in order.
        case stop(GroupFailure?)
        /// The configuration of the group changed.
        case change(GroupPolicy)
        /// The lease ended: kill everything at once. (Rule L12)
        case suspend
        /// An agent call ended.
        case agentFinished(id: UInt64, AgentOutcome)
        /// A service's process ended by itself.
        case exited(ResourceName, reason: String)
        /// The volume server exports under this runner's epoch.
        case volumeOpened(VolumeName)
        /// The volume server ended, or is a new one that has not opened the volume yet.
        case volumeLost(VolumeName, reason: String)
        /// The volume server flushed and closed.
        case volumeClosed(VolumeName)
        /// The volume server cannot serve any more.
        case volumeFailed(VolumeName, reason: String)
        /// `kill` ended; false means that something still lives.
        case killed(Bool)
        /// The addresses were taken down while the clocks had parted, and are to come back. (Rule L20)
        case readdress
        /// Time passed.
        case tick
    }

    /// Advances by one input.
    public mutating func step(_ input: Input, at now: Tick, into requests: inout [Request]) {
        switch input {
        case .resume:
            if self.goal == .suspended { self.goal = self.interrupted }
        case .stop(let failure):
            self.wantDown(failure, into: &requests)
        case .change(let policy):
            self.change(to: policy, at: now, into: &requests)
        case .suspend:
            // What has stopped stays so: its end is, or will be, asked for. (Rule L11.1)
            guard self.goal != .suspended, !self.isFinished else { return }
            self.interrupted = self.goal
            self.goal = .suspended
            self.beginKill(into: &requests)
        case .agentFinished(let id, let outcome):
            self.agentFinished(id, outcome, at: now, into: &requests)
        case .exited(let name, let reason):
            guard let place = self.resources.firstIndex(where: { $0.policy.name == name }),
                self.resources[place].state == .running
            else { return }
            self.failed(place, "ended: \(reason)", .soft, at: now, into: &requests)
        case .volumeOpened(let volume):
            guard let place = self.place(of: volume) else { return }
            self.reopened(place, at: now)
            guard self.resources[place].state == .opening else { break }
            self.resources[place].state = .detached
            // Rule L12.1: what was opening when the lease ended is closed when it is ready, not used.
            if self.goal == .up, !self.isKilling { self.beginCall(.start, place, into: &requests) }
        case .volumeLost(let volume, let reason):
            guard let place = self.place(of: volume) else { return }
            self.volumeLost(place, volume, reason, at: now, into: &requests)
        case .volumeClosed(let volume):
            guard let place = self.place(of: volume), self.resources[place].state == .closing else { return }
            self.resources[place].state = .stopped
            self.retryAt = .never
        case .volumeFailed(let volume, let reason):
            guard let place = self.place(of: volume), self.resources[place].state != .stopped else { return }
            self.volumeFailed(place, reason, at: now, into: &requests)
        case .killed(let isDead):
            self.killed(isDead, at: now)
        case .readdress:
            guard self.goal == .up else { break }
            // A start of what is there already puts it back; nothing that stands on it is touched. Whether it was taken down at
            // all nobody says here: a guard may have been late. So it is not stopped, and keeps its claim. (Rule B5)
            for place in self.resources.indices
            where self.resources[place].policy.kind == .address && self.resources[place].state == .running {
                self.resources[place].state = .withdrawn
            }
        case .tick:
            if now >= self.retryAt { self.retry(at: now, into: &requests) }
            self.reopen(at: now, into: &requests)
            self.monitor(at: now, into: &requests)
        }
        self.advance(at: now, into: &requests)
        self.deadline = self.retryAt
        for place in self.resources.indices {
            if self.resources[place].state == .running {
                self.deadline = min(self.deadline, self.resources[place].nextMonitor)
            }
            if let reopening = self.resources[place].reopening {
                self.deadline = min(self.deadline, reopening.next, reopening.until)
            }
        }
    }

    /// The one place that decides what comes next: at most one start or stop at a time.
    private mutating func advance(at now: Tick, into requests: inout [Request]) {
        guard self.call == nil, !self.isKilling, self.goal != .suspended else { return }
        let isBusy = self.resources.contains { $0.state == .opening || $0.state == .closing }
        if isBusy || (self.retryAt != .never && now < self.retryAt) { return }
        let floor: Int?
        if case .down = self.goal { floor = 0 } else { floor = self.restartFrom }
        if let floor {
            if let last = self.resources.indices.reversed().first(where: {
                $0 >= floor && self.resources[$0].state != .stopped
                    && !(self.goal == .up && self.resources[$0].state == .detached)
            }) {
                self.stopResource(last, at: now, into: &requests)
                return
            }
            self.restartFrom = nil
        }
        if case .down(let failure) = self.goal {
            if !self.isReported {
                self.isReported = true
                requests.append(.reportStopped(failure))
            }
            return
        }
        self.takeReplacement()
        if let next = self.resources.firstIndex(where: { $0.state != .running }) {
            self.startResource(next, at: now, into: &requests)
        } else if !self.isReported {
            self.isReported = true
            requests.append(.reportStarted)
        }
    }

    private mutating func startResource(_ place: Int, at now: Tick, into requests: inout [Request]) {
        if let volume = self.resources[place].volume {
            self.resources[place].state = .opening
            self.retryAt = now + .milliseconds(500)
            requests.append(.openVolume(volume))
        } else {
            self.beginCall(.start, place, into: &requests)
        }
    }

    private mutating func stopResource(_ place: Int, at now: Tick, into requests: inout [Request]) {
        if self.resources[place].state == .detached, let volume = self.resources[place].volume {
            self.resources[place].state = .closing
            self.retryAt = now + .milliseconds(500)
            requests.append(.closeVolume(volume))
        } else {
            self.beginCall(.stop, place, into: &requests)
        }
    }

    private mutating func beginCall(_ action: AgentAction, _ place: Int, into requests: inout [Request]) {
        let policy = self.resources[place].policy
        self.retryAt = .never
        self.resources[place].state = action == .start ? .starting : .stopping
        self.resources[place].nextMonitor = .never
        self.resources[place].monitorCall = nil
        self.resources[place].reopening = nil
        let id = self.takeCall()
        self.call = Call(id: id, resource: place)
        requests.append(
            .call(
                AgentCall(
                    id: id, group: self.name, epoch: self.epoch, resource: policy, action: action,
                    timeout: action == .start ? policy.startTimeout : policy.stopTimeout)))
    }

    private mutating func takeCall() -> UInt64 {
        defer { self.nextCall += 1 }
        return self.nextCall
    }

    private mutating func wantDown(_ failure: GroupFailure?, into requests: inout [Request]) {
        if case .down = self.goal { return }
        let wasSuspended = self.goal == .suspended
        self.goal = .down(failure)
        self.isReported = false
        self.restartFrom = nil
        self.retryAt = .never
        self.closeWhatOpens()
        if let call = self.call, self.resources[call.resource].state == .starting, !wasSuspended {
            // A start that is under way is not waited for: its stop copes with a half-started resource.
            requests.append(.cancel(call.id))
            self.call = nil
        }
    }

    /// What is being opened is to be closed, as if it were open already.
    mutating func closeWhatOpens() {
        for place in self.resources.indices where self.resources[place].state == .opening {
            self.resources[place].state = .detached
            self.retryAt = .never
        }
    }

    private mutating func beginKill(into requests: inout [Request]) {
        if let call = self.call { requests.append(.cancel(call.id)) }
        self.call = nil
        self.restartFrom = nil
        self.retryAt = .never
        self.isKilling = true
        for place in self.resources.indices {
            self.resources[place].monitorCall = nil
            self.resources[place].reopening = nil
        }
        requests.append(.kill)
    }

    private mutating func killed(_ isDead: Bool, at now: Tick) {
        guard self.isKilling else { return }
        guard isDead else {
            self.retryAt = now + .milliseconds(100)
            return
        }
        self.isKilling = false
        self.retryAt = .never
        for place in self.resources.indices where self.resources[place].state != .stopped {
            self.resources[place].state = self.resources[place].volume == nil ? .stopped : .detached
        }
    }

    private mutating func retry(at now: Tick, into requests: inout [Request]) {
        self.retryAt = .never
        if self.isKilling { requests.append(.kill) }
        for place in self.resources.indices {
            guard let volume = self.resources[place].volume else { continue }
            switch self.resources[place].state {
            case .opening: requests.append(.openVolume(volume))
            case .closing: requests.append(.closeVolume(volume))
            default: continue
            }
            self.retryAt = now + .milliseconds(500)
        }
    }

    private mutating func agentFinished(
        _ id: UInt64, _ outcome: AgentOutcome, at now: Tick, into requests: inout [Request]
    ) {
        if let place = self.resources.firstIndex(where: { $0.monitorCall == id }) {
            self.resources[place].monitorCall = nil
            self.monitored(place, outcome, at: now, into: &requests)
            return
        }
        guard let call = self.call, call.id == id else { return }
        self.call = nil
        let place = call.resource
        let isStart = self.resources[place].state == .starting
        switch outcome {
        case .degraded(let reason) where !isStart:
            // It runs, if badly: the opposite of stopped.
            self.actionFailed(place, isStart, reason, .soft, at: now, into: &requests)
        case .success, .degraded:
            if isStart { self.nowRunning(place, outcome, at: now) } else { self.nowStopped(place) }
        case .notRunning:
            if isStart {
                self.failed(place, "did not start", .soft, at: now, into: &requests)
            } else {
                self.nowStopped(place)
            }
        case .failed(let reason, let recovery):
            self.actionFailed(place, isStart, reason, recovery, at: now, into: &requests)
        case .timedOut:
            let limit = isStart ? self.resources[place].policy.startTimeout : self.resources[place].policy.stopTimeout
            self.actionFailed(place, isStart, "not done within \(limit.words)", .soft, at: now, into: &requests)
        }
    }

    private mutating func nowRunning(_ place: Int, _ outcome: AgentOutcome, at now: Tick) {
        self.resources[place].state = .running
        self.resources[place].runningSince = now
        self.resources[place].checkedAt = now
        self.resources[place].reopening?.until = now + Self.reopenPatience
        let interval = self.resources[place].policy.monitorInterval
        self.resources[place].nextMonitor = interval == .zero ? .never : now + interval
        if case .degraded(let reason) = outcome {
            self.resources[place].reason = reason
        } else {
            self.resources[place].reason = ""
        }
    }

    private mutating func nowStopped(_ place: Int) {
        self.resources[place].state = self.resources[place].volume == nil ? .stopped : .detached
    }

    private mutating func actionFailed(
        _ place: Int, _ isStart: Bool, _ reason: String, _ recovery: AgentOutcome.Recovery, at now: Tick,
        into requests: inout [Request]
    ) {
        if isStart {
            self.failed(place, "failed to start: \(reason)", recovery, at: now, into: &requests)
        } else {
            // A stop that fails is escalated, never ignored.
            self.resources[place].reason = "failed to stop: \(reason)"
            requests.append(
                .note(.stopFailed(self.resources[place].policy.name, reason: reason)))
            self.beginKill(into: &requests)
        }
    }
}
