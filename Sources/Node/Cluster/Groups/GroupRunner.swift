import Basis
import Resources

/// Runs one group under one epoch on this node: starts its resources in order, watches them, restarts what fails,
/// stops in reverse, and kills when it must. Pure: agents and volume servers are asked through `Request`s.
///
///     suspended ── resume ──► up ── stop ──► down ──► finished
///         ▲                    │               │
///         └──── kill ──────────┴───────────────┘      (the lease ended; once finished it stays down)
public struct GroupRunner: Equatable, Sendable {
    /// What is wanted of the group on this node.
    public enum Goal: Equatable, Sendable {
        /// Everything runs.
        case up
        /// Everything is stopped, for the failure if there is one.
        case down(GroupFailure?)
        /// Everything is killed until the lease is back. (Rule L12)
        case suspended
    }

    /// What one resource does.
    public enum ResourceState: String, Equatable, Sendable, CaseIterable {
        /// Not running.
        case stopped
        /// Its volume is being opened.
        case opening
        /// Its agent starts it.
        case starting
        /// It runs.
        case running
        /// Its address was taken down from outside and is to come back, or was left alone: a start puts it back, and it is
        /// not stopped before a stop.
        case withdrawn
        /// Its agent stops it.
        case stopping
        /// Its volume is being closed.
        case closing
        /// Stopped, but its volume is open.
        case detached
    }

    /// One resource with its state.
    public struct Resource: Equatable, Sendable {
        /// Its policy, as it was started.
        public var policy: ResourcePolicy
        /// What it does.
        public internal(set) var state: ResourceState {
            didSet { ResourceState.assertStep(from: oldValue, to: self.state) }
        }
        /// Why it is not well, if it is not.
        public internal(set) var reason = ""
        /// When it was last found running.
        public internal(set) var checkedAt = Tick.zero
        var nextMonitor: Tick
        var runningSince = Tick.zero
        var monitorCall: UInt64?
        var reopening: Reopening?

        init(policy: ResourcePolicy, state: ResourceState = .stopped, nextMonitor: Tick = .never) {
            self.policy = policy
            self.state = state
            self.nextMonitor = nextMonitor
        }

        var volume: VolumeName? { self.policy.kind.openedVolume }
    }

    /// The server of an attached volume ended: whoever uses the device waits, and notices nothing when it is back in time.
    struct Reopening: Equatable, Sendable {
        var until: Tick
        /// When it is asked to open again.
        var next: Tick
        var reason: String
    }

    /// Failures, and how many of them a group gets over in place.
    struct Restarts: Equatable, Sendable {
        /// The latest restart in place: how many there were, of what, and why.
        struct Latest: Equatable, Sendable {
            var count = 0
            var resource = ResourceName("")
            var reason = ""
        }
        var attempts: Int
        var window: Span
        /// Within the window.
        var failures: [Tick] = []
        /// When the servers of its volumes ended under it.
        var reopenings: [Tick] = []
        /// How many of the latest failures came within a quarter of a second of a start, one after the other.
        var youngDeaths = 0
        var latest = Latest()
    }

    /// A start or a stop that is under way.
    struct Call: Equatable, Sendable {
        var id: UInt64
        /// Where its resource lies.
        var resource: Int
    }

    /// What the runner asks for.
    public enum Request: Equatable, Sendable {
        /// Call an agent; answered by `agentFinished`.
        case call(AgentCall)
        /// Kill a call that is under way; its answer no longer matters.
        case cancel(UInt64)
        /// Promote the local replica; repeated until `volumeOpened`.
        case openVolume(VolumeName)
        /// Flush and close; repeated until `volumeClosed`.
        case closeVolume(VolumeName)
        /// Let whoever waits for the volume's device fail: it does not come back.
        case cutVolume(VolumeName)
        /// Kill every process of the group, drop its addresses and mounts; answered by `killed`.
        case kill
        /// Every resource runs.
        case reportStarted
        /// Every resource is stopped and every volume closed. (Rule L11)
        case reportStopped(GroupFailure?)
        /// What people should know.
        case note(GroupNote)
    }

    /// The group.
    public let name: GroupName
    /// The epoch it runs under.
    public let epoch: Epoch
    /// The life of this node that the assignment names. (Rule L1)
    public let incarnation: Incarnation
    /// What is wanted.
    public internal(set) var goal = Goal.up { didSet { Goal.assertStep(from: oldValue, to: self.goal) } }
    /// What was wanted when it was suspended.
    var interrupted = Goal.up
    /// In start order.
    public internal(set) var resources: [Resource]

    var restarts: Restarts
    /// The resources of a newer configuration, until what they replace is stopped.
    var replacement: [ResourcePolicy]?
    var call: Call?
    var isKilling = false
    var restartFrom: Int?
    var retryAt = Tick.never
    /// The next moment at which `tick` does something.
    public internal(set) var deadline = Tick.never
    var isReported = false
    var nextCall: UInt64

    /// A runner with everything stopped. `firstCall` must be above every call id used before.
    public init(policy: GroupPolicy, epoch: Epoch, incarnation: Incarnation, firstCall: UInt64) {
        self.name = policy.name
        self.epoch = epoch
        self.incarnation = incarnation
        self.resources = policy.resources.map { Resource(policy: $0) }
        self.restarts = Restarts(attempts: policy.restartAttempts, window: policy.restartWindow)
        self.nextCall = firstCall
    }

    /// Takes over what an earlier life of the daemon left running under the same epoch. (Rule L10)
    public mutating func adopt(at now: Tick) {
        for place in self.resources.indices {
            self.resources[place] = Resource(policy: self.resources[place].policy, state: .running, nextMonitor: now)
        }
        self.isReported = true
        self.deadline = now
    }

    /// Every resource runs.
    public var isUp: Bool {
        guard self.goal == .up else { return false }
        if case .some = self.replacement { return false }
        return self.resources.indices.allSatisfy { self.resources[$0].state == .running }
    }

    /// Nothing of the group runs here, and no start is under way.
    public var isEmpty: Bool {
        self.call == nil && !self.isKilling
            && self.resources.allSatisfy { $0.state == .stopped || $0.state == .detached }
    }

    /// A new configuration has not replaced all of the old yet.
    var isChanging: Bool { self.replacement != nil || self.restartFrom != nil }

    /// How it stands, as far as others decide from it.
    struct Outline: Equatable {
        var goal: Goal
        var isUp: Bool
        var isEmpty: Bool
        var isFinished: Bool
        var isChanging: Bool
    }

    var outline: Outline {
        Outline(
            goal: self.goal, isUp: self.isUp, isEmpty: self.isEmpty, isFinished: self.isFinished,
            isChanging: self.replacement != nil)
    }

    /// Whether this call is one of its own that is under way.
    func awaits(_ call: UInt64) -> Bool {
        self.call?.id == call || self.resources.contains { $0.monitorCall == call }
    }

    /// It was to stop, and has.
    public var isFinished: Bool {
        guard case .down = self.goal else { return false }
        return self.call == nil && !self.isKilling && self.resources.allSatisfy { $0.state == .stopped }
    }

}
