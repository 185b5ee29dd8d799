import Basis
import Resources

/// Volumes whose servers fail or end under the group.
///
/// Rule V23: what carries a volume keeps the requests of its users while the server is away, and hands them to the next one. So a
/// server that ends is asked to open again under the same epoch, and the group notices nothing but a pause.
extension GroupRunner {
    /// How long the users of a volume wait for its server. What carries it keeps their requests longer.
    static let reopenPatience = Span.seconds(10)
    private static let reopenInterval = Span.milliseconds(500)

    /// A copy that cannot be opened here may be sound elsewhere: each refusal counts, or the group would wait for ever.
    mutating func volumeFailed(_ place: Int, _ reason: String, at now: Tick, into requests: inout [Request]) {
        switch self.resources[place].state {
        case .running: self.giveUp(place, "failed: \(reason)", at: now, into: &requests)
        case .opening where self.goal == .up:
            self.resources[place].state = .detached
            self.failed(place, "cannot be opened: \(reason)", .soft, at: now, into: &requests)
            self.retryAt = self.goal == .up ? now + .milliseconds(500) : .never
        default: self.resources[place].reason = reason
        }
    }

    mutating func volumeLost(
        _ place: Int, _ volume: VolumeName, _ reason: String, at now: Tick, into requests: inout [Request]
    ) {
        let state = self.resources[place].state
        guard state == .running || state == .starting && self.goal == .up, self.goal != .suspended, !self.isKilling
        else {
            return self.volumeFailed(place, reason, at: now, into: &requests)
        }
        if state == .starting {
            // The start may have found the device as it was, and would end well on one that nobody serves any more. It has
            // a time of its own, so no other runs.
            self.resources[place].reopening = Reopening(until: .never, next: now + Self.reopenInterval, reason: reason)
        }
        if self.resources[place].reopening == nil {
            self.restarts.reopenings.removeAll { now.since($0) > self.restarts.window }
            self.restarts.reopenings.append(now)
            // A server that ends again and again is no pause any more.
            guard self.restarts.reopenings.count <= self.restarts.attempts + 1 else {
                return self.giveUp(
                    place,
                    "failed: \(reason) (\(self.restarts.reopenings.count) times within \(self.restarts.window.words))",
                    at: now,
                    into: &requests)
            }
            requests.append(.note(.waitsForVolume(self.resources[place].policy.name, reason: reason)))
            self.resources[place].reopening = Reopening(
                until: now + Self.reopenPatience, next: now + Self.reopenInterval, reason: reason)
        }
        requests.append(.openVolume(volume))
    }

    /// What stands on it is looked at, the device first: it may have grown meanwhile.
    mutating func reopened(_ place: Int, at now: Tick) {
        guard self.resources[place].reopening != nil else { return }
        self.resources[place].reopening = nil
        for above in self.resources.indices where above >= place && self.resources[above].monitorCall == nil {
            self.resources[above].nextMonitor = now
        }
    }

    /// Asks again, or waits no longer.
    mutating func reopen(at now: Tick, into requests: inout [Request]) {
        for place in self.resources.indices {
            guard let volume = self.resources[place].volume, let reopening = self.resources[place].reopening else {
                continue
            }
            if now >= reopening.until {
                self.giveUp(
                    place, "failed: \(reopening.reason), and was not back within \(Self.reopenPatience.words)", at: now,
                    into: &requests)
            } else if now >= reopening.next {
                self.resources[place].reopening?.next = now + Self.reopenInterval
                requests.append(.openVolume(volume))
            }
        }
    }

    /// Nobody waits for the device any more: whatever stands on it could not even be stopped. The stop that follows, or is
    /// under way, finds errors where it would have found nothing.
    private mutating func giveUp(_ place: Int, _ reason: String, at now: Tick, into requests: inout [Request]) {
        self.resources[place].reopening = nil
        if let volume = self.resources[place].volume { requests.append(.cutVolume(volume)) }
        self.failed(place, reason, .soft, at: now, into: &requests)
    }
}
