import Basis
import Raft
import Resources
import Testing

@testable import Cluster

/// A machine that takes a place.
private func machine(_ name: String, at address: String = "new:1", role: NodeRole = .member) -> JoiningNode {
    JoiningNode(name: name, site: "s", address: address, role: role)
}

private let orders = GroupName("orders")
private let data = VolumeName("data")

private func start(_ number: UInt64) -> StartMark {
    StartMark(directory: DirectoryID(high: 1, low: 0), start: number, nonce: 0)
}

private let osk = NodeID(2)

@Suite struct `A node that leaves (J2)` {
    @Test func `is refused while the configuration names it, with what to do`() {
        let log = StateLog()
        log.configure()
        let outcome = log.run(.retire(osk, isRetiring: true))
        #expect(outcome.words.contains("cannot leave while the configuration names it (group orders, volume data)"))
        #expect(outcome.words.contains("`holdfast apply`"))
    }

    @Test func `is a node until its lease has certainly ended, and its id is never used again`() {
        let log = StateLog()
        #expect(log.run(.retire(osk, isRetiring: true)).isAccepted)
        #expect(!log.run(.expel(osk, log.life(osk))).isAccepted)
        log.lose(osk)
        #expect(log.run(.expel(osk, log.life(osk))).isAccepted)
        #expect(log.state.node(osk) == nil)
        #expect(log.state.hasLeft(osk))
        #expect(!log.state.hasLeft(NodeID(4)))
        #expect(log.run(.addNode(machine("osk-1"))).isAccepted)
        #expect(log.state.node(named: "osk-1")?.id == NodeID(4))
        #expect(log.state.hasLeft(osk))
    }

    @Test func `is let in no more once it is lost`() {
        let log = StateLog()
        log.run(.retire(osk, isRetiring: true))
        log.lose(osk)
        let outcome = log.run(.admit(osk, bootID: "later", mark: start(2)))
        #expect(outcome.words.contains("osk-1 is leaving the cluster"))
    }

    @Test func `is named by no configuration while it is on its way out`() {
        let log = StateLog()
        log.run(.retire(osk, isRetiring: true))
        var policy = log.state.policy
        policy.groups = [
            GroupPolicy(
                name: GroupName("late"), nodes: ["tok-1", "osk-1"],
                resources: [ResourcePolicy(name: ResourceName("x"), agent: "exec")])
        ]
        let configure = Command.configure(policy, text: "", expectedIndex: log.state.policyIndex)
        let outcome = log.run(configure)
        #expect(outcome.words.contains("osk-1 is leaving the cluster"))
        #expect(outcome.words.contains("--cancel"))
        log.run(.retire(osk, isRetiring: false))
        #expect(log.run(configure).isAccepted)
    }

    @Test func `may stay after all, as long as it is a node`() {
        let log = StateLog()
        log.run(.retire(osk, isRetiring: true))
        #expect(log.run(.retire(osk, isRetiring: false)).isAccepted)
        log.lose(osk)
        #expect(!log.run(.expel(osk, log.life(osk))).isAccepted)
        #expect(log.run(.admit(osk, bootID: "later", mark: start(2))).isAccepted)
    }

    @Test func `cannot be the only member`() {
        let log = StateLog(members: ["tok-1"])
        #expect(!log.run(.retire(NodeID(1), isRetiring: true)).isAccepted)
        let two = StateLog(members: ["tok-1", "osk-1"])
        #expect(two.run(.retire(NodeID(1), isRetiring: true)).isAccepted)
        #expect(!two.run(.retire(osk, isRetiring: true)).isAccepted)
    }

    @Test func `cannot go while something of a group is left on it`() {
        let log = StateLog()
        log.configure()
        log.absent(NodeID(1))
        log.absent(osk)
        #expect(
            log.run(
                .assign(orders, osk, log.life(osk), replacing: .none, isTakeover: false, reason: "test")
            ).isAccepted)
        log.run(.configure(ClusterPolicy(name: "prod"), text: "", expectedIndex: log.state.policyIndex))
        #expect(log.state.whatKeeps(osk) == "group orders runs there")
    }
}

@Suite struct `A machine that takes the place of another (J3)` {
    @Test func `has its name, an id of its own, and none of its copies`() {
        let log = StateLog()
        log.configure()
        for node in [NodeID(1), osk] { log.absent(node) }
        log.run(.assign(orders, NodeID(1), log.life(NodeID(1)), replacing: .none, isTakeover: false, reason: "test"))
        if let record = log.state.volume(data) { log.run(.joins(data, record.epoch, version: record.version, osk)) }
        #expect(log.state.volume(data)?.inSync == [NodeID(1), osk])
        log.lose(osk)
        #expect(log.run(.replaceNode(osk, machine("osk-1"))).isAccepted)
        #expect(log.state.node(named: "osk-1")?.id == NodeID(4))
        #expect(log.state.volume(data)?.inSync == [NodeID(1)])
        #expect(log.state.node(osk)?.about.name == "osk-1~2")
        #expect(log.state.node(osk)?.isRetiring == true)
        #expect(log.run(.expel(osk, log.life(osk))).isAccepted)
        #expect(!log.run(.retire(osk, isRetiring: false)).isAccepted)
    }

    @Test func `may have its address, and may ask twice`() {
        let log = StateLog()
        log.lose(osk)
        let same = machine("osk-1", at: "osk-1:1")
        #expect(log.run(.replaceNode(osk, same)).isAccepted)
        #expect(log.run(.replaceNode(osk, same)).isAccepted)
        #expect(log.state.nodes.count == 4)
        #expect(!log.run(.replaceNode(osk, machine("osk-1", at: "tok-1:1"))).isAccepted)
    }

    @Test func `waits until the old one is lost`() {
        let log = StateLog()
        let outcome = log.run(.replaceNode(osk, machine("osk-1")))
        #expect(outcome.words.contains("osk-1 is not lost"))
    }

    @Test func `is refused while the old one has the last complete copy`() {
        let log = StateLog()
        log.configure()
        for node in [NodeID(1), osk] { log.absent(node) }
        log.run(.assign(orders, osk, log.life(osk), replacing: .none, isTakeover: false, reason: "test"))
        log.lose(osk)
        #expect(log.state.volume(data)?.holders == [osk])
        let outcome = log.run(.replaceNode(osk, machine("osk-1")))
        #expect(outcome.words.contains("the last complete copy of data"))
        #expect(outcome.words.contains("`holdfast volume accept-loss data"))
    }
}

@Suite struct `A node that becomes something else (J4, J5)` {
    @Test func `is found at its old address until it listens at the new one`() {
        let log = StateLog()
        #expect(log.run(.setNode(osk, NodeChange(address: "10.0.0.9:7400"))).isAccepted)
        let peer = log.state.roll(of: NodeID(1)).peers.first { $0.node == osk }
        #expect(peer?.address == "10.0.0.9:7400")
        #expect(peer?.formerAddress == "osk-1:1")
        #expect(!log.run(.setNode(osk, NodeChange(address: "tok-1:1"))).isAccepted)
        #expect(!log.run(.setNode(osk, NodeChange(address: "nonsense"))).isAccepted)
    }

    @Test func `may say itself where it is, and nothing else`() {
        let log = StateLog()
        let witness = NodeID(3)
        #expect(log.run(.setNode(witness, NodeChange(address: "w:9")), from: witness).isAccepted)
        #expect(!log.run(.setNode(witness, NodeChange(role: .member)), from: witness).isAccepted)
        #expect(!log.run(.setNode(osk, NodeChange(address: "w:8")), from: witness).isAccepted)
    }

    @Test func `becomes no witness while groups may run on it, and there is always a member`() {
        let log = StateLog()
        log.configure()
        let outcome = log.run(.setNode(osk, NodeChange(role: .witness)))
        #expect(outcome.words.contains("cannot become a witness while the configuration names it"))
        #expect(log.run(.setNode(osk, NodeChange(role: .observer))).isAccepted)
        #expect(!log.run(.setNode(NodeID(1), NodeChange(role: .observer))).isAccepted)
    }

    @Test func `has labels, sorted, and an empty one takes it off`() {
        let log = StateLog()
        let labels = [NodeLabel(name: "rack", value: "a1"), NodeLabel(name: "disk", value: "ssd")]
        #expect(log.run(.setNode(osk, NodeChange(labels: labels))).isAccepted)
        #expect(log.state.node(osk)?.labels.map(\.name) == ["disk", "rack"])
        #expect(log.run(.setNode(osk, NodeChange(labels: [NodeLabel(name: "rack", value: "")]))).isAccepted)
        #expect(log.state.node(osk)?.labels == [NodeLabel(name: "disk", value: "ssd")])
        #expect(!log.run(.setNode(osk, NodeChange(labels: [NodeLabel(name: "A B", value: "x")]))).isAccepted)
    }

    @Test func `survives a snapshot`() throws {
        let log = StateLog()
        log.run(.setNode(osk, NodeChange(role: .observer, address: "x:1", labels: [NodeLabel(name: "a", value: "b")])))
        log.run(.retire(NodeID(3), isRetiring: true))
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
    }
}

extension Outcome {
    fileprivate var words: String { if case .refused(let refusal) = self { refusal.description } else { "accepted" } }
}
