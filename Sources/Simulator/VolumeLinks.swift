import Basis
import Mirror

/// Connections between volume servers: frames in order each way, stalled by a cut, broken by a long one.
struct VolumeLinks {
    struct Parcel {
        var frame: Frame
        var data: [UInt64]
    }

    struct Link {
        var volume: VolumeName
        var owner: NodeID
        var ownerServer: UInt64
        var replica: NodeID
        var replicaServer: UInt64
        var toReplica: [Parcel] = []
        var toOwner: [Parcel] = []
        var stalledSince: UInt64?
        var lastDue: (toReplica: UInt64, toOwner: UInt64) = (0, 0)
    }

    private(set) var links: [UInt64: Link] = [:]
    private var nextLink: UInt64 = 1

    subscript(_ id: UInt64) -> Link? {
        get { self.links[id] }
        set { self.links[id] = newValue }
    }

    func find(owner: NodeID, replica: NodeID, _ volume: VolumeName) -> UInt64? {
        self.links.filter { $0.value.owner == owner && $0.value.replica == replica && $0.value.volume == volume }
            .keys.max()
    }

    mutating func open(_ link: Link) -> UInt64 {
        let id = self.nextLink
        self.nextLink += 1
        self.links[id] = link
        return id
    }

    /// Ends every connection of one volume server.
    mutating func dropAll(of node: NodeID, _ volume: VolumeName, in simulation: Simulation) {
        for id in self.links.keys.sorted() {
            guard let link = self.links[id], link.volume == volume, link.owner == node || link.replica == node else {
                continue
            }
            self.links[id] = nil
            simulation.linkEnded(link)
        }
    }
}

extension Simulation {
    /// Both ends learn that a connection ended, each a moment later.
    func linkEnded(_ link: VolumeLinks.Link) {
        let soon = self.now + 1_000_000 + self.random.below(20_000_000)
        self.queue.add(
            .volumeInput(
                link.owner, link.volume, server: link.ownerServer,
                .linkDown(peer: link.replica, direction: .outbound), []), at: soon)
        self.queue.add(
            .volumeInput(
                link.replica, link.volume, server: link.replicaServer,
                .linkDown(peer: link.owner, direction: .inbound), []), at: soon)
        self.queue.add(
            .dial(link.owner, link.volume, server: link.ownerServer, peer: link.replica), at: soon + 100_000_000)
    }

    func dropLink(_ id: UInt64) {
        guard let link = self.links[id] else { return }
        self.links[id] = nil
        self.linkEnded(link)
    }

    func dial(_ node: SimulatedNode, _ volume: SimulatedVolume, peer: NodeID) {
        guard volume.dialling.contains(peer), self.links.find(owner: node.id, replica: peer, volume.name) == nil else {
            return
        }
        let other = self.node(peer)
        guard other.isOn, let there = other.volume(volume.name), there.core != nil,
            !self.network.isCut(from: node.id, to: peer), !self.network.isCut(from: peer, to: node.id)
        else {
            self.queue.add(
                .dial(node.id, volume.name, server: volume.server, peer: peer), at: self.now + 200_000_000)
            return
        }
        _ = self.links.open(
            VolumeLinks.Link(
                volume: volume.name, owner: node.id, ownerServer: volume.server, replica: peer,
                replicaServer: there.server))
        self.step(there, .linkUp(peer: node.id, direction: .inbound), on: other)
        self.step(volume, .linkUp(peer: peer, direction: .outbound), on: node)
    }

    /// Puts a frame on the connection it belongs to; without one it is lost, as on a closed socket.
    func transmit(_ frame: Frame, data: [UInt64], from node: NodeID, to peer: NodeID, _ volume: VolumeName) {
        let isFromOwner: Bool
        switch frame.body {
        case .hello, .write, .zero, .flush, .compare, .blocks, .clear, .ping: isFromOwner = true
        default: isFromOwner = false
        }
        let found =
            isFromOwner
            ? self.links.find(owner: node, replica: peer, volume) : self.links.find(owner: peer, replica: node, volume)
        guard let id = found, var link = self.links[id] else { return }
        let delay = self.now + self.network.delay(&self.random)
        if isFromOwner {
            link.toReplica.append(.init(frame: frame, data: data))
            link.lastDue.toReplica = max(link.lastDue.toReplica, delay)
            self.queue.add(.linkFrame(link: id, toOwner: false), at: link.lastDue.toReplica)
        } else {
            link.toOwner.append(.init(frame: frame, data: data))
            link.lastDue.toOwner = max(link.lastDue.toOwner, delay)
            self.queue.add(.linkFrame(link: id, toOwner: true), at: link.lastDue.toOwner)
        }
        self.links[id] = link
    }

    func deliverFrame(_ id: UInt64, toOwner: Bool) {
        guard var link = self.links[id] else { return }
        let from = toOwner ? link.replica : link.owner
        let to = toOwner ? link.owner : link.replica
        // A connection needs both directions: acknowledgements travel the other way.
        if self.network.isCut(from: from, to: to) || self.network.isCut(from: to, to: from) {
            if link.stalledSince == nil {
                link.stalledSince = self.now
                self.queue.add(.linkCheck(link: id), at: self.now + 1_500_000_000)
            }
            self.links[id] = link
            self.queue.add(.linkFrame(link: id, toOwner: toOwner), at: self.now + 100_000_000)
            return
        }
        let node = self.node(to)
        let paused = node.pausedUntil
        if self.now < paused {
            self.queue.add(.linkFrame(link: id, toOwner: toOwner), at: paused)
            return
        }
        link.stalledSince = nil
        guard !(toOwner ? link.toOwner : link.toReplica).isEmpty else { return }
        let parcel = toOwner ? link.toOwner.removeFirst() : link.toReplica.removeFirst()
        self.links[id] = link
        guard let volume = node.volume(link.volume), volume.core != nil,
            volume.server == (toOwner ? link.ownerServer : link.replicaServer)
        else { return }
        switch parcel.frame.body {
        case .hello: volume.received = [:]
        case .write(let sequence, _), .zero(let sequence, _, _), .blocks(let sequence, _, _):
            volume.received[sequence] = parcel.data
        default: break
        }
        self.step(volume, .frame(from: from, parcel.frame), data: parcel.data, on: node)
    }
}
