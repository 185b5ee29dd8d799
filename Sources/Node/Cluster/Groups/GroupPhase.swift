/// Where a group stands on the node that runs it, in one word.
public enum GroupPhase: String, Equatable, Sendable, CaseIterable {
    /// What is wanted runs.
    case running
    /// It is on its way up for the first time.
    case starting
    /// It is on its way up again after a failure.
    case restarting
    /// It is on its way down.
    case stopping
    /// It was to stop, and has.
    case stopped
    /// The lease ended, and everything of it is being killed. (Rule L12)
    case killing
    /// Everything of it was killed, until the lease is back. (Rule L12)
    case suspended
}

extension GroupRunner {
    /// Where the group stands.
    public var phase: GroupPhase {
        switch self.goal {
        case .suspended: self.isKilling ? .killing : .suspended
        case .down: self.isFinished ? .stopped : .stopping
        case .up: self.isUp ? .running : (self.restarts.failures.isEmpty ? .starting : .restarting)
        }
    }
}
