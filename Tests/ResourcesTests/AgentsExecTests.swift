import Basis
import Foundation
import Host
import Testing

@testable import Agents
@testable import Resources

@Suite(.enabled(if: RealMachine.isAvailable)) struct `The exec agent` {
    @Test func `a service starts in its own cgroup, is found running, and is gone after a stop`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000"])
        #expect(await bench.call(.probe, service) == .notRunning)
        #expect(await bench.call(.start, service) == .success)
        let record = try #require(bench.record(service))
        #expect(bench.cgroup(service).processes() == [record.pid])
        #expect(record.identity.isAlive)
        #expect(record.epoch == Epoch(generation: 0, index: 7))
        #expect(await bench.call(.probe, service) == .success)
        #expect(await bench.call(.monitor, service) == .success)
        #expect(await bench.call(.stop, service) == .success)
        #expect(!record.identity.isAlive)
        #expect(!bench.cgroup(service).exists)
        #expect(await bench.call(.probe, service) == .notRunning)
        #expect(await bench.call(.stop, service) == .success)
    }

    @Test func `kill -9 of the service is reported at once, with its epoch and the signal`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000"])
        #expect(await bench.call(.start, service) == .success)
        kill(try #require(bench.record(service)).pid, SIGKILL)
        #expect(await bench.exits.first() == "orders/db@7: was killed by SIGKILL")
        #expect(await bench.call(.monitor, service) == .notRunning)
    }

    @Test func `a service that ignores SIGTERM is killed with everything it started`() async throws {
        let bench = try Workbench()
        let service = bench.resource(
            "db", "exec",
            ["command": "trap '' TERM; (trap '' TERM; sleep 1000 & sleep 1000) & while true; do sleep 1; done"])
        #expect(await bench.call(.start, service) == .success)
        let cgroup = bench.cgroup(service)
        #expect(cgroup.processes().count >= 3)
        #expect(await bench.call(.stop, service, timeout: .seconds(4)) == .success)
        #expect(try !cgroup.isPopulated())
    }

    @Test func `a service whose check never succeeds times out and leaves nothing`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000", "check": "false"])
        #expect(await bench.call(.start, service, timeout: .milliseconds(300)) == .timedOut)
        #expect(try !bench.cgroup(service).isPopulated())
        #expect(bench.record(service) == nil)
    }

    @Test func `a log that grows is cut while its service runs, and its end is kept`() async throws {
        let bench = try Workbench()
        let service = bench.resource(
            "db", "exec", ["command": "head -c 7000000 /dev/zero | tr '\\0' x; echo; echo the end; exec sleep 1000"])
        #expect(await bench.call(.start, service) == .success)
        let log = ServiceLog(bench.directory + "/services/orders.db.log")
        let kept = log.path + ".1"
        let isKept = { [log, ServiceLog(kept)].contains { $0.lastLine == "the end" } }
        while !Files.exists(kept) || log.sizeBytes > ServiceLog.limitBytes || !isKept() { await Task.yield() }
        #expect(ServiceLog(kept).sizeBytes <= ServiceLog.keptBytes)
    }

    @Test func `a check that hangs during the start is given up and asked again`() async throws {
        let bench = try Workbench()
        let asked = bench.directory + "/asked"
        var service = bench.resource(
            "db", "exec",
            ["command": "sleep 1000", "check": "test -e \(asked) || { touch \(asked); exec sleep 1000; }"])
        service.monitorTimeout = .milliseconds(200)
        #expect(await bench.call(.start, service) == .success)
        #expect(Files.exists(asked))
    }

    @Test(.timeLimit(.minutes(5)))
    func `what a lost main process leaves behind does not get the whole time of a stop`() async throws {
        let bench = try Workbench()
        let service = bench.resource(
            "db", "exec", ["command": "(trap '' TERM; while true; do sleep 0.1; done) & while true; do sleep 1; done"])
        #expect(await bench.call(.start, service) == .success)
        kill(try #require(bench.record(service)).pid, SIGKILL)
        _ = await bench.exits.first()
        #expect(await bench.call(.stop, service, timeout: .seconds(3600)) == .success)
        #expect(try !bench.cgroup(service).isPopulated())
    }

    @Test func `a check that prints much, or controls, gives one short line`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000"])
        #expect(await bench.call(.start, service) == .success)
        for print in ["head -c 60000 /dev/zero | tr '\\0' x", "printf '\\033[2Jx\\r\\nlast\\033[H\\r\\n'"] {
            let checked = bench.resource("db", "exec", ["command": "sleep 1000", "check": "\(print); exit 1"])
            guard case .failed(let reason, _) = await bench.call(.monitor, checked) else {
                Issue.record("the check did not fail")
                return
            }
            #expect(reason.count < 300 && reason.unicodeScalars.allSatisfy { $0.value >= 32 }, "\(reason)")
            #expect(reason.hasSuffix("…") || reason.hasSuffix("last\\x1b[H"), "\(reason)")
        }
    }

    @Test func `a check that hangs is killed with what it started`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000"])
        #expect(await bench.call(.start, service) == .success)
        let hanging = bench.resource(
            "db", "exec", ["command": "sleep 1000", "check": "setsid sleep 1000 & sleep 1000"])
        #expect(await bench.call(.monitor, hanging, timeout: .milliseconds(200)) == .timedOut)
        let record = try #require(bench.record(service))
        #expect(bench.cgroup(service).processes() == [record.pid])
    }

    @Test func `a command that ends during its start fails with its code and its last words`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "echo no such table >&2; exit 3"])
        guard case .failed(let reason, .soft) = await bench.call(.start, service) else {
            Issue.record("the start did not fail softly")
            return
        }
        #expect(reason.contains("exit code 3") && reason.contains("no such table"), "\(reason)")
    }

    @Test func `a command that goes to the background is told to stay in the foreground`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000 & exit 0"])
        guard case .failed(let reason, .soft) = await bench.call(.start, service) else {
            Issue.record("the start did not fail softly")
            return
        }
        #expect(reason.contains("foreground"), "\(reason)")
        #expect(try !bench.cgroup(service).isPopulated())
    }

    @Test func `an instance of an older epoch is killed before a new one starts`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000"])
        #expect(await bench.call(.start, service, epoch: 7) == .success)
        let old = try #require(bench.record(service))
        let again = await bench.call(.start, service, epoch: 9)
        #expect(again == .success)
        let new = try #require(bench.record(service))
        #expect(!old.identity.isAlive && new.identity.isAlive)
        #expect(new.epoch == Epoch(generation: 0, index: 9))
    }

    @Test func `the service knows its epoch, group, resource and node, and nothing of the daemon`() async throws {
        let bench = try Workbench()
        let file = bench.directory + "/seen"
        setenv("HOLDFAST_SECRET", "x", 1)
        let service = bench.resource(
            "db", "exec",
            [
                "command":
                    "env > \(file); pwd >> \(file); ls -l /proc/self/fd >> \(file); id >> \(file); exec sleep 1000",
                "directory": "/usr", "environment.COLOUR": "blue",
            ])
        #expect(await bench.call(.start, service) == .success)
        // The service runs before it has written all of it.
        while Files.text(file)?.contains("uid=") != true { await Task.yield() }
        let seen = try #require(Files.text(file))
        for line in [
            "HOLDFAST_EPOCH=7", "HOLDFAST_GROUP=orders", "HOLDFAST_RESOURCE=db", "HOLDFAST_NODE=tok-1", "COLOUR=blue",
            "/usr",
        ] {
            #expect(seen.split(separator: "\n").contains(Substring(line)), "\(line) is missing in \(seen)")
        }
        #expect(!seen.contains("HOLDFAST_SECRET"))
    }

    @Test func `a service runs as its user with that user's groups`() async throws {
        let bench = try Workbench()
        chmod(bench.directory, 0o777)
        let file = bench.directory + "/who"
        let service = bench.resource(
            "db", "exec", ["command": "id -un > \(file); id -Gn >> \(file); exec sleep 1000", "user": "nobody"])
        #expect(await bench.call(.start, service) == .success)
        #expect(Files.text(file) == "nobody\nnogroup\n")
        let other = bench.resource("other", "exec", ["command": "sleep 1000", "user": "no-such-user"])
        guard case .failed(let reason, .hard) = await bench.call(.start, other) else {
            Issue.record("an unknown user was accepted")
            return
        }
        #expect(reason.contains("no-such-user"))
    }

    @Test func `a service survives the runner and is adopted by the next one`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000"])
        #expect(await bench.call(.start, service) == .success)
        let record = try #require(bench.record(service))
        let exits = Workbench.ExitList()
        let next = AgentRunner(environment: bench.environment)
        next.onExit = { _, _, epoch, _ in exits.add("\(epoch)") }
        let group = GroupName("orders")
        #expect(
            !next.watchExisting(
                group: group, resource: service.name, epoch: record.epoch, pid: record.pid,
                startTime: record.startTime + 1))
        #expect(
            next.watchExisting(
                group: group, resource: service.name, epoch: record.epoch, pid: record.pid,
                startTime: record.startTime))
        kill(record.pid, SIGKILL)
        #expect(await exits.first() == "7")
    }

    @Test func `a stop cancels the start that is still going on`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000", "check": "false"])
        async let started = bench.call(.start, service)
        while !bench.cgroup(service).exists { await Task.yield() }
        #expect(await bench.call(.stop, service) == .success)
        guard case .failed(let reason, .soft) = await started else {
            Issue.record("the start was not cancelled")
            return
        }
        #expect(reason.contains("cancelled"))
        #expect(try !bench.cgroup(service).isPopulated())
    }
}

@Suite(.enabled(if: RealMachine.isAvailable)) struct `Starting a process` {
    @Test func `no descriptor of the daemon reaches it, and none is left open here`() throws {
        let before = Files.list("/proc/self/fd").count
        let leaky = open("/dev/null", O_RDONLY)
        defer { close(leaky) }
        let seen = try Workbench.tool("sh", "-c", "ls /proc/$$/fd")
        #expect(seen.split(separator: "\n").filter { Int($0) ?? 99 > 2 && $0 != "10" }.isEmpty, "\(seen)")
        for _ in 0..<20 { try Workbench.tool("true") }
        // Other tests open and close files meanwhile; twenty leaks of any kind would still stand out.
        #expect(Files.list("/proc/self/fd").count < before + 60)
    }

    @Test func `a program that does not exist is named in the error`() {
        #expect(throws: AgentError.spawn(path: "/no/such", stage: "executing it", code: ENOENT)) {
            try Spawn.start(SpawnRequest(arguments: ["/no/such"]))
        }
    }

    @Test func `a directory that is not cgroup2 is refused with the remedy`() {
        #expect(throws: AgentError.noControlGroups(path: "/tmp/x")) { try ControlGroup.root(override: "/tmp/x") }
        #expect(AgentError.noControlGroups(path: "/tmp/x").description.contains("HOLDFAST_CGROUP"))
    }
}
