import Basis
import Foundation
import Mirror
import Synchronization
import Testing
import VolumeServer

/// Two real servers: files, threads, TLS on loopback.
@Suite(.serialized) struct VolumeServerTests {
    private static let first = NodeID(1)
    private static let second = NodeID(2)

    private static func server(_ fixture: ServerFixture, _ node: NodeID) throws -> VolumeServer {
        try #require(fixture.servers[node])
    }

    private static func daemon(_ fixture: ServerFixture, _ node: NodeID) throws -> FakeDaemon {
        try #require(fixture.daemons[node])
    }

    /// Random writes of random sizes, all in flight at once, then a flush.
    private static func churn(_ client: DeviceClient, _ random: inout SeededRandom, count: Int) {
        var cookies: [UInt64] = []
        for number in 0..<count {
            let length = 512 * (1 + random.below(64))
            let offset = 512 * random.below((ServerFixture.size - length) / 512 + 1)
            if random.chance(perMille: 100) {
                cookies.append(client.zero(offset, length))
            } else {
                let isPlain = random.chance(perMille: 500)
                let bytes = (0..<Int(length)).map { _ in
                    isPlain ? UInt8(truncatingIfNeeded: number) : UInt8(truncatingIfNeeded: random.next())
                }
                cookies.append(client.write(offset, bytes, durable: random.chance(perMille: 100)))
            }
        }
        for cookie in cookies { #expect(client.wait(cookie) == 0) }
        #expect(client.wait(client.flush()) == 0)
    }

    private static func hasJoined(_ event: VolumeEvent) -> Bool {
        guard case .status(let status) = event else { return false }
        return status.role == .owner && status.peers.contains { $0.inSync && $0.resyncRemainingBytes == 0 }
    }

    private static func join(_ fixture: ServerFixture, _ owner: NodeID) throws {
        let daemon = try self.daemon(fixture, owner)
        daemon.forget()
        daemon.wait { $0.contains(where: Self.hasJoined) }
    }

    private static func close(_ fixture: ServerFixture, _ owner: NodeID) throws {
        let epoch = Epoch(generation: 0, index: fixture.log.state.withLock { $0.epoch })
        let daemon = try self.daemon(fixture, owner)
        daemon.send(.close(epoch: epoch))
        daemon.wait { $0.contains(.closed(epoch: epoch)) }
    }

    @Test func `writes wait for a lost replica until the set is without it, and resync makes the copies equal`() throws
    {
        let fixture = try ServerFixture()
        defer { fixture.end() }
        var random = SeededRandom(seed: 1)
        try fixture.open(Self.first, set: [Self.first])
        let client = DeviceClient(try Self.server(fixture, Self.first))
        let daemon = try Self.daemon(fixture, Self.first)
        Self.churn(client, &random, count: 50)
        try Self.join(fixture, Self.first)
        Self.churn(client, &random, count: 200)

        fixture.log.state.withLock { $0.isApplying = false }
        daemon.forget()
        fixture.relay.cut()
        let waiting = client.write(0, [UInt8](repeating: 7, count: 4096))
        var question: VolumeEvent?
        daemon.wait { events in
            question = events.first { if case .wantsLeave = $0 { true } else { false } }
            return question != nil
        }
        #expect(!client.isAnswered(waiting))
        fixture.log.state.withLock { $0.isApplying = true }
        #expect(client.wait(waiting) == 0)
        Self.churn(client, &random, count: 100)

        fixture.relay.heal()
        try Self.join(fixture, Self.first)
        Self.churn(client, &random, count: 100)
        try Self.close(fixture, Self.first)
        #expect(try fixture.contents(Self.first) == fixture.contents(Self.second))
    }

    @Test func `a replica whose machine was taken back leaves the set, and is copied as a whole (rule E4.2)`() throws {
        let fixture = try ServerFixture()
        defer { fixture.end() }
        var random = SeededRandom(seed: 3)
        try fixture.open(Self.first, set: [Self.first])
        let client = DeviceClient(try Self.server(fixture, Self.first))
        try Self.join(fixture, Self.first)
        Self.churn(client, &random, count: 100)
        let other = try Self.daemon(fixture, Self.second)
        let owner = try Self.daemon(fixture, Self.first)
        other.forget()
        owner.forget()
        other.send(.takenBack)
        other.wait { $0.contains { if case .takenBack = $0 { true } else { false } } }
        owner.wait { $0.contains { if case .wantsLeave(_, _, Self.second) = $0 { true } else { false } } }
        owner.wait { $0.contains { if case .wantsJoin(_, _, Self.second, _) = $0 { true } else { false } } }
        try Self.join(fixture, Self.first)
        Self.churn(client, &random, count: 100)
        try Self.close(fixture, Self.first)
        #expect(try fixture.contents(Self.first) == fixture.contents(Self.second))
    }

    @Test func `a replica that is killed and started again catches up`() throws {
        let fixture = try ServerFixture()
        defer { fixture.end() }
        var random = SeededRandom(seed: 2)
        try fixture.open(Self.first, set: [Self.first])
        let client = DeviceClient(try Self.server(fixture, Self.first))
        try Self.join(fixture, Self.first)
        Self.churn(client, &random, count: 100)
        fixture.kill(Self.second)
        Self.churn(client, &random, count: 100)
        try fixture.start(Self.second)
        try Self.join(fixture, Self.first)
        Self.churn(client, &random, count: 100)
        try Self.close(fixture, Self.first)
        #expect(try fixture.contents(Self.first) == fixture.contents(Self.second))
        let status = try Self.server(fixture, Self.first).status
        #expect(status.sentBytes > 0 && status.role == .replica)
    }

    @Test func `an old owner is fenced, answers nobody and follows the new one`() throws {
        let fixture = try ServerFixture()
        defer { fixture.end() }
        var random = SeededRandom(seed: 3)
        try fixture.open(Self.first, set: [Self.first])
        let old = DeviceClient(try Self.server(fixture, Self.first))
        try Self.join(fixture, Self.first)
        Self.churn(old, &random, count: 50)
        fixture.relay.cut()
        fixture.backRelay.cut()
        try fixture.open(Self.second, set: [Self.second])
        let lost = old.write(8192, [UInt8](repeating: 9, count: 4096))
        let client = DeviceClient(try Self.server(fixture, Self.second))
        Self.churn(client, &random, count: 50)
        #expect(!old.isAnswered(lost))
        fixture.backRelay.heal()
        try Self.join(fixture, Self.second)
        #expect(old.wait(lost) != 0)
        Self.churn(client, &random, count: 50)
        try Self.close(fixture, Self.second)
        #expect(try fixture.contents(Self.first) == fixture.contents(Self.second))
    }

    @Test func `at the end of the lease nothing is answered, and a renewal answers everything`() throws {
        let fixture = try ServerFixture()
        defer { fixture.end() }
        try fixture.open(Self.first, set: [Self.first])
        let server = try Self.server(fixture, Self.first)
        let client = DeviceClient(server)
        #expect(client.wait(client.write(0, [UInt8](repeating: 1, count: 4096))) == 0)
        fixture.setLease(Self.first, end: 1)
        let held = client.write(4096, [UInt8](repeating: 2, count: 4096))
        let reading = DispatchSemaphore(value: 0)
        Thread {
            var bytes = [UInt8](repeating: 0, count: 4096)
            _ = bytes.withUnsafeMutableBytes { server.read(offset: 0, into: $0) }
            reading.signal()
        }.start()
        let daemon = try Self.daemon(fixture, Self.first)
        daemon.forget()
        daemon.wait { events in
            events.contains { if case .status(let status) = $0 { status.role == .frozen } else { false } }
        }
        #expect(!client.isAnswered(held))
        fixture.setLease(Self.first, end: .max)
        #expect(client.wait(held) == 0)
        reading.wait()
    }
}
