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
        /// When anything was last sent to it directly.
        var sentAt = Tick.zero
        /// When it was last told what this node hears.
        var toldAt = Tick.zero
    }

    /// A peer that has not been heard for this long is not reached directly.
    public static let silenceMaximum = Span.milliseconds(500)
    /// How often links are checked.
    public static let pingInterval = Span.milliseconds(200)
    /// What has not changed is repeated this often over a link that other messages keep alive.
    public static let repeatInterval = Span.milliseconds(1000)

    private let node: NodeID
    private var peers: [Peer] = []
    private var nextPing = Tick.zero
    /// What there was to tell when links were last checked.
    private var told: Word?

    /// What a ping tells: peers heard directly, and peers whose link works both ways.
    public struct Word: Equatable, Sendable {
        /// Heard directly, sorted.
        public var hears: [NodeID]
        /// The link works both ways, sorted.
        public var reaches: [NodeID]
    }

    /// Nobody heard yet.
    public init(node: NodeID) { self.node = node }

    /// The next moment at which pings are due.
    public var deadline: Tick { self.nextPing }

    /// Whether links are to be checked.
    public func isPingDue(at now: Tick) -> Bool { now + Self.pingInterval / 2 >= self.nextPing }

    /// What to tell in pings, and which of `peers` to tell it, when links are to be checked: every `pingInterval`, and up
    /// to half of it earlier if asked then. Left out are peers that know it already and were sent something else a moment
    /// ago: any message shows that the link is alive.
    public mutating func pingDue(to peers: [NodeID], at now: Tick) -> (word: Word, to: [NodeID])? {
        guard self.isPingDue(at: now) else { return nil }
        self.nextPing = now + Self.pingInterval
        let isNews = !self.isTold(at: now)
        if isNews {
            let hears = self.heardDirectly(at: now)
            self.told = Word(hears: hears, reaches: hears.filter { self.isGood($0, at: now) })
        }
        var receivers: [NodeID] = []
        for peer in peers {
            guard let index = self.place(of: peer) else {
                receivers.append(peer)
                continue
            }
            let knows = self.peers[index].toldAt != .zero && now.since(self.peers[index].toldAt) < Self.repeatInterval
            if !isNews, knows, now.since(self.peers[index].sentAt) < Self.pingInterval { continue }
            self.peers[index].toldAt = now
            receivers.append(peer)
        }
        guard !receivers.isEmpty, let word = self.told else { return nil }
        return (word, receivers)
    }

    /// Whether what there is to tell is what was told last.
    private func isTold(at now: Tick) -> Bool {
        guard let told = self.told else { return false }
        var hears = 0
        var reaches = 0
        for index in self.peers.indices where self.isHeard(index, at: now) {
            guard hears < told.hears.count, told.hears[hears] == self.peers[index].id else { return false }
            hears += 1
            guard self.peers[index].hears.contains(self.node) else { continue }
            guard reaches < told.reaches.count, told.reaches[reaches] == self.peers[index].id else { return false }
            reaches += 1
        }
        return hears == told.hears.count && reaches == told.reaches.count
    }

    private func place(of peer: NodeID) -> Int? {
        for index in self.peers.indices where self.peers[index].id == peer { return index }
        return nil
    }

    /// Takes a ping that came directly from the peer.
    public mutating func pinged(by peer: NodeID, hears: [NodeID], reaches: [NodeID], at now: Tick) {
        if let index = self.place(of: peer) {
            self.peers[index].heardAt = now
            self.peers[index].hears = hears
            self.peers[index].reaches = reaches
            return
        }
        self.peers.append(Peer(id: peer, heardAt: now, hears: hears, reaches: reaches))
        self.peers.sort { $0.id < $1.id }
    }

    /// Any message that came directly shows that the peer is heard.
    public mutating func heard(_ peer: NodeID, at now: Tick) {
        if let index = self.place(of: peer) { self.peers[index].heardAt = now }
    }

    /// Whether a message may go directly; if so, it is taken as sent.
    public mutating func sendDirectly(to peer: NodeID, at now: Tick) -> Bool {
        guard let index = self.place(of: peer), self.isHeard(index, at: now),
            self.peers[index].hears.contains(self.node)
        else { return false }
        self.peers[index].sentAt = now
        return true
    }

    /// Peers heard directly within `silenceMaximum`, sorted.
    public func heardDirectly(at now: Tick) -> [NodeID] {
        var heard: [NodeID] = []
        heard.reserveCapacity(self.peers.count)
        for index in self.peers.indices where self.isHeard(index, at: now) { heard.append(self.peers[index].id) }
        return heard
    }

    private func isHeard(_ index: Int, at now: Tick) -> Bool {
        now.since(self.peers[index].heardAt) <= Self.silenceMaximum
    }

    /// Whether the link to the peer works both ways.
    public func isGood(_ peer: NodeID, at now: Tick) -> Bool {
        guard let index = self.place(of: peer) else { return false }
        return self.isHeard(index, at: now) && self.peers[index].hears.contains(self.node)
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
