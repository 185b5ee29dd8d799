import Basis
import Cluster
import Testing

@testable import Simulator

/// What clients of attributes are told, as the simulator judges it.
@Suite struct `Simulated clients of attributes (Linearizable: A1, A2)` {
    private let node = NodeID(1)
    private let key = AttributeKey(.cluster, "a")

    /// A cluster of one node, a log, and the clients who see what it makes of one attribute.
    private struct World {
        var state = ClusterState()
        var clients = AttributeClients()
        var index = LogIndex.zero

        mutating func enter(_ command: Command) -> Outcome {
            self.index = self.index.next
            let entry = LogCommand(
                origin: NodeID(1), nonce: 1, sequence: self.index.rawValue, clusterMilliseconds: 0, wallMilliseconds: 0,
                command: command)
            let outcome = self.state.apply(entry, at: self.index)
            self.clients.entered(self.state, keys: [AttributeKey(.cluster, "a")])
            return outcome
        }
    }

    private func world() -> World {
        var world = World()
        _ = world.enter(
            .bootstrap(
                clusterID: 1, clusterName: "c",
                node: JoiningNode(name: "a", site: "s", address: "a:1", role: .member)))
        return world
    }

    private func put(
        _ value: String, _ world: inout World, expecting expected: AttributeExpectation? = nil
    ) -> (id: UInt64, ClientReply) {
        let id = world.clients.ask(.put(value, expecting: expected), about: self.key, of: self.node)
        let outcome = world.enter(.putAttribute(self.key, value: value, lifetime: .forever, expecting: expected))
        return (id, .applied(outcome, at: world.index))
    }

    @Test func `pass what the log makes of it`() {
        var world = self.world()
        for expected in [nil, .absent, .value("x"), .value("y")] as [AttributeExpectation?] {
            let (id, reply) = self.put("x", &world, expecting: expected)
            world.clients.take(id, reply)
            let read = world.clients.ask(.get, about: self.key, of: self.node)
            world.clients.take(read, .readable(at: world.index, world.state.attributes))
        }
        let id = world.clients.ask(.delete(expecting: nil), about: self.key, of: self.node)
        world.clients.take(id, .applied(world.enter(.deleteAttribute(self.key)), at: world.index))
        #expect(world.clients.violation == nil)
        #expect(world.clients.compared == 9)
    }

    @Test func `notice a read that is older than what was acknowledged before it`() {
        var world = self.world()
        let (first, told) = self.put("x", &world)
        world.clients.take(first, told)
        let old = (world.index, world.state.attributes)
        let (second, toldLater) = self.put("y", &world)
        // Beside the second put both are right.
        let beside = world.clients.ask(.get, about: self.key, of: self.node)
        world.clients.take(second, toldLater)
        world.clients.take(beside, .readable(at: old.0, old.1))
        #expect(world.clients.violation == nil)
        let behind = world.clients.ask(.get, about: self.key, of: self.node)
        world.clients.take(behind, .readable(at: old.0, old.1))
        #expect(world.clients.violation?.contains("Linearizable") == true)
    }

    @Test func `notice a read that is older than what another was shown`() {
        var world = self.world()
        let old = (world.index, world.state.attributes)
        // Nobody was told of the put.
        _ = self.put("x", &world)
        let first = world.clients.ask(.get, about: self.key, of: self.node)
        world.clients.take(first, .readable(at: world.index, world.state.attributes))
        let second = world.clients.ask(.get, about: self.key, of: self.node)
        world.clients.take(second, .readable(at: old.0, old.1))
        #expect(world.clients.violation != nil)
    }

    @Test func `notice a compare that was done although it did not fit, and one that was refused although it did`() {
        var done = self.world()
        _ = self.put("x", &done)
        let id = done.clients.ask(.put("z", expecting: .value("y")), about: self.key, of: self.node)
        _ = done.enter(.putAttribute(self.key, value: "z", lifetime: .forever))
        done.clients.take(id, .applied(.accepted, at: done.index))
        #expect(done.clients.violation != nil)
        var refused = self.world()
        _ = self.put("x", &refused)
        let other = refused.clients.ask(.put("z", expecting: .value("x")), about: self.key, of: self.node)
        refused.clients.take(
            other, .applied(.refused(.differs(self.key, present: refused.state.attributes[self.key])), at: LogIndex(3)))
        _ = refused.enter(.note("time passes", about: nil))
        #expect(refused.clients.violation != nil)
    }

    @Test func `notice an answer for another entry, and count none whose daemon is gone`() {
        var world = self.world()
        let (id, _) = self.put("x", &world)
        let (other, reply) = self.put("y", &world)
        world.clients.lose(NodeID(2))
        world.clients.take(id, reply)
        #expect(world.clients.violation != nil)
        var lost = self.world()
        let (gone, told) = self.put("x", &lost)
        lost.clients.lose(self.node)
        lost.clients.take(gone, told)
        #expect(lost.clients.compared == 0 && other > id)
    }
}
