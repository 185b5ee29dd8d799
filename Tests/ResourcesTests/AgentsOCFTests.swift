import Basis
import Foundation
import Host
import Testing

@testable import Agents
@testable import Resources

@Suite(.serialized, .enabled(if: RealMachine.isAvailable)) struct `The OCF agent` {
    private static let installed = Files.exists("/usr/lib/ocf/resource.d/heartbeat/Dummy")

    @Test(.enabled(if: Self.installed))
    func `the stock Dummy starts, is found running, and stops`() async throws {
        let bench = try Workbench()
        let dummy = bench.resource("web", "ocf:heartbeat:Dummy", ["state": bench.directory + "/dummy.state"])
        #expect(await bench.call(.probe, dummy) == .notRunning)
        #expect(await bench.call(.monitor, dummy) == .notRunning)
        #expect(await bench.call(.start, dummy) == .success)
        #expect(await bench.call(.monitor, dummy) == .success)
        #expect(await bench.call(.stop, dummy) == .success)
        #expect(await bench.call(.stop, dummy) == .success)
    }

    @Test(.enabled(if: Self.installed))
    func `the stock IPaddr2 holds an address, which a kill of the group drops`() async throws {
        let network = try TestNetwork()
        let bench = try Workbench(threadSetup: network.setup)
        let address = bench.resource(
            "ip", "ocf:heartbeat:IPaddr2", ["ip": "10.9.0.55", "cidr_netmask": "24", "nic": "left"])
        #expect(await bench.call(.probe, address) == .notRunning)
        #expect(await bench.call(.start, address) == .success)
        #expect(try network.addresses().contains("10.9.0.55/24"))
        #expect(await bench.call(.monitor, address) == .success)
        #expect(await bench.call(.stop, address) == .success)
        #expect(try !network.addresses().contains("10.9.0.55/24"))
        #expect(await bench.call(.start, address) == .success)
        #expect(bench.runner.killGroup(GroupName("orders"), deadline: bench.environment.clock() + .seconds(5)))
        #expect(try !network.addresses().contains("10.9.0.55/24"))
    }

    @Test(.enabled(if: Self.installed && Files.exists("/usr/sbin/modprobe"), "the stock agent needs modprobe (kmod)"))
    func `the stock Filesystem mounts and unmounts`() async throws {
        let bench = try Workbench()
        let disk = try TestDisk(bench)
        try Workbench.tool("mkfs.ext4", "-q", disk.path)
        let mount = bench.directory + "/mnt"
        mkdir(mount, 0o755)
        let filesystem = bench.resource(
            "fs", "ocf:heartbeat:Filesystem", ["device": disk.path, "directory": mount, "fstype": "ext4"])
        #expect(await bench.call(.probe, filesystem) == .notRunning)
        #expect(await bench.call(.start, filesystem) == .success)
        #expect(await bench.call(.monitor, filesystem) == .success)
        #expect(bench.runner.facts(for: GroupName("orders")).mounts == [mount])
        #expect(await bench.call(.stop, filesystem) == .success)
        #expect(MountTable().mounted(at: mount).isEmpty)
    }

    /// An OCF root with one agent in it.
    private func bench(agent script: String) throws -> Workbench {
        let bench = try Workbench(ocf: true)
        let directory = bench.environment.ocfRoot + "/resource.d/test"
        try Files.makeDirectory(directory)
        try Files.replace(directory + "/agent", "#!/bin/sh\n" + script)
        chmod(directory + "/agent", 0o755)
        return bench
    }

    @Test func `two groups may have a resource of one name, and stop only their own`() async throws {
        let bench = try self.bench(
            agent: """
                pid=$OCF_RESKEY_run/$OCF_RESOURCE_INSTANCE.pid
                case $1 in
                start) [ -e $pid ] || { setsid sleep 1000 >/dev/null 2>&1 & echo $! >$pid; } ;;
                stop) [ -e $pid ] && kill $(cat $pid) && rm $pid ;;
                monitor) [ -e $pid ] && kill -0 $(cat $pid) || exit 7 ;;
                esac
                exit 0

                """)
        let resource = bench.resource("app", "ocf:test:agent", ["run": bench.directory])
        #expect(await bench.call(.start, resource, group: "col-e") == .success)
        #expect(await bench.call(.probe, resource, group: "col-f") == .notRunning)
        #expect(await bench.call(.start, resource, group: "col-f") == .success)
        #expect(bench.cgroup(resource, group: "col-f").processes().count == 1)
        #expect(await bench.call(.stop, resource, group: "col-f") == .success)
        #expect(await bench.call(.monitor, resource, group: "col-e") == .success)
        #expect(
            OCFAgent.instance(GroupName("a-b"), ResourceName("c"))
                != OCFAgent.instance(GroupName("a"), ResourceName("b-c")))
    }

    @Test func `an agent cannot rewrite the screen of who looks`() async throws {
        let bench = try self.bench(
            agent: "printf 'ocf-exit-reason:\\033[2Jall is well\\r\\n' >&2; exit 1\n")
        let resource = bench.resource("web", "ocf:test:agent", [:])
        #expect(
            await bench.call(.start, resource)
                == .failed(reason: "agent start: \\x1b[2Jall is well", recovery: .soft))
    }

    @Test func `exit codes say where the action may be tried again`() async throws {
        let bench = try self.bench(agent: "echo noise >&2\necho 'ocf-exit-reason:told so' >&2\nexit $OCF_RESKEY_code\n")
        let classes: [Int: AgentOutcome.Recovery] = [
            1: .soft, 2: .hard, 3: .hard, 4: .hard, 5: .hard, 6: .hard, 7: .soft, 9: .soft, 77: .soft,
        ]
        for (code, recovery) in classes.sorted(by: { $0.key < $1.key }) {
            let resource = bench.resource("web", "ocf:test:agent", ["code": "\(code)"])
            #expect(
                await bench.call(.start, resource)
                    == .failed(reason: "agent start: told so", recovery: recovery), "\(code)")
        }
        let monitored: [Int: AgentOutcome] = [
            0: .success, 7: .notRunning, 8: .success, 190: .degraded(reason: "agent monitor: told so"), 3: .success,
        ]
        for (code, outcome) in monitored.sorted(by: { $0.key < $1.key }) {
            let resource = bench.resource("web", "ocf:test:agent", ["code": "\(code)"])
            #expect(await bench.call(.monitor, resource) == outcome, "\(code)")
        }
        let missing = bench.resource("web", "ocf:test:agent", ["code": "5"])
        #expect(await bench.call(.probe, missing) == .notRunning)
    }

    @Test func `an agent is told what Pacemaker tells it`() async throws {
        let bench = try self.bench(agent: "env > $OCF_RESKEY_file\n")
        let file = bench.directory + "/env"
        let resource = bench.resource("web", "ocf:test:agent", ["file": file, "checkLevel": "10"])
        #expect(await bench.call(.monitor, resource, timeout: .seconds(20)) == .success)
        let seen = try #require(Files.text(file)).split(separator: "\n")
        for line in [
            "OCF_CHECK_LEVEL=10", "OCF_RESKEY_CRM_meta_timeout=20000", "OCF_RESKEY_CRM_meta_interval=5000",
            "OCF_RESOURCE_INSTANCE=orders_web", "OCF_RESOURCE_TYPE=agent", "OCF_RESOURCE_PROVIDER=test", "LC_ALL=C",
            "OCF_ROOT=\(bench.environment.ocfRoot)", "OCF_RA_VERSION_MAJOR=1",
        ] {
            #expect(seen.contains(Substring(line)), "\(line) is missing")
        }
        #expect(await bench.call(.probe, resource) == .success)
        #expect(Files.text(file)?.contains("CRM_meta_interval=0\n") == true)
    }

    @Test func `what a start leaves running is in the resource's cgroup, and gone after the stop`() async throws {
        let bench = try self.bench(
            agent: "case $1 in start) setsid sleep 1000 & ;; esac\nexit 0\n")
        let resource = bench.resource("web", "ocf:test:agent", [:])
        #expect(await bench.call(.start, resource) == .success)
        #expect(bench.cgroup(resource).processes().count == 1)
        #expect(bench.cgroup(resource).children.isEmpty)
        #expect(await bench.call(.stop, resource) == .success)
        #expect(try !bench.cgroup(resource).isPopulated())
    }

    @Test func `what a start leaves running, and its agent, write into the resource's log for as long as they live`()
        async throws
    {
        let bench = try self.bench(
            agent: """
                case $1 in start)
                    echo "INFO: all is well" >&2
                    (i=0; while true; do echo "line $i" || exit 1; i=$((i+1)); sleep 0.02; done) & ;;
                esac
                exit 0

                """)
        let resource = bench.resource("web", "ocf:test:agent", [:])
        #expect(await bench.call(.start, resource) == .success)
        let log = bench.directory + "/services/orders.web.log"
        while Files.text(log)?.contains("line 10\n") != true {
            let isAlive = try bench.cgroup(resource).isPopulated()
            #expect(isAlive, "it ended when its start did")
            guard isAlive else { return }
            await Task.yield()
        }
        #expect(Files.text(log)?.contains("INFO: all is well") == true)
        #expect(await bench.call(.stop, resource) == .success)
    }

    @Test func `the last lines of an agent that gives no reason are the reason`() async throws {
        let bench = try self.bench(agent: "echo one; echo cause >&2; echo three; echo exit >&2; exit 1\n")
        let resource = bench.resource("web", "ocf:test:agent", [:])
        #expect(
            await bench.call(.start, resource)
                == .failed(reason: "agent start: it failed (cause | three | exit)", recovery: .soft))
    }

    @Test func `an agent that hangs is killed with its children`() async throws {
        let bench = try self.bench(agent: "setsid sleep 1000 &\nsleep 1000\n")
        let resource = bench.resource("web", "ocf:test:agent", [:])
        #expect(await bench.call(.start, resource, timeout: .milliseconds(300)) == .timedOut)
        #expect(try !bench.cgroup(resource).isPopulated())
    }
}
