import Basis
import Foundation
import Host
import Synchronization
import Testing

@testable import Agents
@testable import Resources

/// Counts its pats.
private final class CountingWatchdog: Watchdog, Sendable {
    let pats = Mutex(0)
    let timeout = Span.seconds(1)
    func pat() { self.pats.withLock { $0 += 1 } }
    func disarm() {}
    var count: Int { self.pats.withLock { $0 } }
}

/// A guard that is stepped by hand, at times of the test's choice.
private final class SteppedGuard {
    let lease: LeasePage
    let watchdog = CountingWatchdog()
    let lines = Mutex<[String]>([])
    var loop: GuardLoop

    /// With a hardware clock that shows `hardwareSeconds`, in a file that a test may change.
    init(_ bench: Workbench, hardwareSeconds: Int? = nil) throws {
        if let hardwareSeconds {
            try "\(hardwareSeconds)".write(toFile: bench.directory + "/clock", atomically: false, encoding: .utf8)
        }
        let lease = try LeasePage(path: bench.directory + "/lease")
        self.lease = lease
        let said = Said()
        self.said = said
        self.loop = GuardLoop(
            runDirectory: bench.directory, cgroupRoot: bench.environment.cgroupRoot, lease: lease,
            watchdog: self.watchdog, hardwareClock: bench.directory + "/clock", log: { said.add($1) })
    }

    final class Said: Sendable {
        private let lines = Mutex<[String]>([])
        func add(_ line: String) { self.lines.withLock { $0.append(line) } }
        var text: String { self.lines.withLock { $0.joined(separator: "\n") } }
    }
    let said: Said

    func setLease(end: UInt64, grace: Span = .seconds(2)) {
        self.lease.publish(end: Tick(nanoseconds: end), self.lease.incarnation, grace: grace)
    }

    /// A renewal was answered that was sent then; the lease ends when it did.
    func renewed(sentAt: UInt64) {
        self.lease.publish(
            end: self.lease.end, self.lease.incarnation, grace: self.lease.grace, sentAt: Tick(nanoseconds: sentAt))
    }
}

@Suite(.enabled(if: RealMachine.isAvailable)) struct `The guard` {
    /// It ends by itself some minutes after a run of the tests that was broken off.
    private static let tree = """
        trap '' TERM; i=0; while [ $i -lt 6 ]; do (trap '' TERM; n=0; while [ $n -lt 20000 ]; do sleep 0.01 & sleep 0.01; \
        n=$((n+1)); done) & i=$((i+1)); done; setsid sleep 1000 & wait
        """

    @Test func `while the lease is valid it only pats the watchdog`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000"])
        #expect(await bench.call(.start, service) == .success)
        let guardian = try SteppedGuard(bench)
        guardian.setLease(end: 2_000_000_000)
        for time in stride(from: UInt64(1_000_000_000), to: 2_000_000_000, by: 100_000_000) {
            _ = guardian.loop.look(at: Tick(nanoseconds: time))
            #expect(guardian.lease.guardSeen.nanoseconds == time)
        }
        #expect(guardian.loop.look(at: Tick(nanoseconds: 1_999_000_000)) == .milliseconds(1))
        #expect(guardian.loop.phase == .leased && guardian.watchdog.count == 11)
        #expect(!guardian.loop.mayLeave(at: Tick(nanoseconds: 1_999_000_000)))
        #expect(await bench.call(.probe, service) == .success)
    }

    @Test func `a watchdog slower than the grace is last patted so early that a reset comes in time (rule L12)`() throws
    {
        let guardian = try SteppedGuard(try Workbench())
        guardian.setLease(end: 2_000_000_000, grace: .milliseconds(750))
        _ = guardian.loop.look(at: Tick(nanoseconds: 1_640_000_000))
        #expect(guardian.watchdog.count == 1)
        // From here on 1 s of timeout and 0.1 s for the reset would end after 2.75 s.
        _ = guardian.loop.look(at: Tick(nanoseconds: 1_650_000_000))
        #expect(guardian.watchdog.count == 1)
        guardian.setLease(end: 3_000_000_000, grace: .milliseconds(750))
        _ = guardian.loop.look(at: Tick(nanoseconds: 1_660_000_000))
        #expect(guardian.watchdog.count == 2)
    }

    @Test func `at the end of the lease a tree that keeps forking dies, and only then is the watchdog patted`()
        async throws
    {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": Self.tree])
        #expect(await bench.call(.start, service) == .success)
        let guardian = try SteppedGuard(bench)
        guardian.setLease(end: 1_000_000_000)
        #expect(!guardian.loop.mayLeave(at: Tick(nanoseconds: 1_000_000_000)))
        var now: UInt64 = 1_000_000_000
        _ = guardian.loop.look(at: Tick(nanoseconds: now))
        while guardian.loop.phase == .killing {
            #expect(guardian.watchdog.count == 0)
            now += 2_000_000
            _ = guardian.loop.look(at: Tick(nanoseconds: now))
            await Task.yield()
        }
        #expect(try !bench.cgroup(service).isPopulated())
        #expect(guardian.watchdog.count == 1)
        #expect(guardian.loop.mayLeave(at: Tick(nanoseconds: now)))
        #expect(guardian.said.text.contains("the lease ended 0.000s ago"), "\(guardian.said.text)")
        #expect(guardian.said.text.contains("everything is dead"))
    }

    @Test func `a service whose main thread has ended is killed at the end of the lease, and by a stop (rule L12)`()
        async throws
    {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": try bench.headlessProgram()])
        for isStop in [false, true] {
            #expect(await bench.call(.start, service) == .success)
            let record = try #require(bench.record(service))
            try await bench.awaitHeadless(record.pid)
            #expect(record.identity.isAlive)
            #expect(await bench.call(.probe, service) == .success)
            #expect(await bench.call(.monitor, service) == .success)
            if isStop {
                #expect(await bench.call(.stop, service, timeout: .seconds(5)) == .success)
            } else {
                let guardian = try SteppedGuard(bench)
                guardian.setLease(end: 1_000_000_000)
                var now: UInt64 = 1_000_000_000
                repeat {
                    _ = guardian.loop.look(at: Tick(nanoseconds: now))
                    now += 2_000_000
                    await Task.yield()
                } while guardian.loop.phase == .killing && now < 100_000_000_000
            }
            #expect(try !bench.cgroup(service).isPopulated())
            #expect(!record.identity.isAlive)
        }
    }

    @Test func `the last words before a reset are critical, so that the journal writes them down at once`() throws {
        let bench = try Workbench()
        try Files.replace(bench.directory + "/undying/groups/cgroup.events", "populated 1\n")
        let lease = try LeasePage(path: bench.directory + "/lease")
        let said = SteppedGuard.Said()
        var loop = GuardLoop(
            runDirectory: bench.directory, cgroupRoot: bench.directory + "/undying", lease: lease, watchdog: nil,
            hardwareClock: bench.directory + "/clock",
            log: { said.add(GuardLog.line($0, $1, at: .zero, isJournal: true)) })
        _ = loop.look(at: Tick(nanoseconds: 1_000_000_000))
        #expect(said.text.hasPrefix("<2>guard: there is no lease: kills processes"))
        #expect(GuardLog.line(.critical, "kills", at: .zero, isJournal: false) == "[\(Tick.zero)] guard: kills\n")
    }

    @Test func `what does not die is told through the lease page, until it does (rule L12)`() throws {
        let bench = try Workbench()
        // A cgroup whose processes no kill reaches.
        let events = bench.directory + "/undying/groups/cgroup.events"
        try Files.replace(events, "populated 1\n")
        let lease = try LeasePage(path: bench.directory + "/lease")
        func undead() -> UInt64 { lease.undeadSince.nanoseconds }
        var loop = GuardLoop(
            runDirectory: bench.directory, cgroupRoot: bench.directory + "/undying", lease: lease, watchdog: nil,
            hardwareClock: bench.directory + "/clock", log: { _, _ in })
        for milliseconds: UInt64 in [1000, 1500, 1999] {
            _ = loop.look(at: Tick(nanoseconds: milliseconds * 1_000_000))
        }
        #expect(loop.phase == .killing && undead() == 0)
        _ = loop.look(at: Tick(nanoseconds: 2_000_000_000))
        #expect(undead() == 1_000_000_000)
        try Files.replace(events, "populated 0\n")
        _ = loop.look(at: Tick(nanoseconds: 2_100_000_000))
        #expect(loop.phase == .idle && undead() == 0)
    }

    @Test func `while the clocks have parted all stands still, until a majority answers (rule L20)`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000"])
        #expect(await bench.call(.start, service) == .success)
        let guardian = try SteppedGuard(bench, hardwareSeconds: 1000)
        func isFrozen() -> Bool {
            Files.text(bench.environment.cgroupRoot + "/groups/cgroup.freeze")?.first == "1"
        }
        guardian.setLease(end: 9_000_000_000)
        _ = guardian.loop.look(at: Tick(nanoseconds: 1_000_000_000))
        #expect(!isFrozen())
        try "1006".write(toFile: bench.directory + "/clock", atomically: false, encoding: .utf8)
        _ = guardian.loop.look(at: Tick(nanoseconds: 1_300_000_000))
        #expect(isFrozen() && guardian.loop.phase == .leased)
        #expect(guardian.lease.usableEnd == .zero)
        // A renewal that was sent before does not count.
        guardian.renewed(sentAt: 1_200_000_000)
        _ = guardian.loop.look(at: Tick(nanoseconds: 1_320_000_000))
        #expect(isFrozen())
        guardian.renewed(sentAt: 1_340_000_000)
        _ = guardian.loop.look(at: Tick(nanoseconds: 1_360_000_000))
        #expect(!isFrozen())
        #expect(await bench.call(.probe, service) == .success)
        // Nobody answers: it ends at the grace, long before the lease would.
        try "1001".write(toFile: bench.directory + "/clock", atomically: false, encoding: .utf8)
        _ = guardian.loop.look(at: Tick(nanoseconds: 1_700_000_000))
        #expect(isFrozen())
        var now: UInt64 = 3_700_000_000
        try "1003".write(toFile: bench.directory + "/clock", atomically: false, encoding: .utf8)
        _ = guardian.loop.look(at: Tick(nanoseconds: now))
        while guardian.loop.phase == .killing {
            now += 2_000_000
            _ = guardian.loop.look(at: Tick(nanoseconds: now))
            await Task.yield()
        }
        #expect(try !bench.cgroup(service).isPopulated())
        #expect(!isFrozen())
    }

    @Test func `what does not die is looked at more and more seldom`() {
        let pauses = [0, 15, 100, 500, 1000, 60_000].map { GuardLoop.pause(killingFor: .milliseconds($0)) }
        #expect(pauses.map(\.milliseconds) == [2, 2, 10, 50, 100, 100])
    }

    @Test func `what starts after the end of the lease is killed too`() async throws {
        let bench = try Workbench()
        let guardian = try SteppedGuard(bench)
        guardian.setLease(end: 1_000_000_000)
        #expect(guardian.loop.look(at: Tick(nanoseconds: 2_000_000_000)) == .milliseconds(20))
        #expect(guardian.loop.phase == .idle && guardian.watchdog.count == 1)
        let service = bench.resource("db", "exec", ["command": "sleep 1000"])
        #expect(await bench.call(.start, service) == .success)
        repeat {
            _ = guardian.loop.look(at: Tick(nanoseconds: 2_100_000_000))
        } while guardian.loop.phase == .killing
        #expect(try !bench.cgroup(service).isPopulated())
    }

    @Test func `volume servers are not groups and live on`() async throws {
        let bench = try Workbench()
        let server = ControlGroup(bench.environment.cgroupRoot).child("volumes").child("pgdata")
        try server.create()
        let process = try Spawn.start(
            SpawnRequest(
                arguments: ["/bin/sleep", "1000"], environment: CallContext.toolEnvironment, cgroup: server))
        let service = bench.resource("db", "exec", ["command": "sleep 1000"])
        #expect(await bench.call(.start, service) == .success)
        let guardian = try SteppedGuard(bench)
        repeat {
            _ = guardian.loop.look(at: Tick(nanoseconds: 5_000_000_000))
        } while guardian.loop.phase == .killing
        #expect(try !bench.cgroup(service).isPopulated())
        #expect(server.processes() == [process.pid])
        kill(process.pid, SIGKILL)
        close(process.descriptor)
    }

    @Test func `at the end of the lease the addresses go`() async throws {
        let network = try TestNetwork()
        // As the lease page says from its end on.
        let bench = try Workbench(threadSetup: network.setup, mayHoldAddresses: { false })
        let address = bench.resource("ip", "address", ["address": "10.9.0.100/24"])
        #expect(await bench.call(.start, address) == .success)
        let outcome = try await bench.onWorker { () -> (Bool, Bool) in
            network.setup()
            guard let guardian = try? SteppedGuard(bench) else { return (false, false) }
            guardian.setLease(end: 1_000_000_000)
            _ = guardian.loop.look(at: Tick(nanoseconds: 999_000_000))
            let kept = InterfaceAddress("10.9.0.100/24")?.interfaces == ["left"]
            _ = guardian.loop.look(at: Tick(nanoseconds: 1_000_000_000))
            return (kept, guardian.loop.phase == .idle && guardian.watchdog.count == 2)
        }
        #expect(outcome.0 && outcome.1)
        #expect(try !network.addresses().contains("10.9.0.100"))
    }
}
