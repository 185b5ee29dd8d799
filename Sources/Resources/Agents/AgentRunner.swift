import Basis
import CLinux
import Dispatch
import Glibc
import Host
import Resources
import Synchronization

/// Runs agent calls on threads of their own: one at a time for each resource, any number at once beside that.
///
/// A stop cancels whatever else is going on with its resource. (Rule L11: stopped also means that no start goes on)
public final class AgentRunner: Sendable {
    /// The group, resource and epoch of a service that ended though nobody asked for it, and how it ended.
    public typealias ExitHandler = @Sendable (GroupName, ResourceName, Epoch, String) -> Void

    struct Pending: Sendable {
        let call: AgentCall
        let cancel: CancelSignal
        let completion: @Sendable (AgentOutcome) -> Void
    }

    struct Lane {
        var running: Pending?
        var waiting: [Pending] = []
    }

    struct State {
        var lanes: [ExitWatcher.Key: Lane] = [:]
        /// Groups that are being killed: nothing may run in them.
        var sealed: [GroupName: Int] = [:]
        /// What was said last of a group that does not end.
        var saidRemains: [GroupName: String] = [:]
        var failedStops: [ExitWatcher.Key: FailedStop] = [:]
        /// Numbers the stops that follow a kill, from the top of the range down.
        var stopsAfterKill: UInt64 = 0
        /// Who kills a group and waits for its calls to end.
        var killers: [GroupName: [DispatchSemaphore]] = [:]
        var onExit: ExitHandler?
    }

    private final class Shared: Sendable {
        let state = Mutex(State())
    }

    let environment: AgentEnvironment
    let records: RunRecords
    let watcher: ExitWatcher
    let addresses: AddressKeeper
    /// Starts, and checks: many of either that come at once are spread out. Stops and kills wait for nobody.
    private let starts: CallGate
    private let checks: CallGate
    private let spawner: ServiceSpawner
    private let logs: ServiceLogKeeper
    private let shared: Shared

    /// A runner for this node. Starts no thread before the first call.
    public init(environment: AgentEnvironment) {
        let shared = Shared()
        self.shared = shared
        self.environment = environment
        if (try? environment.groupsCgroup.create()) != nil {
            ControlGroup(environment.cgroupRoot).countChildren()
            environment.groupsCgroup.countChildren()
        }
        self.records = RunRecords(directory: environment.runDirectory)
        self.addresses = AddressKeeper(environment: environment)
        self.starts = CallGate(atOnce: 24, moment: .milliseconds(250), clock: environment.clock)
        self.checks = CallGate(atOnce: 32, moment: .milliseconds(250), clock: environment.clock)
        self.spawner = ServiceSpawner(setup: environment.threadSetup)
        self.logs = ServiceLogKeeper(runDirectory: environment.runDirectory)
        let records = self.records
        self.watcher = ExitWatcher { key, epoch, end in
            environment.log("\(key.group)/\(key.resource): the service \(end)")
            // The kernel would wait for ever for what it had asked the process that served an nbd device.
            if let device = records.holding(.devices, key.group, key.resource).flatMap({ VolumeAttachment($0) }) {
                SystemThread.demand("agent") { device.cut(waitingAtMost: .seconds(1)) }
            }
            shared.state.withLock { $0.onExit }?(
                key.group, key.resource, epoch, end.description + environment.spaceHint)
        }
    }

    /// Called on a thread of the runner when a service ends by itself; set it before the first start.
    public var onExit: ExitHandler? {
        get { self.shared.state.withLock { $0.onExit } }
        set { self.shared.state.withLock { $0.onExit = newValue } }
    }

    func withState<Result: Sendable>(_ body: (inout sending State) -> sending Result) -> Result {
        self.shared.state.withLock(body)
    }

    /// Performs a call and hands its outcome to `completion`, exactly once, on another thread. Never blocks.
    public func run(_ call: AgentCall, completion: @escaping @Sendable (AgentOutcome) -> Void) {
        let pending = Pending(call: call, cancel: CancelSignal(), completion: completion)
        let key = ExitWatcher.Key(group: call.group, resource: call.resource.name)
        let (refused, begin) = self.withState { state -> ([Pending], Bool) in
            if state.sealed[call.group] != nil { return ([pending], false) }
            var lane = state.lanes[key] ?? Lane()
            var dropped: [Pending] = []
            if call.action == .stop {
                if let running = lane.running, running.call.action != .stop { running.cancel.cancel() }
                dropped = lane.waiting.filter { $0.call.action != .stop }
                lane.waiting.removeAll { $0.call.action != .stop }
            }
            let begin = lane.running == nil
            if begin { lane.running = pending } else { lane.waiting.append(pending) }
            state.lanes[key] = lane
            return (dropped, begin)
        }
        if call.action == .stop { self.wakeCancelled() }
        if begin { SystemThread.demand("agent") { self.work(pending, key) } }
        guard !refused.isEmpty else { return }
        SystemThread.demand("agent") {
            for pending in refused {
                pending.completion(
                    .failed(reason: "cancelled: the resource is being stopped or its group killed", recovery: .soft))
            }
        }
    }

    /// Gives a call up: its processes are killed and its outcome is a failure. Unknown numbers are ignored.
    public func cancel(_ id: UInt64) {
        let waiting = self.withState { state -> Pending? in
            for key in state.lanes.keys {
                if let running = state.lanes[key]?.running, running.call.id == id {
                    running.cancel.cancel()
                    self.wakeCancelled()
                    return nil
                }
                if let position = state.lanes[key]?.waiting.firstIndex(where: { $0.call.id == id }) {
                    return state.lanes[key]?.waiting.remove(at: position)
                }
            }
            return nil
        }
        if let waiting {
            SystemThread.demand("agent") {
                waiting.completion(.failed(reason: "cancelled before it began", recovery: .soft))
            }
        }
    }

    /// Takes over a service that an earlier daemon started; false when that very process is gone. (Rule L10)
    @discardableResult
    public func watchExisting(
        group: GroupName, resource: ResourceName, epoch: Epoch, pid: Int32, startTime: UInt64
    ) -> Bool {
        let descriptor = holdfast_pidfd_open(pid)
        guard descriptor >= 0 else { return false }
        // Asked after the descriptor is open: from here on the pid cannot pass to another process unnoticed.
        guard ProcessIdentity(pid: pid, startTime: startTime).isAlive else {
            close(descriptor)
            return false
        }
        self.logs.start()
        self.watcher.watch(
            ExitWatcher.Key(group: group, resource: resource), epoch: epoch, descriptor: descriptor)
        return true
    }

    /// Keeps the addresses that an earlier daemon put up for a group. (Rule L10)
    public func keepAddresses(of group: GroupName) {
        for holding in self.records.holdings(.addresses, of: group) {
            guard holding.words.count >= 2, let address = InterfaceAddress(holding.words[0]) else { continue }
            let key = ExitWatcher.Key(group: group, resource: ResourceName(holding.resource))
            self.addresses.hold(key, address, on: holding.words[1])
        }
    }

    private func work(_ first: Pending, _ key: ExitWatcher.Key) {
        self.environment.threadSetup()
        var next: Pending? = first
        while let pending = next {
            let outcome = self.perform(pending)
            next = self.withState { state -> Pending? in
                guard var lane = state.lanes[key] else { return nil }
                lane.running = lane.waiting.isEmpty ? nil : lane.waiting.removeFirst()
                state.lanes[key] = lane.running == nil ? nil : lane
                if lane.running == nil { for waiter in state.killers[key.group] ?? [] { waiter.signal() } }
                return lane.running
            }
            pending.completion(outcome)
        }
    }

    private func perform(_ pending: Pending) -> AgentOutcome {
        let call = pending.call
        let gate = self.gate(for: call.action)
        let ticket = gate?.enter { pending.cancel.isCancelled }
        defer { if let ticket { gate?.leave(ticket) } }
        let sealed = self.withState { $0.sealed[call.group] != nil }
        if pending.cancel.isCancelled || sealed {
            return .failed(reason: "cancelled before it began", recovery: .soft)
        }
        return self.perform(call, cancel: pending.cancel)
    }

    /// Runs an agent on this thread.
    func perform(_ call: AgentCall, cancel: CancelSignal, isAfterKill: Bool = false) -> AgentOutcome {
        let told: AgentCall
        switch ParameterFiles.resolved(call) {
        case .success(let resolved): told = resolved
        case .failure(let missing):
            // What it is told is needed to start it; to end it, it is not.
            guard call.action == .start else {
                told = missing.without
                break
            }
            return .failed(reason: missing.reason, recovery: .hard)
        }
        let context = CallContext(
            call: told, environment: self.environment, records: self.records, watcher: self.watcher,
            addresses: self.addresses, spawner: self.spawner, logs: self.logs, cancel: cancel,
            deadline: self.environment.clock() + call.timeout,
            isAfterKill: isAfterKill)
        return self.agent(call.resource).run(context).asOneLine
    }

    private func gate(for action: AgentAction) -> CallGate? {
        switch action {
        case .start: self.starts
        case .monitor, .probe: self.checks
        case .stop: nil
        }
    }

    /// Calls that wait for their turn look whether they were cancelled.
    func wakeCancelled() {
        self.starts.wakeAll()
        self.checks.wakeAll()
    }

    private func agent(_ resource: ResourcePolicy) -> any ResourceAgent {
        switch resource.kind {
        case .exec: ExecAgent()
        case .address: AddressAgent()
        case .filesystem: FilesystemAgent()
        case .volume: VolumeAgent()
        case .ocf(let provider, let type): OCFAgent(provider: provider, type: type)
        case .unknown: UnknownAgent(name: resource.agent)
        }
    }
}
