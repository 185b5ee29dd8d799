/// One group in `StatusReport`.
public struct GroupReport: Codable, Equatable, Sendable {
    /// What a group is doing.
    public enum State: String, Codable, Sendable, CaseIterable {
        /// Every resource is started.
        case running
        /// Resources are being started.
        case starting
        /// Resources are being stopped.
        case stopping
        /// Stopped, because an operator wants it so.
        case stopped
        /// On its way to another node.
        case moving
        /// Given up after too many moves; waits for an operator. (NoFlap)
        case parked
        /// A resource failed and cannot be brought back.
        case failed
        /// Wants to run, and waits for something that `reason` names.
        case waiting
    }
    /// The group's name.
    public var name: String
    /// What it is doing.
    public var state: State
    /// The node that it is assigned to.
    public var owner: String?
    /// The node that an operator moves it to, from when that is accepted until it is assigned anew, there or elsewhere.
    public var movingTo: String?
    /// The epoch of the assignment, as `Epoch` prints it; `0` before the first.
    public var epoch: String
    /// Why it is in this state, as a sentence; empty when it simply runs.
    public var reason: String
    /// Seconds for which it has been in this state.
    public var sinceSeconds: Double?
    /// The nodes that may run it, most preferred first.
    public var nodes: [String]
    /// `after-lease` or `immediate`.
    public var takeover: String
    /// Its resources in start order.
    public var resources: [ResourceReport]
    /// It failed on every node that could run it now: without a person it stays down.
    public var hasGivenUp: Bool
    /// All fields.
    public init(
        name: String, state: State, owner: String? = nil, movingTo: String? = nil, epoch: String, reason: String,
        sinceSeconds: Double? = nil, nodes: [String], takeover: String, resources: [ResourceReport] = [],
        hasGivenUp: Bool = false
    ) {
        self.name = name
        self.hasGivenUp = hasGivenUp
        self.state = state
        self.owner = owner
        self.movingTo = movingTo
        self.epoch = epoch
        self.reason = reason
        self.sinceSeconds = sinceSeconds
        self.nodes = nodes
        self.takeover = takeover
        self.resources = resources
    }
}

/// One resource in `GroupReport`.
public struct ResourceReport: Codable, Equatable, Sendable {
    /// How a resource stands.
    public enum State: String, Codable, Sendable, CaseIterable {
        /// Started, and its last check passed.
        case running
        /// Started, and works less well than it should.
        case degraded
        /// Its start is in progress.
        case starting
        /// Its stop is in progress.
        case stopping
        /// Not running.
        case stopped
        /// Its start, check or stop failed.
        case failed
        /// The answering node does not own the group and has not heard.
        case unknown
    }
    /// The resource's name.
    public var name: String
    /// Its agent.
    public var agent: String
    /// How it stands.
    public var state: State
    /// Seconds since the last check ended.
    public var checkedSecondsAgo: Double?
    /// Why it is in this state.
    public var reason: String?
    /// All fields.
    public init(name: String, agent: String, state: State, checkedSecondsAgo: Double? = nil, reason: String? = nil) {
        self.name = name
        self.agent = agent
        self.state = state
        self.checkedSecondsAgo = checkedSecondsAgo
        self.reason = reason
    }
}
