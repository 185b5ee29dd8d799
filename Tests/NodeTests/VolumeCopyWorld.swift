import Basis
import Mirror
import Raft
import Resources
import Testing

@testable import Cluster

private func start(_ number: UInt64) -> StartMark {
    StartMark(directory: DirectoryID(high: 1, low: 0), start: number, nonce: number)
}

private let orders = GroupName("orders")
private let data = VolumeName("data")
private let tok = NodeID(1)
private let osk = NodeID(2)

/// A cluster of two members and a witness with one volume on both members.
final class VolumeCopyWorld {
    var state = ClusterState()
    var boots = 0
    private var sequence: UInt64 = 0

    init(sizeBytes: UInt64 = 4096) {
        func node(_ name: String, witness: Bool = false) -> JoiningNode {
            JoiningNode(name: name, site: name, address: "\(name):1", role: witness ? .witness : .member)
        }
        self.run(.bootstrap(clusterID: 7, clusterName: "prod", node: node("tok-1")))
        self.run(.addNode(node("osk-1")))
        self.run(.addNode(node("wit-1", witness: true)))
        for id in 1...3 { self.run(.admit(NodeID(UInt32(id)), bootID: "boot-\(id)", mark: start(1))) }
        self.configure(Self.policy(sizeBytes: sizeBytes))
        self.run(
            .declareAbsent(
                orders, nodes: [tok, osk], since: self.state.group(orders)?.searchedSince ?? .zero, statement: "new"
            ))
    }

    static func policy(
        sizeBytes: UInt64 = 4096, backings: [(String, String)] = [("tok-1", "/a"), ("osk-1", "/b")],
        nodes: [String]? = nil, hasVolume: Bool = true
    ) -> ClusterPolicy {
        let replicas = backings.map { VolumePolicy.Replica(node: $0.0, backing: $0.1, address: "h:2") }
        let disk = ResourcePolicy(
            name: ResourceName("disk"), agent: "volume", parameters: [.init("volume", "data")])
        return ClusterPolicy(
            name: "prod",
            volumes: hasVolume ? [VolumePolicy(name: data, sizeBytes: sizeBytes, replicas: replicas)] : [],
            groups: hasVolume
                ? [GroupPolicy(name: orders, nodes: nodes ?? backings.map(\.0), resources: [disk])] : [])
    }

    /// Who may give the command gives it.
    private func origin(of command: Command) -> NodeID {
        switch command.authority {
        case .anyNode: tok
        case .node(let node): node
        case .writer: self.record.owner ?? tok
        case .owner: self.state.group(orders)?.assignment?.node ?? tok
        case .member, .memberOrNode, .leader: tok
        }
    }

    @discardableResult func run(_ command: Command) -> Bool {
        self.sequence += 1
        let outcome = self.state.apply(
            LogCommand(
                origin: self.origin(of: command), nonce: 1, sequence: self.sequence,
                clusterMilliseconds: self.state.clusterMilliseconds + 1000, wallMilliseconds: 0,
                command: command), at: self.state.appliedIndex.next)
        return outcome == .accepted
    }

    @discardableResult func configure(_ policy: ClusterPolicy) -> Bool {
        self.run(.configure(policy, text: "", expectedIndex: self.state.policyIndex))
    }

    var record: ClusterState.VolumeRecord {
        self.state.volume(data)
            ?? ClusterState.VolumeRecord(VolumePolicy(name: data, sizeBytes: 0, replicas: []), identity: 0)
    }
    var epoch: Epoch { self.state.group(orders)?.epoch ?? .none }

    /// Of every copy.
    var capacityBytes: UInt64 = 1 << 20

    @discardableResult func assign(_ node: NodeID) -> Bool {
        self.run(
            .assign(
                orders, node, self.state.node(node)?.incarnation ?? .none, replacing: self.epoch,
                isTakeover: false, reason: "a test"))
    }

    /// The owner says that it goes on alone.
    func open() -> Bool {
        let record = self.record
        return self.run(
            .opens(
                data, record.epoch, version: record.version, inSync: record.inSync,
                copies: record.inSync.map { record.copy(of: $0)?.identity ?? 0 }))
    }

    /// It dies, and another boot of it is let in.
    func reboot(_ node: NodeID) {
        let life = self.state.node(node)?.incarnation ?? .none
        self.run(.suspect(node, life))
        self.run(.lost(node, life, suspectedAt: self.state.appliedIndex))
        self.boots += 1
        var mark = self.state.node(node)?.mark ?? .none
        mark.start += 1
        mark.nonce += 1
        self.run(.admit(node, bootID: "boot \(self.boots)", mark: mark))
    }

    @discardableResult func stop() -> Bool { self.run(.stopped(orders, self.epoch, failure: nil)) }

    @discardableResult func copy(
        _ node: NodeID, identity: UInt64, starts: [UInt64], epoch: Epoch = .none, isNoted: Bool = true,
        against: CopyKnowledge? = nil
    ) -> Bool {
        let mark = CopyMark(identity: identity, starts: starts, epoch: epoch, isNoted: isNoted)
        return self.run(
            .copy(
                data, volume: self.record.identity, node, mark, capacityBytes: self.capacityBytes,
                against: against ?? self.record.copy(of: node)?.knowledge,
                boot: self.state.node(node)?.bootID ?? ""))
    }

    @discardableResult func join(_ node: NodeID, copy: UInt64) -> Bool {
        self.run(.joins(data, self.epoch, version: self.record.version, node, copy: copy))
    }

    /// Both copies are known and in the set; the group runs on tok-1.
    func settle(capacityBytes: UInt64 = 1 << 20) {
        self.capacityBytes = capacityBytes
        self.copy(tok, identity: 10, starts: [11], isNoted: false)
        self.copy(osk, identity: 20, starts: [21], isNoted: false)
        self.assign(tok)
        self.join(osk, copy: 20)
        self.run(.started(orders, self.epoch))
    }

    /// Both copies are known and in the set.
    static func settled(capacityBytes: UInt64 = 1 << 20) -> VolumeCopyWorld {
        let world = VolumeCopyWorld()
        world.settle(capacityBytes: capacityBytes)
        #expect(world.record.inSync == [tok, osk])
        return world
    }
}
