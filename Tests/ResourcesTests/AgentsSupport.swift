import Basis
import Foundation
import Host
import Synchronization
import Testing

@testable import Agents
@testable import Resources

/// Whether this machine lets the agents be tried for real; says so when it does not.
enum RealMachine {
    static let isAvailable: Bool = {
        guard geteuid() == 0 else { return skip("not root") }
        guard (try? ControlGroup.root(override: nil)) != nil else { return skip("no cgroup v2") }
        return true
    }()

    /// The `holdfast` that was built beside the tests.
    static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        .appendingPathComponent("holdfast").path

    /// Whether volumes can be attached: a part of the program is needed, which a build of single modules lacks.
    static var canAttachVolumes: Bool {
        guard self.isAvailable else { return false }
        return Files.exists(self.program) || self.skip("\(self.program) is not built")
    }

    private static func skip(_ reason: String) -> Bool {
        FileHandle.standardError.write(Data("SKIPPED: the agents' tests on the real machine: \(reason)\n".utf8))
        return false
    }
}

/// A run directory and a cgroup of a test's own, gone with everything in it when the test ends.
final class Workbench: Sendable {
    let directory: String
    let environment: AgentEnvironment
    let runner: AgentRunner
    let lines = Mutex<[String]>([])
    private let number = Mutex<UInt64>(0)
    let exits = ExitList()

    /// Unexpected exits, for waiting on.
    final class ExitList: Sendable {
        private let stream = AsyncStream<String>.makeStream()
        func add(_ text: String) { self.stream.continuation.yield(text) }
        func first() async -> String? {
            for await text in self.stream.stream { return text }
            return nil
        }
    }

    init(
        ocf: Bool = false, volumeDeadTime: Span = .seconds(30), threadSetup: @escaping @Sendable () -> Void = {},
        mayHoldAddresses: @escaping @Sendable () -> Bool = { true }
    ) throws {
        let unique = "hf-test-\(getpid())-\(UUID().uuidString.prefix(8))"
        self.directory = "/tmp/\(unique)"
        try Files.makeDirectory(self.directory)
        let root = try ControlGroup.root(override: nil).path + "-tests/\(unique)"
        var environment = AgentEnvironment(
            runDirectory: self.directory, cgroupRoot: root, nodeName: "tok-1", clusterName: "prod",
            ocfRoot: ocf ? "/tmp/\(unique)/ocf" : "/usr/lib/ocf", program: RealMachine.program,
            threadSetup: threadSetup, mayHoldAddresses: mayHoldAddresses)
        environment.volumeDeadTime = volumeDeadTime
        self.environment = environment
        self.runner = AgentRunner(environment: self.environment)
        let exits = self.exits
        self.runner.onExit = { group, resource, epoch, reason in exits.add("\(group)/\(resource)@\(epoch): \(reason)") }
    }

    deinit {
        let root = ControlGroup(self.environment.cgroupRoot)
        _ = root.killAll(until: self.environment.clock() + .seconds(5), clock: self.environment.clock)
        root.remove()
        try? FileManager.default.removeItem(atPath: self.directory)
    }

    /// Performs one call and waits for its outcome.
    @discardableResult
    func call(
        _ action: AgentAction, _ resource: ResourcePolicy, group: String = "orders", epoch: UInt64 = 7,
        timeout: Span = .seconds(30), isUnwritten: Bool = true
    ) async -> AgentOutcome {
        let id = self.number.withLock {
            $0 += 1
            return $0
        }
        var call = AgentCall(
            id: id, group: GroupName(group), epoch: Epoch(generation: 0, index: epoch), resource: resource,
            action: action, timeout: timeout)
        (call.mayFormat, call.mayRepair) = (isUnwritten, isUnwritten)
        return await withCheckedContinuation { continuation in
            self.runner.run(call) { outcome in
                if ProcessInfo.processInfo.environment["TRACE_AGENTS"] != nil {
                    let line = "\(action) \(group)/\(resource.name): \(outcome)\n"
                    FileHandle.standardError.write(Data(line.utf8))
                }
                continuation.resume(returning: outcome)
            }
        }
    }

    /// Runs something on a thread of its own, which may enter a namespace.
    func onWorker<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async throws -> Value {
        await withCheckedContinuation { continuation in
            SystemThread.demand("agent") { continuation.resume(returning: body()) }
        }
    }

    func record(_ resource: ResourcePolicy, group: String = "orders") -> ServiceRecord? {
        self.runner.records.service(GroupName(group), resource.name)
    }

    func cgroup(_ resource: ResourcePolicy, group: String = "orders") -> ControlGroup {
        self.environment.cgroup(of: GroupName(group), resource.name)
    }

    func resource(_ name: String, _ agent: String, _ parameters: [String: String]) -> ResourcePolicy {
        ResourcePolicy(
            name: ResourceName(name), agent: agent,
            parameters: parameters.map { ResourcePolicy.Parameter($0.key, $0.value) })
    }

    /// A program, made by the C compiler, whose main thread ends at once while another thread goes on: legal, and shown
    /// as a zombie by the kernel. Its path.
    func headlessProgram() throws -> String {
        let path = self.directory + "/headless"
        try Files.replace(
            path + ".c",
            """
            #include <pthread.h>
            #include <unistd.h>
            static void *work(void *argument) { for (;;) sleep(1); return argument; }
            int main(void) {
                pthread_t thread;
                pthread_create(&thread, 0, work, 0);
                pthread_exit(0);
            }

            """)
        try Self.tool("cc", "-o", path, path + ".c", "-lpthread")
        return path
    }

    /// Waits until the main thread of a process has ended.
    func awaitHeadless(_ pid: Int32) async throws {
        while Files.text("/proc/\(pid)/stat")?.contains(") Z ") == false { await Task.yield() }
        #expect(Files.text("/proc/\(pid)/stat")?.contains(") Z ") == true, "the process is gone")
    }

    /// Runs a tool of the system and returns its output; a failure is the test's.
    @discardableResult
    static func tool(_ arguments: String...) throws -> String { try self.tool(arguments) }

    @discardableResult
    static func tool(_ arguments: [String]) throws -> String {
        var command = try RunningCommand(
            SpawnRequest(
                arguments: ["/bin/sh", "-c", "exec \"$@\"", "sh"] + arguments,
                environment: CallContext.toolEnvironment))
        let clock = AgentEnvironment(runDirectory: "", cgroupRoot: "", nodeName: "", clusterName: "").clock
        let ending = command.collect(until: clock() + .seconds(30), cancel: CancelSignal(), clock: clock)
        _ = command.close(clock: clock)
        let result = command.result
        if ending != .finished || result.end != .exited(0) {
            Issue.record("\(arguments.joined(separator: " ")) \(result.reason)")
        }
        return result.output
    }
}

extension GroupFacts {
    /// Nothing of the group is here.
    var isAbsent: Bool {
        self.processes.isEmpty && self.addresses.isEmpty && self.mounts.isEmpty && self.devices.isEmpty
            && self.unstopped.isEmpty && self.startsInProgress == 0
    }
}
