import Basis

/// Which peers this node can talk to, and how: directly, or through one voter that both ends reach. (Rule L16)
///
/// A link is good when both ends hear each other directly; one that works one way counts as cut.
public struct Reachability: Equatable, Sendable {
    private struct Peer: Equatable, Sendable {
        var id: NodeID
        var heardAt: Tick
        var hears: [NodeID]
        var reaches: [NodeID]
    }

    /// A peer that has not been heard for this long is not reached directly.
    public static let silenceMaximum = Span.milliseconds(500)
    /// How often links are checked.
    public static let pingInterval = Span.milliseconds(200)

    private let node: NodeID
    private var peers: [Peer] = []
    private var nextPing = Tick.zero

    /// Nobody heard yet.
    public init(node: NodeID) { self.node = node }

    /// The next moment at which pings are due.
    public var deadline: Tick { self.nextPing }

    /// What to tell in a ping, when one is due: peers heard directly, and peers whose link works both ways.
    public mutating func pingDue(at now: Tick) -> (hears: [NodeID], reaches: [NodeID])? {
        guard now + Supervisor.timerSlack >= self.nextPing else { return nil }
        self.nextPing = now + Self.pingInterval
        let hears = self.heardDirectly(at: now)
        return (hears, hears.filter { self.isGood($0, at: now) })
    }

    /// Takes a ping that came directly from the peer.
    public mutating func pinged(by peer: NodeID, hears: [NodeID], reaches: [NodeID], at now: Tick) {
        if let place = self.peers.firstIndex(where: { $0.id == peer }) {
            self.peers[place] = Peer(id: peer, heardAt: now, hears: hears, reaches: reaches)
            return
        }
        self.peers.append(Peer(id: peer, heardAt: now, hears: hears, reaches: reaches))
        self.peers.sort { $0.id < $1.id }
    }

    /// Any message that came directly shows that the peer is heard.
    public mutating func heard(_ peer: NodeID, at now: Tick) {
        if let place = self.peers.firstIndex(where: { $0.id == peer }) { self.peers[place].heardAt = now }
    }

    /// Peers heard directly within `silenceMaximum`, sorted.
    public func heardDirectly(at now: Tick) -> [NodeID] {
        self.peers.filter { now.since($0.heardAt) <= Self.silenceMaximum }.map(\.id)
    }

    /// Whether the link to the peer works both ways.
    public func isGood(_ peer: NodeID, at now: Tick) -> Bool {
        self.peers.contains {
            $0.id == peer && now.since($0.heardAt) <= Self.silenceMaximum && $0.hears.contains(self.node)
        }
    }

    /// The next hop to a peer: itself, or the lowest of `relays` that both ends reach; itself when nothing works.
    public func nextHop(to peer: NodeID, relays: [NodeID], at now: Tick) -> NodeID {
        if self.isGood(peer, at: now) { return peer }
        for relay in relays where relay != peer && relay != self.node && self.isGood(relay, at: now) {
            if self.peers.contains(where: { $0.id == relay && $0.reaches.contains(peer) }) { return relay }
        }
        return peer
    }
}
