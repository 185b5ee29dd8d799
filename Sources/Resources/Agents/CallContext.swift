import Basis
import CLinux
import Glibc
import Host
import Resources

/// Why an agent stopped in the middle of a call.
enum CallInterruption: Error {
    case timedOut
    case cancelled
    case failed(String, AgentOutcome.Recovery)

    static func soft(_ reason: String) -> CallInterruption { .failed(reason, .soft) }
    static func hard(_ reason: String) -> CallInterruption { .failed(reason, .hard) }
    static func fatal(_ reason: String) -> CallInterruption { .failed(reason, .fatal) }
    /// A node without cgroups cannot run anything; everything else may pass.
    static func soft(_ error: AgentError) -> CallInterruption {
        if case .noControlGroups = error { return .failed(error.description, .hard) }
        return .failed(error.description, .soft)
    }
}

/// What a finished command said.
struct CommandResult {
    var end: ProcessEnd
    var output: String
    var errors: String

    var succeeded: Bool { self.end == .exited(0) }
    /// How it ended, with the last line of its errors, or of its output.
    var reason: String {
        ForeignText.lastLines(self.output + "\n" + self.errors).map { "\(self.end): \($0)" } ?? self.end.description
    }
}

/// One agent call while it runs: its parameters, its deadline, and the processes it may start.
struct CallContext: Sendable {
    let call: AgentCall
    let environment: AgentEnvironment
    let records: RunRecords
    let watcher: ExitWatcher
    let addresses: AddressKeeper
    let spawner: ServiceSpawner
    let logs: ServiceLogKeeper
    let cancel: CancelSignal
    let deadline: Tick
    /// It follows a kill. The guard may still be killing all that it finds in the groups' cgroups.
    var isAfterKill = false

    var key: ExitWatcher.Key { ExitWatcher.Key(group: self.call.group, resource: self.call.resource.name) }
    var cgroup: ControlGroup {
        self.isAfterKill
            ? self.environment.stopsCgroup(of: self.call.group, self.call.resource.name)
            : self.environment.cgroup(of: self.call.group, self.call.resource.name)
    }
    var label: String { "\(self.call.group)/\(self.call.resource.name)" }

    /// What the resource and its agent print.
    var ownLog: ServiceLog {
        ServiceLog(self.records.serviceLog(self.call.group, self.call.resource.name))
    }

    func log(_ text: String) { self.environment.log("\(self.label): \(text)") }
    func parameter(_ key: String) -> String? { self.call.resource.parameter(key) }

    /// A parameter that the agent cannot do without.
    func required(_ key: String) throws(CallInterruption) -> String {
        guard let value = self.call.resource.parameter(key), !value.isEmpty else {
            throw .fatal("the resource has no parameter `\(key)`: add it to cluster.yaml")
        }
        return value
    }

    /// Time until the deadline, less a reserve.
    func left(reserve: Span = .zero) -> Span {
        let left = self.deadline.since(self.environment.clock())
        return left > reserve ? Span(nanoseconds: left.nanoseconds - reserve.nanoseconds) : .zero
    }

    /// Throws when the call was cancelled or its time is over.
    func check() throws(CallInterruption) {
        if self.cancel.isCancelled { throw .cancelled }
        if self.environment.clock() >= self.deadline { throw .timedOut }
    }

    /// Waits until `until` (or the call's end), or until `descriptor` is readable: then true.
    @discardableResult
    func wait(until: Tick, for descriptor: Int32? = nil) throws(CallInterruption) -> Bool {
        while true {
            try self.check()
            let left = min(until, self.deadline).since(self.environment.clock())
            if until <= self.environment.clock() { return false }
            var requests = [pollfd(fd: self.cancel.descriptor, events: Int16(POLLIN), revents: 0)]
            if let descriptor { requests.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)) }
            _ = poll(&requests, nfds_t(requests.count), Int32(clamping: left.milliseconds + 1))
            if requests.count > 1, requests[1].revents != 0 { return true }
        }
    }

    func pause(_ span: Span) throws(CallInterruption) { try self.wait(until: self.environment.clock() + span) }

    /// Where a command's processes live.
    enum Place {
        /// A cgroup of this call alone, below the resource's; what is left in it is killed with the call.
        case call
        /// The same, but what the command leaves behind when it succeeds stays, in the resource's cgroup.
        case callKeepingChildren
        /// Outside, with the daemon: for tools that must work while the group is being killed.
        case daemon
    }

    /// Runs a command to its end. With `log` it writes there, and so does what it leaves behind, which would otherwise
    /// lose the other end of its output with the call. A command that outlives `timeout` (or the call) is killed with all
    /// it started, and the call ends as timed out.
    func run(
        _ arguments: [String], environment: [String: String] = CallContext.toolEnvironment, directory: String? = nil,
        user: UserIdentity? = nil, place: Place = .call, log: ServiceLog? = nil, timeout: Span? = nil
    ) throws(CallInterruption) -> CommandResult {
        try self.check()
        var own: ControlGroup?
        if place != .daemon {
            let cgroup = self.cgroup.child("call.\(self.call.id)")
            do { try cgroup.create() } catch { throw .soft(error) }
            own = cgroup
        }
        let until = min(self.deadline, timeout.map { self.environment.clock() + $0 } ?? self.deadline)
        let request = SpawnRequest(
            arguments: arguments, environment: environment, directory: directory, user: user, cgroup: own)
        var command: RunningCommand
        do { command = try RunningCommand(request, log: log) } catch { throw .soft(error) }
        let ending = command.collect(until: until, cancel: self.cancel, clock: self.environment.clock)
        let keep = place == .callKeepingChildren && ending == .finished
        let kept = keep && own.map { $0.move(to: self.cgroup) } ?? false
        if !kept, let own {
            _ = own.killAll(until: self.environment.clock() + .seconds(1), clock: self.environment.clock)
        }
        if let descriptor = command.close(clock: self.environment.clock) { self.watcher.abandon(descriptor) }
        own?.remove()
        switch ending {
        case .finished: return command.result
        case .cancelled: throw .cancelled
        case .timedOut:
            guard timeout != nil, self.environment.clock() < self.deadline else { throw .timedOut }
            return CommandResult(end: .killed(SIGKILL), output: "", errors: "did not end in time and was killed")
        }
    }

    /// The environment of the system's own tools.
    static let toolEnvironment = [
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
    ]
}

/// A started command whose output is collected.
struct RunningCommand {
    enum Ending {
        case finished
        case timedOut
        case cancelled
    }

    private let process: SpawnedProcess
    private var pipes: [Int32]
    private var collected: [[UInt8]] = [[], []]
    private var end: ProcessEnd?
    /// Where it writes, and how much was in it before; nil when it writes into the pipes.
    private var log: (file: ServiceLog, before: off_t)?
    /// Output beyond this is dropped from the front.
    private static let limit = 64 * 1024

    /// Starts a command that writes into a log.
    private init(_ request: SpawnRequest, into log: ServiceLog) throws(AgentError) {
        let descriptor = try log.open()
        defer { Glibc.close(descriptor) }
        var request = request
        request.output = descriptor
        request.error = descriptor
        self.pipes = []
        self.log = (log, log.sizeBytes)
        self.process = try Spawn.start(request)
    }

    init(_ request: SpawnRequest, log: ServiceLog? = nil) throws(AgentError) {
        if let log {
            self = try RunningCommand(request, into: log)
            return
        }
        var output: [Int32] = [-1, -1]
        var errors: [Int32] = [-1, -1]
        var code = holdfast_pipe(&output, 0)
        guard code == 0 else { throw .spawn(path: "a pipe", stage: "opening", code: code) }
        code = holdfast_pipe(&errors, 0)
        guard code == 0 else {
            for descriptor in output { Glibc.close(descriptor) }
            throw .spawn(path: "pipe", stage: "opening", code: code)
        }
        var request = request
        request.output = output[1]
        request.error = errors[1]
        self.pipes = [output[0], errors[0]]
        for descriptor in self.pipes { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
        defer {
            Glibc.close(output[1])
            Glibc.close(errors[1])
        }
        do {
            self.process = try Spawn.start(request)
        } catch {
            for descriptor in self.pipes { Glibc.close(descriptor) }
            throw error
        }
    }

    /// Reads until the process ended. Whoever it started may hold the pipes open for longer; nobody waits for that.
    mutating func collect(until: Tick, cancel: CancelSignal, clock: () -> Tick) -> Ending {
        while true {
            let left = until.since(clock())
            var requests = [
                pollfd(fd: self.process.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: cancel.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            requests += self.pipes.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            _ = poll(&requests, nfds_t(requests.count), left == .zero ? 0 : Int32(clamping: left.milliseconds + 1))
            let ended = requests[0].revents != 0
            self.drain()
            if ended, let end = ProcessEnd.of(self.process.descriptor) {
                self.end = end
                return .finished
            }
            if requests[1].revents != 0 { return .cancelled }
            if clock() >= until { return .timedOut }
        }
    }

    /// Closes everything. Kills what still runs and waits for it up to two seconds; then returns the descriptor of the
    /// process that does not die (it hangs in the kernel), for somebody else to reap.
    mutating func close(clock: () -> Tick) -> Int32? {
        for descriptor in self.pipes where descriptor >= 0 { Glibc.close(descriptor) }
        self.pipes = []
        let descriptor = self.process.descriptor
        if self.end == nil {
            _ = Glibc.kill(-self.process.pid, SIGKILL)
            _ = holdfast_pidfd_signal(descriptor, SIGKILL)
            let until = clock() + .seconds(2)
            while self.end == nil, clock() < until {
                var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                _ = poll(&request, 1, 100)
                self.end = ProcessEnd.of(descriptor)
            }
        }
        guard self.end != nil else { return descriptor }
        Glibc.close(descriptor)
        return nil
    }

    var result: CommandResult {
        if let log = self.log {
            let written = log.file.written(since: log.before, limit: Self.limit)
            return CommandResult(
                end: self.end ?? .unknown, output: "", errors: String(decoding: written, as: UTF8.self))
        }
        return CommandResult(
            end: self.end ?? .unknown, output: String(decoding: self.collected[0], as: UTF8.self),
            errors: String(decoding: self.collected[1], as: UTF8.self))
    }

    private mutating func drain() {
        var buffer = [UInt8](repeating: 0, count: 16384)
        for position in self.pipes.indices where self.pipes[position] >= 0 {
            // Bounded, or a command that never stops writing would hold us here beyond its time.
            for _ in 0..<16 {
                let count = read(self.pipes[position], &buffer, buffer.count)
                if count > 0 { self.collected[position].append(contentsOf: buffer[..<count]) }
                if count == 0 {
                    Glibc.close(self.pipes[position])
                    self.pipes[position] = -1
                }
                if count <= 0 { break }
            }
            let excess = self.collected[position].count - Self.limit
            if excess > 0 { self.collected[position].removeFirst(excess) }
        }
    }
}
