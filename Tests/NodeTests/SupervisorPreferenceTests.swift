import Basis
import Raft
import Resources
import Testing

@testable import Cluster

/// Who leads where it is a matter of choice. (Rule C11)
@Suite struct SupervisorPreferenceTests {
    private static let a = NodeID(1)
    private static let b = NodeID(2)

    /// a is in the preferred site, b in no named one, and b leads.
    private static func trio(leaderSites: [String] = ["main"]) throws -> Trio {
        let trio = try Trio(sites: ["a": "main", "b": "far", "w": "third"], leaderSites: leaderSites)
        #expect(trio.pass(milliseconds: 10_000) { $0.leader != nil })
        trio.pass(milliseconds: 3000)
        if trio.leader == self.a { self.hand(trio, to: self.b) }
        #expect(trio.leader == self.b)
        return trio
    }

    private static func hand(_ trio: Trio, to node: NodeID) {
        guard let leader = trio.leader else { return }
        trio.step(leader, .client(id: 1, .transferLeadership(to: node)))
        trio.pass(milliseconds: 2000) { $0.leader == node }
    }

    @Test func `a leader leaves its place to a node in a preferred site, after half a minute`() throws {
        let trio = try Self.trio()
        trio.pass(milliseconds: 25_000)
        #expect(trio.leader == Self.b)
        #expect(trio.pass(milliseconds: 15_000) { $0.leader == Self.a })
        #expect(trio.notes.contains { $0.contains("its site comes first in leaderSites") })
        trio.pass(milliseconds: 60_000)
        #expect(trio.leader == Self.a, "and there it stays")
    }

    @Test func `of two sites that are preferred the first one gets it, not the other one on the way`() throws {
        let (w, d, e) = (NodeID(3), NodeID(4), NodeID(5))
        let trio = try Trio(
            voters: [Self.a, Self.b, w, d, e], others: ["d", "e"],
            sites: ["a": "second", "b": "far", "w": "third", "d": "main", "e": "second"],
            leaderSites: ["main", "second"])
        #expect(trio.pass(milliseconds: 10_000) { $0.leader != nil })
        trio.pass(milliseconds: 3000)
        if trio.leader != Self.b { Self.hand(trio, to: Self.b) }
        #expect(trio.leader == Self.b)
        var led: [NodeID] = []
        trio.pass(milliseconds: 45_000) { trio in
            if let leader = trio.leader, leader != led.last { led.append(leader) }
            return false
        }
        #expect(led == [Self.b, d])
    }

    @Test func `without preferred sites leadership stays where it is`() throws {
        let trio = try Self.trio(leaderSites: [])
        trio.pass(milliseconds: 90_000)
        #expect(trio.leader == Self.b)
    }

    @Test func `who gets it back soon waits twice as long, so that it does not go to and fro`() throws {
        let trio = try Self.trio()
        #expect(trio.pass(milliseconds: 45_000) { $0.leader == Self.a })
        Self.hand(trio, to: Self.b)
        #expect(trio.leader == Self.b)
        trio.pass(milliseconds: 50_000)
        #expect(trio.leader == Self.b)
        #expect(trio.pass(milliseconds: 20_000) { $0.leader == Self.a })
    }

    @Test func `where no node of a preferred site can lead another one does`() throws {
        let trio = try Self.trio()
        #expect(trio.pass(milliseconds: 45_000) { $0.leader == Self.a })
        trio.stopped.insert(Self.a)
        #expect(trio.pass(milliseconds: 10_000) { $0.leader != nil })
        trio.pass(milliseconds: 60_000)
        #expect(trio.leader == Self.b)
    }

    @Test func `a configuration that names such sites says its lease as any other does (rule L5.1)`() {
        for sites in [[], ["main"]] {
            let policy = ClusterPolicy(name: "prod", leaderSites: sites)
            let command = LogCommand(
                origin: Self.a, nonce: 1, sequence: 1, clusterMilliseconds: 0, wallMilliseconds: 0,
                command: .configure(policy, text: "", expectedIndex: .zero))
            #expect(LogCommand.configuredLease(command.encoded) == policy.timing.leaseDuration)
        }
    }

    @Test func `a break of what it is fit for begins the wait anew`() {
        var preference = LeaderPreference()
        func look(_ best: NodeID?, _ second: UInt64) -> Bool {
            preference.take(best, at: .zero + .seconds(second))
        }
        let answers = [
            look(Self.a, 0), look(Self.a, 29), look(nil, 29), look(Self.a, 31), look(Self.a, 60), look(Self.b, 60),
            look(Self.b, 89), look(Self.b, 90),
        ]
        #expect(answers == [false, false, false, false, false, false, false, true])
    }

    @Test func `of two in one site the one that was waited for so far is waited for`() {
        var preference = LeaderPreference()
        #expect(preference.choice(of: []) == nil)
        _ = preference.take(Self.b, at: .zero)
        #expect(preference.choice(of: [(Self.a, 1), (Self.b, 1)]) == Self.b)
        #expect(preference.choice(of: [(Self.a, 0), (Self.b, 1)]) == Self.a)
    }

    @Test func `the pause is doubled up to an hour, and forgotten by who led elsewhere for long`() {
        var preference = LeaderPreference()
        var now = Tick.zero
        for _ in 0..<12 {
            _ = preference.take(Self.a, at: now)
            now = now + preference.pause
            let isDue = preference.take(Self.a, at: now)
            #expect(isDue)
            preference.began(at: now + .seconds(1))
        }
        #expect(preference.pause == LeaderPreference.longestPause)
        _ = preference.take(Self.a, at: now)
        now = now + preference.pause
        _ = preference.take(Self.a, at: now)
        preference.began(at: now + .seconds(5000))
        #expect(preference.pause == LeaderPreference.shortestPause)
    }
}
