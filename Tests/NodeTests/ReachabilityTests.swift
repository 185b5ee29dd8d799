import Basis
import Cluster
import Testing

private func at(_ milliseconds: UInt64) -> Tick { Tick(nanoseconds: milliseconds * 1_000_000) }

private let (me, peer, third) = (NodeID(1), NodeID(2), NodeID(3))

/// The links of one node to two peers.
private final class Links {
    var reachability = Reachability(node: me)

    /// Both peers have pinged at 1000 ms, and both know what this node hears.
    static func acquainted() -> Links {
        let links = Links()
        for other in [peer, third] { links.reachability.pinged(by: other, hears: [me], reaches: [me], at: at(1000)) }
        _ = links.check(at: 1000)
        return links
    }

    /// Something goes directly to `peer`, and both peers are heard.
    func exchange(at milliseconds: UInt64) -> Bool {
        for other in [peer, third] { self.reachability.heard(other, at: at(milliseconds)) }
        return self.reachability.sendDirectly(to: peer, at: at(milliseconds))
    }

    /// Who is pinged; nil when no check is due.
    func check(at milliseconds: UInt64) -> [NodeID]? {
        self.reachability.pingDue(to: [peer, third], at: at(milliseconds))?.to
    }
}

@Suite struct `Pings (rule L16)` {
    @Test func `are left out where the peer knows and other messages keep the link alive`() {
        let links = Links.acquainted()
        #expect(links.exchange(at: 1100))
        #expect(links.check(at: 1200) == [third])
    }

    @Test func `go to everybody at the next check when something changed`() {
        let links = Links.acquainted()
        #expect(links.exchange(at: 1100))
        links.reachability.pinged(by: third, hears: [], reaches: [], at: at(1150))
        #expect(links.check(at: 1200) == [peer, third])
    }

    @Test func `repeat what they say each second`() {
        let links = Links.acquainted()
        var told: [UInt64] = []
        for now in stride(from: UInt64(1200), through: 3000, by: 200) {
            #expect(links.exchange(at: now - 50))
            if links.check(at: now)?.contains(peer) == true { told.append(now) }
        }
        #expect(told == [2000, 3000])
    }

    @Test func `go to peers that never pinged, and not sooner than half the interval after a check`() {
        let links = Links()
        #expect(links.check(at: 1000) == [peer, third])
        #expect(links.check(at: 1099) == nil)
        #expect(links.check(at: 1100) == [peer, third])
    }

    @Test func `are not left out on the strength of a message that is as old as a check`() {
        let links = Links.acquainted()
        #expect(links.exchange(at: 1000))
        #expect(links.check(at: 1200) == [peer, third])
    }
}
