import Basis

/// What an agent is asked to do.
public enum AgentAction: String, Sendable, CaseIterable {
    /// Bring the resource up; done only when it is usable. Idempotent.
    case start
    /// Take it down; may use force. Idempotent.
    case stop
    /// Check that it works.
    case monitor
    /// Find out whether it runs, without changing anything; safe at any time.
    case probe
}

/// One request to an agent.
public struct AgentCall: Equatable, Sendable {
    /// Numbers the call, so that its answer is matched; unique within one life of the daemon.
    public var id: UInt64
    /// The group that owns the resource.
    public var group: GroupName
    /// The epoch under which it runs, handed to the agent as a fencing token.
    public var epoch: Epoch
    /// The resource with its parameters and timeouts.
    public var resource: ResourcePolicy
    /// What to do.
    public var action: AgentAction
    /// After this the call is killed and counts as failed.
    public var timeout: Span
    /// A blank device may get a file system: its volume, if it is one, was never used. (Rule V22)
    public var mayFormat = false
    /// A damaged file system may be repaired without a question. (Rule V22)
    public var mayRepair = false

    /// A call from its parts.
    public init(
        id: UInt64, group: GroupName, epoch: Epoch, resource: ResourcePolicy, action: AgentAction, timeout: Span
    ) {
        self.id = id
        self.group = group
        self.epoch = epoch
        self.resource = resource
        self.action = action
        self.timeout = timeout
    }
}

/// How an agent call ended.
public enum AgentOutcome: Equatable, Sendable {
    /// Started, stopped, or found running.
    case success
    /// A probe or monitor found it cleanly stopped.
    case notRunning
    /// It works, but not as it should (OCF exit codes 190 and 191).
    case degraded(reason: String)
    /// It failed; the recovery class says where it may be tried again.
    case failed(reason: String, recovery: Recovery)
    /// It did not answer in time and was killed.
    case timedOut

    /// Where a failed action may be tried again.
    public enum Recovery: String, Sendable {
        /// Anywhere, also here.
        case soft
        /// Not on this node (OCF exit codes 2, 4, 5).
        case hard
        /// Nowhere until the configuration changes (OCF exit code 6).
        case fatal
    }
}
