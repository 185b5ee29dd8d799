import Basis
import Mirror

/// Connections between volume servers: frames in order each way, stalled by a cut, broken by a long one.
struct VolumeLinks {
    struct Parcel {
        var frame: Frame
        var data: [UInt64]
    }

    /// One connection. A class, so that its queues grow in place.
    final class Link {
        let id: UInt64
        let ownerVolume: SimulatedVolume
        let ownerServer: UInt64
        let replicaVolume: SimulatedVolume
        let replicaServer: UInt64
        var toReplica = Direction()
        var toOwner = Direction()
        var stalledSince: UInt64?
        var isOpen = true
        /// Which end has learned that it is closed.
        var hasOwnerLearned = false
        var hasReplicaLearned = false

        init(id: UInt64, owner: SimulatedVolume, replica: SimulatedVolume) {
            self.id = id
            self.ownerVolume = owner
            self.ownerServer = owner.server
            self.replicaVolume = replica
            self.replicaServer = replica.server
        }

        var volume: VolumeName { self.ownerVolume.name }
        var owner: NodeID { self.ownerVolume.node }
        var replica: NodeID { self.replicaVolume.node }
    }

    /// What is under way in one direction.
    struct Direction {
        var parcels = Line<Parcel>()
        var lastDue: UInt64 = 0
    }

    /// In the order in which they were opened.
    private var links: [Link] = []
    private var closed: [Link] = []
    private var nextLink: UInt64 = 1

    /// Nothing that is under way is due after `time`.
    func bringForward(to time: UInt64) {
        for link in self.links {
            link.toReplica.lastDue = min(link.toReplica.lastDue, time)
            link.toOwner.lastDue = min(link.toOwner.lastDue, time)
        }
    }

    func find(owner: NodeID, replica: NodeID, _ volume: VolumeName) -> Link? {
        self.links.last { $0.owner == owner && $0.replica == replica && $0.volume == volume }
    }

    mutating func open(owner: SimulatedVolume, replica: SimulatedVolume) {
        self.links.append(Link(id: self.nextLink, owner: owner, replica: replica))
        self.nextLink += 1
    }

    /// Takes a connection away; false when it was gone already.
    mutating func close(_ link: Link) -> Bool {
        guard link.isOpen else { return false }
        link.isOpen = false
        self.links.removeAll { $0 === link }
        self.closed.removeAll { $0.hasOwnerLearned && $0.hasReplicaLearned }
        self.closed.append(link)
        return true
    }

    /// A connection that is gone, of which only one end has not learned it.
    mutating func addBroken(owner: SimulatedVolume, replica: SimulatedVolume, unlearnedByOwner: Bool) -> Link {
        let link = Link(id: self.nextLink, owner: owner, replica: replica)
        self.nextLink += 1
        link.isOpen = false
        link.hasOwnerLearned = !unlearnedByOwner
        link.hasReplicaLearned = unlearnedByOwner
        self.closed.append(link)
        return link
    }

    /// Connections of these two that are closed, but of which not both ends have learned it.
    func closed(owner: NodeID, replica: NodeID, _ volume: VolumeName) -> [Link] {
        self.closed.filter { $0.owner == owner && $0.replica == replica && $0.volume == volume }
    }

    /// The connections of one volume server.
    func all(of node: NodeID, _ volume: VolumeName) -> [Link] {
        self.links.filter { $0.volume == volume && ($0.owner == node || $0.replica == node) }
    }
}

extension Simulation {
    /// Both ends learn that a connection ended, each a moment later.
    func linkEnded(_ link: VolumeLinks.Link) {
        let soon = self.now + 1_000_000 + self.random.below(20_000_000)
        self.queue.add(.linkClosed(link, toOwner: true), at: soon)
        self.queue.add(.linkClosed(link, toOwner: false), at: soon)
        self.queue.add(
            .dial(link.ownerVolume, server: link.ownerServer, peer: link.replica), at: soon + 100_000_000)
    }

    /// One end learns that a connection ended; once.
    func learnClosed(_ link: VolumeLinks.Link, toOwner: Bool) {
        guard !(toOwner ? link.hasOwnerLearned : link.hasReplicaLearned) else { return }
        let node = self.node(toOwner ? link.owner : link.replica)
        if node.isOn, self.now < node.pausedUntil {
            self.queue.add(.linkClosed(link, toOwner: toOwner), at: node.pausedUntil)
            return
        }
        if toOwner { link.hasOwnerLearned = true } else { link.hasReplicaLearned = true }
        let volume = toOwner ? link.ownerVolume : link.replicaVolume
        guard node.isOn, volume.core != nil, volume.server == (toOwner ? link.ownerServer : link.replicaServer)
        else { return }
        let peer = toOwner ? link.replica : link.owner
        self.step(volume, .linkDown(peer: peer, direction: toOwner ? .outbound : .inbound), on: node)
    }

    func dropLink(_ link: VolumeLinks.Link) {
        guard self.links.close(link) else { return }
        self.note("the link \(link.owner)-\(link.replica) of \(link.volume) ends")
        self.linkEnded(link)
    }

    /// Ends every connection of one volume server.
    func dropLinks(of node: NodeID, _ volume: VolumeName) {
        for link in self.links.all(of: node, volume) { self.dropLink(link) }
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
                .dial(volume, server: volume.server, peer: peer), at: self.now + 200_000_000)
            return
        }
        // As the real server does: it dials again only after it noticed the end of the old connection, and a new
        // connection tells the other end of the end of the old one.
        let closed = self.links.closed(owner: node.id, replica: peer, volume.name)
        if self.now < other.pausedUntil || closed.contains(where: { !$0.hasOwnerLearned }) {
            self.queue.add(
                .dial(volume, server: volume.server, peer: peer), at: self.now + 5_000_000)
            return
        }
        for old in closed { self.learnClosed(old, toOwner: false) }
        self.links.open(owner: volume, replica: there)
        self.note("\(node.name) is linked to \(other.name) for \(volume.name)")
        self.step(there, .linkUp(peer: node.id, direction: .inbound), on: other)
        self.step(volume, .linkUp(peer: peer, direction: .outbound), on: node)
    }

    /// Puts a frame on the connection it belongs to; without one it is lost, as on a closed socket.
    func transmit(_ frame: Frame, data: [UInt64], from node: NodeID, to peer: NodeID, _ volume: VolumeName) {
        let isFromOwner: Bool
        switch frame.body {
        case .hello, .write, .zero, .flush, .compare, .blocks, .clear, .note, .ping: isFromOwner = true
        default: isFromOwner = false
        }
        let found =
            isFromOwner
            ? self.links.find(owner: node, replica: peer, volume) : self.links.find(owner: peer, replica: node, volume)
        guard let link = found else { return }
        var delay = self.now + self.network.delay(&self.random)
        if self.network.bytesPerSecond != nil {
            let bytes = 64 + UInt64(data.count) * SimulatedVolume.blockBytes
            delay += self.network.wait(bytes, from: node, to: peer, isVolume: true, at: self.now)
        }
        if isFromOwner {
            link.toReplica.parcels.add(.init(frame: frame, data: data))
            link.toReplica.lastDue = max(link.toReplica.lastDue, delay)
            self.queue.add(.linkFrame(link, toOwner: false), at: link.toReplica.lastDue)
        } else {
            link.toOwner.parcels.add(.init(frame: frame, data: data))
            link.toOwner.lastDue = max(link.toOwner.lastDue, delay)
            self.queue.add(.linkFrame(link, toOwner: true), at: link.toOwner.lastDue)
        }
    }

    func deliverFrame(_ link: VolumeLinks.Link, toOwner: Bool) {
        guard link.isOpen else { return }
        let from = toOwner ? link.replica : link.owner
        let to = toOwner ? link.owner : link.replica
        // A connection needs both directions: acknowledgements travel the other way.
        if self.network.isCut(from: from, to: to) || self.network.isCut(from: to, to: from) {
            if link.stalledSince == nil {
                link.stalledSince = self.now
                self.queue.add(.linkCheck(link), at: self.now + 1_500_000_000)
            }
            self.queue.add(.linkFrame(link, toOwner: toOwner), at: self.now + 100_000_000)
            return
        }
        let node = self.node(to)
        let paused = node.pausedUntil
        if self.now < paused {
            self.queue.add(.linkFrame(link, toOwner: toOwner), at: paused)
            return
        }
        link.stalledSince = nil
        guard let parcel = toOwner ? link.toOwner.parcels.take() : link.toReplica.parcels.take() else { return }
        let volume = toOwner ? link.ownerVolume : link.replicaVolume
        guard volume.core != nil, volume.server == (toOwner ? link.ownerServer : link.replicaServer) else { return }
        switch parcel.frame.body {
        case .write(let sequence, _), .blocks(let sequence, _, _): volume.inputSequence = sequence
        case .sums: volume.isTakingSums = true
        default: break
        }
        if case .blocks = parcel.frame.body, !toOwner {
            self.workloads[volume.number].madeEqual(to, to: from)
        }
        defer { (volume.inputSequence, volume.isTakingSums) = (nil, false) }
        self.step(volume, .frame(from: from, parcel.frame), data: parcel.data, on: node)
    }
}
