import Basis
import Mirror
import Raft
import Resources
import Testing

@testable import Cluster

private let orders = GroupName("orders")
private let data = VolumeName("data")
private let tok = NodeID(1)
private let osk = NodeID(2)

private func start(_ number: UInt64, of directory: UInt64 = 1, nonce: UInt64 = 0) -> StartMark {
    StartMark(directory: DirectoryID(high: directory, low: 0), start: number, nonce: nonce + number)
}

/// A cluster state fed with commands, one entry each.
final class StateLog {
    var state = ClusterState()

    init(members: [String] = ["tok-1", "osk-1"], witness: Bool = true) {
        self.run(.bootstrap(clusterID: 1, clusterName: "prod", node: Self.about("tok-1")))
        for name in members.dropFirst() { self.run(.addNode(Self.about(name))) }
        if witness { self.run(.addNode(Self.about("wit-1", isWitness: true))) }
        for node in self.state.nodes { self.run(.admit(node.id, bootID: "boot-\(node.id)", mark: start(1))) }
    }

    static func about(_ name: String, isWitness: Bool = false) -> JoiningNode {
        JoiningNode(name: name, site: "s", address: "\(name):1", role: isWitness ? .witness : .member)
    }

    var next: LogIndex { self.state.appliedIndex.next }

    /// From who may give it, unless `origin` says otherwise; a request of its own, unless `sequence` does.
    @discardableResult func run(_ command: Command, from origin: NodeID? = nil, sequence: UInt64? = nil) -> Outcome {
        self.state.apply(
            LogCommand(
                origin: origin ?? self.rightful(command), nonce: 1, sequence: sequence ?? self.next.rawValue,
                clusterMilliseconds: self.state.clusterMilliseconds + 1000, wallMilliseconds: 0, command: command),
            at: self.next)
    }

    private func rightful(_ command: Command) -> NodeID {
        switch command.authority {
        case .member, .memberOrNode, .anyNode, .leader: NodeID(1)
        case .node(let node): node
        case .owner(let group, let epoch):
            self.state.holdings.first { $0.group == group && $0.epoch == epoch }?.node ?? NodeID(1)
        case .writer(let volume, _): self.state.volume(volume)?.owner ?? NodeID(1)
        }
    }

    func life(_ node: NodeID) -> Incarnation { self.state.node(node)?.incarnation ?? .none }

    func configure(
        takeover: Takeover = .afterLease, holders: [String] = ["tok-1", "osk-1"], mount: String? = nil
    ) {
        let fs = mount.map {
            [ResourcePolicy(name: ResourceName("fs"), agent: "filesystem", parameters: [.init("mount", $0)])]
        }
        let replicas = holders.map { VolumePolicy.Replica(node: $0, backing: "/b", address: "h:2") }
        let policy = ClusterPolicy(
            name: "prod", volumes: [VolumePolicy(name: data, sizeBytes: 4096, replicas: replicas)],
            groups: [
                GroupPolicy(
                    name: orders, nodes: holders, takeover: takeover,
                    resources: [
                        ResourcePolicy(
                            name: ResourceName("disk"), agent: "volume", parameters: [.init("volume", "data")])
                    ] + (fs ?? []))
            ])
        self.run(.configure(policy, text: "", expectedIndex: self.state.policyIndex))
    }

    /// The search that is going on.
    var search: LogIndex { self.state.group(orders)?.searchedSince ?? .zero }

    @discardableResult func absent(_ node: NodeID) -> Outcome {
        self.run(.absent(orders, node, self.life(node), since: self.search))
    }

    func declareAbsent() {
        for node in [tok, osk] { self.absent(node) }
    }

    @discardableResult func assign(_ node: NodeID, isTakeover: Bool = false) -> Outcome {
        self.run(
            .assign(
                orders, node, self.life(node), replacing: self.epoch, isTakeover: isTakeover, reason: "a test"))
    }

    var epoch: Epoch { self.state.group(orders)?.epoch ?? .none }

    @discardableResult func lose(_ node: NodeID) -> Outcome {
        let at = self.next
        self.run(.suspect(node, self.life(node)))
        return self.run(.lost(node, self.life(node), suspectedAt: at))
    }
}

extension Outcome {
    var isAccepted: Bool { self == .accepted }
}
