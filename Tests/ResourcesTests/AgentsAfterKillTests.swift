import Basis
import Foundation
import Host
import Testing

@testable import Agents
@testable import Resources

/// What an OCF agent keeps outside of its processes, for which a file stands here: a route, a firewall rule, a target of
/// another daemon.
@Suite(.serialized, .enabled(if: RealMachine.isAvailable)) struct `What a kill does not end` {
    private static let orders = GroupName("orders")
    private static let isRouteInstalled = Files.exists("/usr/lib/ocf/resource.d/heartbeat/Route")

    /// `kept` is the state; while `broken` is there, its stop ends with the code in it, and leaves the state alone.
    private static let agent = """
        #!/bin/sh
        kept=$OCF_RESKEY_run/$OCF_RESOURCE_INSTANCE.kept
        broken=$OCF_RESKEY_run/broken
        case $1 in
        start) touch $kept ;;
        stop)
            echo $OCF_RESOURCE_INSTANCE >>$OCF_RESKEY_run/stops
            cat /proc/self/cgroup >>$OCF_RESKEY_run/cgroups
            [ ! -e $broken ] || exit $(cat $broken)
            rm -f $kept ;;
        monitor) [ -e $kept ] || exit 7 ;;
        esac
        exit 0

        """

    private func bench() throws -> Workbench {
        let bench = try Workbench(ocf: true)
        let directory = bench.environment.ocfRoot + "/resource.d/test"
        try Files.makeDirectory(directory)
        try Files.replace(directory + "/agent", Self.agent)
        chmod(directory + "/agent", 0o755)
        return bench
    }

    private func resource(_ bench: Workbench, _ name: String = "route") -> ResourcePolicy {
        bench.resource(name, "ocf:test:agent", ["run": bench.directory])
    }

    private func isKept(_ bench: Workbench, _ name: String = "route") -> Bool {
        Files.exists("\(bench.directory)/orders_\(name).kept")
    }

    private func end(_ runner: AgentRunner) -> GroupRemains? {
        runner.endGroup(Self.orders, deadline: runner.environment.clock() + .seconds(5))
    }

    /// Tries until nothing is left.
    private func awaitEnd(_ runner: AgentRunner) async {
        while self.end(runner) != nil { await Task.yield() }
    }

    @Test func `after a kill everything that was started is stopped, the latest first (rule L12)`() async throws {
        let bench = try self.bench()
        for name in ["first", "second"] { #expect(await bench.call(.start, self.resource(bench, name)) == .success) }
        #expect(bench.runner.facts(for: Self.orders).unstopped == ["first", "second"])
        #expect(self.end(bench.runner) == nil)
        #expect(!self.isKept(bench, "first") && !self.isKept(bench, "second"))
        #expect(Files.text(bench.directory + "/stops") == "orders_second\norders_first\n")
        // The guard, which may still be at work, kills all that it finds where the groups are.
        let cgroups = try #require(Files.text(bench.directory + "/cgroups"))
        #expect(cgroups.contains("/stops/orders/first/") && !cgroups.contains("/groups/"), "\(cgroups)")
        #expect(bench.runner.facts(for: Self.orders).isAbsent)
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 8, 9, 190, 191, 193, 255])
    func `a stop that fails is not a stop, also after the kill (rule L11)`(_ code: Int) async throws {
        let bench = try self.bench()
        let resource = self.resource(bench)
        #expect(await bench.call(.start, resource) == .success)
        try Files.replace(bench.directory + "/broken", "\(code)\n")
        guard case .failed = await bench.call(.stop, resource) else {
            Issue.record("a stop that ended with \(code) counts as done")
            return
        }
        let remains = try #require(self.end(bench.runner))
        #expect(remains.kind == .unstopped && remains.reason.contains("could not stop route"), "\(remains)")
        #expect(self.isKept(bench) && !bench.runner.facts(for: Self.orders).isAbsent)
        unlink(bench.directory + "/broken")
        await self.awaitEnd(bench.runner)
        #expect(!self.isKept(bench))
    }

    @Test func `a stop that hangs blocks the group, until it ends or a person says that all is over`() async throws {
        let bench = try self.bench()
        var resource = self.resource(bench)
        resource.stopTimeout = .milliseconds(200)
        #expect(await bench.call(.start, resource) == .success)
        try Files.replace(bench.environment.ocfRoot + "/resource.d/test/agent", "#!/bin/sh\nsleep 1000\n")
        chmod(bench.environment.ocfRoot + "/resource.d/test/agent", 0o755)
        #expect(await bench.call(.stop, resource, timeout: .milliseconds(200)) == .timedOut)
        #expect(self.end(bench.runner)?.reason.contains("not done within") == true)
        bench.runner.forgetStarted(Self.orders)
        #expect(self.end(bench.runner) == nil)
    }

    @Test func `what the operator calls killable is ended by the kill, whatever its stop says`() async throws {
        let bench = try self.bench()
        var resource = self.resource(bench)
        resource.isDeclaredKillable = true
        #expect(await bench.call(.start, resource) == .success)
        try Files.replace(bench.directory + "/broken", "1\n")
        #expect(self.end(bench.runner) == nil)
        #expect(bench.runner.facts(for: Self.orders).isAbsent)
    }

    @Test func `a later daemon stops what an earlier one started (rule L10)`() async throws {
        let bench = try self.bench()
        #expect(await bench.call(.start, self.resource(bench)) == .success)
        let later = AgentRunner(environment: bench.environment)
        #expect(later.groupsPresent() == [Self.orders])
        #expect(self.end(later) == nil)
        #expect(!self.isKept(bench))
        #expect(later.groupsPresent().isEmpty)
    }

    /// As a full `/run` or a careless hand leaves one.
    @Test(arguments: ["started/orders.route.json", "addresses/orders.route", "mounts/orders.route"])
    func `a record that cannot be read is something that was not stopped, until a person says so`(_ name: String)
        async throws
    {
        let bench = try self.bench()
        #expect(await bench.call(.start, self.resource(bench)) == .success)
        let path = "\(bench.directory)/\(name)"
        try Files.makeDirectory(String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)]))
        try Files.replace(path, "")
        let later = AgentRunner(environment: bench.environment)
        #expect(later.groupsPresent() == [Self.orders])
        #expect(later.facts(for: Self.orders).unstopped.contains("route"))
        let remains = self.end(later)
        #expect(remains?.kind == .unstopped)
        #expect(remains?.reason.contains("\(path) cannot be read") == true)
        later.forgetStarted(Self.orders)
        #expect(self.end(later) == nil)
        #expect(later.groupsPresent().isEmpty)
    }

    @Test func `what never started needs no agent to be stopped, what did cannot be stopped without it`() async throws {
        let bench = try self.bench()
        let missing = bench.resource("none", "ocf:test:missing", [:])
        guard case .failed(_, .hard) = await bench.call(.start, missing) else {
            Issue.record("a missing agent started")
            return
        }
        #expect(await bench.call(.stop, missing) == .success)
        #expect(await bench.call(.start, self.resource(bench)) == .success)
        unlink(bench.environment.ocfRoot + "/resource.d/test/agent")
        guard case .failed = await bench.call(.stop, self.resource(bench)) else {
            Issue.record("stopped without its agent")
            return
        }
        #expect(self.end(bench.runner)?.kind == .unstopped)
    }

    @Test(.enabled(if: Self.isRouteInstalled))
    func `the stock Route leaves no route behind when its group is killed`() async throws {
        let network = try TestNetwork()
        let bench = try Workbench(threadSetup: network.setup)
        let route = bench.resource(
            "route", "ocf:heartbeat:Route", ["destination": "10.77.0.0/24", "device": "left", "gateway": "10.9.0.9"])
        #expect(await bench.call(.start, route) == .success)
        #expect(try network.ip("route", "show").contains("10.77.0.0/24"))
        #expect(self.end(bench.runner) == nil)
        #expect(try !network.ip("route", "show").contains("10.77.0.0/24"))
    }

    @Test func `each agent says how far a kill reaches`() {
        for agent in ["exec", "address", "filesystem", "volume", "ocf:heartbeat:IPaddr2", "ocf:heartbeat:pgsql"] {
            #expect(ResourcePolicy(name: ResourceName("r"), agent: agent).isKillable, "\(agent)")
        }
        for agent in ["ocf:heartbeat:Route", "ocf:heartbeat:iSCSITarget", "ocf:pacemaker:Dummy", "ocf:mine:IPaddr2"] {
            #expect(!ResourcePolicy(name: ResourceName("r"), agent: agent).isKillable, "\(agent)")
        }
    }
}
