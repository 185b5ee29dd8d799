import Basis

/// Sees that two machines are one node at the same time, from the connections on which they say so. Pure: whoever accepts
/// connections keeps one. (Rule E5)
///
/// A machine that shook hands at an instant of this clock lived then, and one of which something was heard had begun before. So two
/// boots of one node are two machines if each has shaken hands *after* something was heard of the other: of a machine that was
/// booted anew, or started elsewhere after its end, the earlier boot can never do that, however late its last words arrive. Who
/// shows it not, because its connection is older, is asked to connect anew.
public struct TwinWatch: Equatable, Sendable {
    /// What is to be done about what was heard.
    public struct Finding: Equatable, Sendable {
        /// Connections of these boots of the node are ended, so that those which live connect anew.
        public var stale: [String] = []
        /// Two machines or more are the node.
        public var twins: [Twin] = []
        /// Nothing.
        public init() {}
    }

    private struct Sighting: Equatable, Sendable {
        var node: NodeID
        var twin: Twin
        /// When it was heard first.
        var metAt: Tick
        /// When it surely lived, at the latest.
        var aliveAt: Tick
        /// When it was heard last.
        var heardAt: Tick
        /// Since when another one is known to live beside it.
        var provenAt: Tick?
    }

    /// Both are heard for so long: a machine that was paused, started elsewhere, and is ended as soon as it goes on, is no copy.
    public static let patience = Span.seconds(2)
    /// Who was not heard for so long is not there any more, or is another boot by now.
    private static let memory = Span.seconds(10)
    private static let sightingsMaximum = 64

    private var sightings: [Sighting] = []

    /// Nobody was heard.
    public init() {}

    /// A machine says that it is this node, over a connection whose handshake began at `since`.
    public mutating func heard(_ twin: Twin, of node: NodeID, since: Tick, at now: Tick) -> Finding {
        let here = self.place(of: twin, node, at: now)
        self.sightings[here].twin = twin
        self.sightings[here].heardAt = now
        self.sightings[here].aliveAt = max(self.sightings[here].aliveAt, since)
        var finding = Finding()
        for other in self.sightings.indices where other != here && self.sightings[other].node == node {
            guard now.since(self.sightings[other].heardAt) < Self.memory else { continue }
            let (isHereLate, isOtherLate) = (self.lived(here, after: other), self.lived(other, after: here))
            if isHereLate, isOtherLate {
                self.sightings[here].provenAt = self.sightings[here].provenAt ?? now
                self.sightings[other].provenAt = self.sightings[other].provenAt ?? now
            }
            if !isHereLate { finding.stale.append(twin.bootID) }
            if !isOtherLate { finding.stale.append(self.sightings[other].twin.bootID) }
        }
        let proven = self.sightings.filter { sighting in
            sighting.node == node && now.since(sighting.heardAt) < Self.memory
                && (sighting.provenAt.map { sighting.heardAt >= $0 + Self.patience } ?? false)
        }
        if proven.count > 1 { finding.twins = proven.map(\.twin) }
        return finding
    }

    /// A person has settled which machine the node is: what was seen before tells nothing any more.
    public mutating func forget(_ node: NodeID) { self.sightings.removeAll { $0.node == node } }

    /// Whether one lived when something had been heard of the other already.
    private func lived(_ one: Int, after other: Int) -> Bool {
        self.sightings[one].aliveAt > self.sightings[other].metAt
    }

    private mutating func place(of twin: Twin, _ node: NodeID, at now: Tick) -> Int {
        if let place = self.sightings.firstIndex(where: { $0.node == node && $0.twin.bootID == twin.bootID }) {
            return place
        }
        if self.sightings.count >= Self.sightingsMaximum,
            let oldest = self.sightings.indices.min(by: { self.sightings[$0].heardAt < self.sightings[$1].heardAt })
        {
            self.sightings.remove(at: oldest)
        }
        self.sightings.append(
            Sighting(node: node, twin: twin, metAt: now, aliveAt: .zero, heardAt: now, provenAt: nil))
        return self.sightings.count - 1
    }
}
