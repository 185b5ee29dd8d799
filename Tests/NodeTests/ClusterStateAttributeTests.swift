import Basis
import Raft
import Testing

@testable import Cluster

private let osk = NodeID(2)
private let primary = AttributeKey(.cluster, "app.primary")
private let rack = AttributeKey(.node(osk), "rack")

@Suite struct `Attributes (A1)` {
    private let log = StateLog()

    private func put(
        _ key: AttributeKey, _ value: String, lifetime: AttributeLifetime = .forever,
        if expected: AttributeExpectation? = nil
    ) -> Outcome {
        self.log.run(.putAttribute(key, value: value, lifetime: lifetime, expecting: expected))
    }

    private var value: String? { self.log.state.attributes[primary]?.value }

    @Test func `say what was put last, with the entry that put it`() throws {
        #expect(self.put(primary, "tok-1").isAccepted)
        let first = try #require(self.log.state.attributes[primary])
        #expect(first.value == "tok-1" && first.version == self.log.state.appliedIndex)
        // The same again is a change too: whoever compares versions sees that somebody put it.
        #expect(self.put(primary, "tok-1").isAccepted)
        #expect(self.log.state.attributes[primary]?.version == self.log.state.appliedIndex)
        #expect(self.log.run(.deleteAttribute(primary)).isAccepted)
        #expect(self.log.state.attributes[primary] == nil)
        #expect(self.log.run(.deleteAttribute(primary)) == .refused(.unknown(.attribute(primary))))
    }

    @Test func `a compare is judged when it is applied, and tells what is there`() throws {
        #expect(self.put(primary, "a", if: .absent).isAccepted)
        let present = try #require(self.log.state.attributes[primary])
        let refused = Outcome.refused(.differs(primary, present: present))
        #expect(self.put(primary, "b", if: .absent) == refused)
        #expect(self.put(primary, "b", if: .value("x")) == refused)
        #expect(self.put(primary, "b", if: .version(present.version.next)) == refused)
        #expect(self.log.run(.deleteAttribute(primary, expecting: .value("x"))) == refused)
        #expect(self.value == "a")
        // Two who saw the same version: the one whose entry comes second is refused.
        #expect(self.put(primary, "b", if: .version(present.version)).isAccepted)
        #expect(!self.put(primary, "c", if: .version(present.version)).isAccepted)
        #expect(self.value == "b")
        #expect(self.put(primary, "c", if: .value("b")).isAccepted)
        #expect(self.log.run(.deleteAttribute(primary, expecting: .value("c"))).isAccepted)
        #expect(self.put(primary, "d", if: .value("c")) == .refused(.differs(primary, present: nil)))
    }

    @Test func `values that only look alike differ`() {
        #expect(self.put(primary, "caf\u{E9}").isAccepted)
        #expect(!self.put(primary, "x", if: .value("cafe\u{301}")).isAccepted)
        #expect(self.put(primary, "x", if: .value("caf\u{E9}")).isAccepted)
    }

    @Test func `one of a boot ends with the life of its node, and with nothing else`() {
        let life = self.log.life(osk)
        #expect(self.put(rack, "b7").isAccepted)
        let load = AttributeKey(.node(osk), "load")
        #expect(self.put(load, "3", lifetime: .boot(life)).isAccepted)
        #expect(self.put(primary, "osk-1").isAccepted)
        self.log.run(.suspect(osk, life))
        #expect(self.log.state.attributes[load] != nil)
        self.log.run(.lost(osk, life, suspectedAt: self.log.state.appliedIndex))
        #expect(self.log.state.attributes[load] == nil)
        #expect(self.log.state.attributes[rack]?.value == "b7" && self.value == "osk-1")
    }

    @Test func `what was said of a life that is over is said of no later one`() {
        let life = self.log.life(osk)
        self.log.lose(osk)
        #expect(!self.put(rack, "b7", lifetime: .boot(life)).isAccepted)
        let mark = StartMark(directory: DirectoryID(high: 1, low: 0), start: 2, nonce: 2)
        #expect(self.log.run(.admit(osk, bootID: "later", mark: mark)).isAccepted)
        #expect(!self.put(rack, "b7", lifetime: .boot(life)).isAccepted)
        #expect(self.put(rack, "b7", lifetime: .boot(self.log.life(osk))).isAccepted)
    }

    @Test func `all of a node goes with it`() {
        #expect(self.put(rack, "b7").isAccepted && self.put(primary, "osk-1").isAccepted)
        #expect(self.log.run(.retire(osk, isRetiring: true)).isAccepted)
        self.log.lose(osk)
        #expect(self.log.state.attributes[rack] != nil)
        #expect(self.log.run(.expel(osk, self.log.life(osk))).isAccepted)
        #expect(self.log.state.attributes.records.map(\.key) == [primary])
    }

    @Test func `are of the cluster or of a node that is there, under a plain name`() {
        #expect(self.put(AttributeKey(.node(NodeID(9)), "rack"), "b7") == .refused(.unknown(.node(NodeID(9)))))
        #expect(!self.put(primary, "x", lifetime: .boot(self.log.life(osk))).isAccepted)
        for name in ["", "Rack", "a b", "a/b", "\u{E9}", String(repeating: "a", count: 64)] {
            #expect(!self.put(AttributeKey(.cluster, name), "x").isAccepted, "\(name)")
        }
        #expect(self.put(AttributeKey(.cluster, String(repeating: "a", count: 63)), "x").isAccepted)
    }

    @Test func `keep what was put, and take no more than fits`() {
        let odd = "two\nlines\u{0}\u{1B}[2J"
        #expect(self.put(primary, odd).isAccepted)
        #expect(self.value.map { Array($0.utf8) } == Array(odd.utf8))
        #expect(self.put(primary, String(repeating: "x", count: 1024)).isAccepted)
        #expect(!self.put(primary, String(repeating: "x", count: 1025)).isAccepted)
        for number in 1..<1000 {
            #expect(self.put(AttributeKey(.cluster, "n.\(number)"), "x").isAccepted)
        }
        #expect(!self.put(AttributeKey(.cluster, "n.1000"), "x").isAccepted)
        #expect(self.put(AttributeKey(.cluster, "n.999"), "y").isAccepted)
        var accepted = 0
        for number in 1..<1000 {
            let value = String(repeating: "x", count: 1024)
            if self.put(AttributeKey(.cluster, "n.\(number)"), value).isAccepted { accepted += 1 }
        }
        #expect((200..<260).contains(accepted))
        #expect(self.log.state.encoded.count < 400 << 10)
    }

    @Test func `have more room once all nodes write snapshots beside their logs, from level 3 on (rule U1)`() throws {
        for level in [2, 3] as [UInt32] {
            #expect(self.log.run(.raise(FeatureLevel(level), counting: self.log.state.nodes.map(\.id))).isAccepted)
            for number in self.log.state.attributes.records.count..<1100 {
                let value = String(repeating: "x", count: 1024)
                let isThere = self.put(AttributeKey(.cluster, "n.\(number)"), value).isAccepted
                if !isThere { break }
            }
            #expect((self.log.state.attributes.records.count == 1100) == (level == 3))
        }
        let again = try ClusterState(decoding: self.log.state.encoded)
        #expect(again.attributes == self.log.state.attributes && again.attributes.bytes > 1_100_000)
    }

    @Test func `are in a snapshot as they were`() throws {
        #expect(self.put(primary, "tok-1\n").isAccepted)
        #expect(self.put(rack, "b7", lifetime: .boot(self.log.life(osk))).isAccepted)
        let again = try ClusterState(decoding: self.log.state.encoded)
        #expect(again == self.log.state)
        #expect(again.attributes.records.count == 2)
    }
}
