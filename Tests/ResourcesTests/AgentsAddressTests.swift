import Basis
import CLinux
import Foundation
import Host
import Synchronization
import Testing

@testable import Agents
@testable import Resources

/// A network namespace with two ends of a cable in it, gone when the test ends.
final class TestNetwork: Sendable {
    let name: String
    var setup: @Sendable () -> Void {
        // It holds this object, which takes the namespace along when it goes.
        {
            let path = "/run/netns/\(self.name)"
            precondition(holdfast_enter_network_namespace(path) == 0, "the namespace of the test is missing")
        }
    }

    init() throws {
        self.name = "hf\(getpid())-\(UUID().uuidString.prefix(6))"
        try Workbench.tool("ip", "netns", "add", self.name)
        try self.ip("link", "set", "lo", "up")
        try self.ip("link", "add", "left", "type", "veth", "peer", "name", "right")
        try self.ip("link", "set", "left", "up")
        try self.ip("link", "set", "right", "up")
        try self.ip("addr", "add", "10.9.0.1/24", "dev", "left")
        try self.ip("addr", "add", "fd09::1/64", "dev", "left", "nodad")
    }

    deinit { _ = try? Workbench.tool("ip", "netns", "del", self.name) }

    @discardableResult
    func ip(_ arguments: String...) throws -> String { try self.ip(arguments) }

    @discardableResult
    func ip(_ arguments: [String]) throws -> String { try Workbench.tool(["ip", "-n", self.name] + arguments) }

    func addresses() throws -> String { try self.ip("-o", "addr", "show") }
}

@Suite(.enabled(if: RealMachine.isAvailable)) struct `The address agent` {
    @Test func `an address that goes does not take the way to its subnet with it`() async throws {
        let network = try TestNetwork()
        let bench = try Workbench(threadSetup: network.setup)
        let address = bench.resource("ip", "address", ["address": "10.9.0.88/24"])
        #expect(await bench.call(.start, address) == .success)
        // As an agent does that gives the node another source address.
        try network.ip("route", "replace", "10.9.0.0/24", "dev", "left", "proto", "kernel", "src", "10.9.0.88")
        try network.ip("route", "add", "default", "via", "10.9.0.2", "src", "10.9.0.88")
        try network.ip("route", "add", "10.20.0.0/16", "via", "10.9.0.3", "src", "10.9.0.88", "metric", "7")
        #expect(bench.runner.killGroup(GroupName("orders"), deadline: bench.environment.clock() + .seconds(5)))
        let routes = try network.ip("route", "show")
        #expect(routes.contains("10.9.0.0/24 dev left proto kernel scope link src 10.9.0.1"), "\(routes)")
        #expect(routes.contains("default via 10.9.0.2 dev left"), "\(routes)")
        #expect(routes.contains("10.20.0.0/16 via 10.9.0.3 dev left metric 7"), "\(routes)")
        #expect(!routes.contains("src 10.9.0.88"), "\(routes)")
    }

    @Test(arguments: ["10.9.0.100/24", "fd09::100/64"])
    func `another machine with the address is told of, and no longer once it lets go`(_ cidr: String) async throws {
        let network = try TestNetwork()
        let other = try TestNetwork()
        try network.ip("link", "set", "right", "name", "far", "netns", other.name)
        try other.ip("link", "set", "far", "up")
        let bench = try Workbench(threadSetup: network.setup)
        let address = bench.resource("ip", "address", ["address": cidr])
        #expect(await bench.call(.start, address) == .success)
        #expect(await bench.call(.monitor, address) == .success)
        try other.ip(["addr", "add", cidr, "dev", "far"] + (cidr.contains(":") ? ["nodad"] : []))
        guard case .degraded(let reason) = await bench.call(.monitor, address) else {
            Issue.record("nobody noticed")
            return
        }
        let hardware = try other.ip("-o", "link", "show", "far")
        let mac = reason.split(separator: " ").first { $0.contains(":") && $0.hasSuffix(",") }.map {
            String($0.dropLast())
        }
        #expect(hardware.contains(mac ?? "no hardware address"), "\(reason)")
        try other.ip("addr", "del", cidr, "dev", "far")
        #expect(await bench.call(.monitor, address) == .success)
        #expect(await bench.call(.stop, address) == .success)
    }

    @Test(arguments: ["10.9.0.100/24", "fd09::100/64"])
    func `an address that another program takes away is back at once, and no failure of the group`(_ cidr: String)
        async throws
    {
        let network = try TestNetwork()
        let mayHold = Mutex(true)
        let bench = try Workbench(threadSetup: network.setup, mayHoldAddresses: { mayHold.withLock { $0 } })
        let address = bench.resource("ip", "address", ["address": cidr])
        #expect(await bench.call(.start, address) == .success)
        for _ in 0..<5 {
            try network.ip("addr", "del", cidr, "dev", "left")
            #expect(try await self.isThere(cidr, network))
        }
        // All of the node's own with it, as a manager of the network does that starts anew.
        // Not with `ip addr flush`, which goes on until nothing is left, and gives up where the address comes back each time.
        for line in try network.addresses().split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            if words[1] == "left" { try network.ip("addr", "del", words[3], "dev", "left") }
        }
        #expect(try await self.isThere(cidr, network))
        #expect(await bench.call(.monitor, address) == .success)
        // Without a lease it stays away, and after a stop.
        mayHold.withLock { $0 = false }
        try network.ip("addr", "del", cidr, "dev", "left")
        #expect(await bench.call(.monitor, address) == .notRunning)
        #expect(try !network.addresses().contains(cidr))
        mayHold.withLock { $0 = true }
        #expect(await bench.call(.monitor, address) == .success)
        #expect(await bench.call(.stop, address) == .success)
        #expect(try !network.addresses().contains(cidr))
    }

    /// Each look starts a program, so a thousand of them are seconds.
    private func isThere(_ cidr: String, _ network: TestNetwork) async throws -> Bool {
        for _ in 0..<1000 {
            if try network.addresses().contains(cidr) { return true }
            await Task.yield()
        }
        return false
    }

    @Test(arguments: ["10.9.0.100/24", "fd09::100/64"])
    func `an address is added where its subnet is, found, and removed`(_ cidr: String) async throws {
        let network = try TestNetwork()
        let bench = try Workbench(threadSetup: network.setup)
        let address = bench.resource("ip", "address", ["address": cidr])
        #expect(await bench.call(.probe, address) == .notRunning)
        #expect(await bench.call(.start, address) == .success)
        #expect(await bench.call(.start, address) == .success)
        #expect(try network.addresses().contains("left") && network.addresses().contains(cidr))
        #expect(Files.text(bench.directory + "/addresses/orders.ip")?.hasPrefix("\(cidr) left\n") == true)
        #expect(await bench.call(.monitor, address) == .success)
        try network.ip("link", "set", "right", "down")
        // The kernel tells the other end of the cable a moment later.
        var outcome = AgentOutcome.success
        while outcome == .success { outcome = await bench.call(.monitor, address) }
        guard case .failed(let reason, .hard) = outcome else {
            Issue.record("a link without carrier gave \(outcome)")
            return
        }
        #expect(reason.contains("carrier"))
        #expect(await bench.call(.stop, address) == .success)
        #expect(await bench.call(.stop, address) == .success)
        #expect(try !network.addresses().contains(cidr))
        #expect(Files.list(bench.directory + "/addresses").isEmpty)
    }

    @Test func `neighbours hear of the address at once`() async throws {
        let network = try TestNetwork()
        let bench = try Workbench(threadSetup: network.setup)
        let heard = try await bench.onWorker {
            network.setup()
            return ArpListener()
        }
        let address = bench.resource("ip", "address", ["address": "10.9.0.100/24", "interface": "left"])
        #expect(await bench.call(.start, address) == .success)
        #expect(heard.next() == [10, 9, 0, 100])
    }

    @Test func `mistakes are told with the place to correct`() async throws {
        let network = try TestNetwork()
        let bench = try Workbench(threadSetup: network.setup)
        let cases: [([String: String], AgentOutcome.Recovery, String)] = [
            (["address": "10.9.0.100"], .fatal, "prefix"), ([:], .fatal, "`address`"),
            (["address": "10.9.0.100/24", "interface": "none0"], .hard, "none0"),
            (["address": "192.168.77.1/24"], .soft, "`interface`"),
        ]
        for (parameters, recovery, text) in cases {
            guard
                case .failed(let reason, let class_) = await bench.call(
                    .start, bench.resource("ip", "address", parameters))
            else {
                Issue.record("\(parameters) was accepted")
                continue
            }
            #expect(class_ == recovery && reason.contains(text), "\(reason)")
        }
    }

    @Test func `killing the group drops its addresses and processes, and only its own`() async throws {
        let network = try TestNetwork()
        let bench = try Workbench(threadSetup: network.setup)
        let address = bench.resource("ip", "address", ["address": "10.9.0.100/24"])
        let other = bench.resource("ip", "address", ["address": "10.9.0.101/24"])
        let service = bench.resource("db", "exec", ["command": "trap '' TERM; while true; do sleep 1; done"])
        #expect(await bench.call(.start, address) == .success)
        #expect(await bench.call(.start, service) == .success)
        #expect(await bench.call(.start, other, group: "others") == .success)
        let group = GroupName("orders")
        let before = try await bench.onWorker {
            network.setup()
            return bench.runner.facts(for: group)
        }
        #expect(before.addresses == ["10.9.0.100/24 left"] && before.services.count == 1 && !before.isAbsent)
        #expect(bench.runner.groupsPresent() == [group, GroupName("others")])
        #expect(bench.runner.killGroup(group, deadline: bench.environment.clock() + .seconds(5)))
        let after = try await bench.onWorker {
            network.setup()
            return bench.runner.facts(for: group)
        }
        #expect(after.isAbsent)
        #expect(try !network.addresses().contains("10.9.0.100/24"))
        #expect(try network.addresses().contains("10.9.0.101/24"))
        #expect(bench.runner.groupsPresent() == [GroupName("others")])
    }

    @Test func `a group that is killed while it starts stays dead`() async throws {
        let bench = try Workbench()
        let service = bench.resource("db", "exec", ["command": "sleep 1000", "check": "false"])
        async let started = bench.call(.start, service)
        while try !bench.cgroup(service).isPopulated() { await Task.yield() }
        #expect(bench.runner.killGroup(GroupName("orders"), deadline: bench.environment.clock() + .seconds(5)))
        #expect(bench.runner.facts(for: GroupName("orders")).isAbsent)
        #expect(await started != .success)
    }
}

/// Hears the ARP of one namespace.
private struct ArpListener: Sendable {
    private let socket: Int32

    init() { self.socket = Glibc.socket(AF_PACKET, Int32(SOCK_DGRAM.rawValue), Int32(UInt16(0x0806).bigEndian)) }

    /// The sender's address in the next packet.
    func next() -> [UInt8] {
        var packet = [UInt8](repeating: 0, count: 128)
        let count = recv(self.socket, &packet, packet.count, 0)
        return count >= 28 ? Array(packet[14..<18]) : []
    }
}
