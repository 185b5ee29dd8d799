import Basis
import Testing

@testable import Cluster

/// Another node, to which they say it.
private final class Listener {
    var watch = TwinWatch()

    func heard(_ boot: String, since: UInt64, at now: UInt64) -> TwinWatch.Finding {
        self.watch.heard(
            TwinWatchTests.twin(boot), of: TwinWatchTests.node, since: TwinWatchTests.at(since),
            at: TwinWatchTests.at(now))
    }

    /// Both say it once a second, each on the connection that it has, which is made anew when it is ended.
    func converse(_ boots: [String], since: [UInt64], from: UInt64, until: UInt64) -> (
        named: UInt64?, ended: Set<String>
    ) {
        var since = Dictionary(uniqueKeysWithValues: zip(boots, since))
        var ended: Set<String> = []
        for now in stride(from: from, through: until, by: 1000) {
            for boot in boots {
                let finding = self.heard(boot, since: since[boot] ?? 0, at: now)
                if finding.twins.count > 1 { return (now, ended) }
                for stale in finding.stale {
                    since[stale] = now + 50
                    ended.insert(stale)
                }
            }
        }
        return (nil, ended)
    }
}

/// When two boots of one node are two machines, and when one machine that was booted. (Rule E5)
@Suite struct TwinWatchTests {
    fileprivate static let node = NodeID(2)

    fileprivate static func at(_ milliseconds: UInt64) -> Tick { Tick(nanoseconds: milliseconds * 1_000_000) }

    fileprivate static func twin(_ boot: String, from host: String = "10.0.0.2") -> Twin {
        Twin(bootID: boot, host: host, fingerprint: [1])
    }

    private let listener = Listener()

    @Test func `a machine and a copy that was started beside it are two within seconds`() {
        _ = self.listener.heard("original", since: 1000, at: 2000)
        let (named, ended) = self.listener.converse(
            ["original", "copy"], since: [1000, 60_000], from: 60_000, until: 90_000)
        #expect(named.map { $0 <= 64_000 } == true)
        // The one that came last has shown it already.
        #expect(ended == ["original"])
    }

    @Test func `a copy that came first, and hears nobody, is found out when the machine comes back`() {
        _ = self.listener.heard("copy", since: 1000, at: 2000)
        let (named, ended) = self.listener.converse(
            ["copy", "original"], since: [1000, 60_000], from: 60_000, until: 90_000)
        #expect(named.map { $0 <= 64_000 } == true)
        #expect(ended == ["copy"])
    }

    @Test func `a machine that was booted is one, however late its last words arrive (rule E5)`() {
        _ = self.listener.heard("first", since: 1000, at: 2000)
        for now in stride(from: UInt64(10_000), through: 60_000, by: 500) {
            // What the first boot wrote lies in a buffer, and in that of another connection, made right before its end.
            for since in [1000, 9000] as [UInt64] {
                #expect(self.listener.heard("first", since: since, at: now).twins.isEmpty)
            }
            #expect(self.listener.heard("second", since: 9800, at: now + 100).twins.isEmpty)
        }
    }

    @Test func `its last words may even come after the first ones of the next boot (rule E5)`() {
        // This node was started in between: it has heard neither before.
        _ = self.listener.heard("second", since: 9800, at: 10_000)
        for now in stride(from: UInt64(10_100), through: 60_000, by: 500) {
            #expect(self.listener.heard("first", since: 9000, at: now).twins.isEmpty)
            #expect(self.listener.heard("second", since: 9800, at: now + 100).twins.isEmpty)
        }
    }

    @Test func `a machine that went to another host with its memory is one`() {
        for (number, now) in stride(from: UInt64(1000), through: 60_000, by: 500).enumerated() {
            let host = number % 2 == 0 ? "10.0.0.2" : "10.0.0.9"
            let finding = self.listener.watch.heard(
                Self.twin("same", from: host), of: Self.node, since: Self.at(now - 100), at: Self.at(now))
            #expect(finding == TwinWatch.Finding())
        }
    }

    @Test func `who was started elsewhere while paused, and is ended as soon as it goes on, is no copy`() {
        _ = self.listener.heard("paused", since: 1000, at: 2000)
        _ = self.listener.heard("elsewhere", since: 20_000, at: 20_100)
        // It goes on for a second and a half, and makes its connections anew.
        let (named, _) = self.listener.converse(
            ["paused", "elsewhere"], since: [30_000, 20_000], from: 30_100, until: 31_600)
        #expect(named == nil)
        for now in stride(from: UInt64(32_000), through: 60_000, by: 1000) {
            #expect(self.listener.heard("elsewhere", since: 20_000, at: now).twins.isEmpty)
        }
    }

    @Test func `boots of different nodes have nothing to do with each other`() {
        for now in stride(from: UInt64(1000), through: 20_000, by: 500) {
            for node in 1...3 {
                let finding = self.listener.watch.heard(
                    Self.twin("boot-\(node)"), of: NodeID(UInt32(node)), since: Self.at(now - 10), at: Self.at(now))
                #expect(finding == TwinWatch.Finding())
            }
        }
    }

    @Test func `what was seen before a person settled it says nothing (rule E5)`() throws {
        let (named, _) = self.listener.converse(["original", "copy"], since: [1000, 1000], from: 2000, until: 20_000)
        let settled = try #require(named)
        self.listener.watch.forget(Self.node)
        for now in stride(from: settled + 200, through: settled + 20_000, by: 1000) {
            #expect(self.listener.heard("original", since: settled + 100, at: now) == TwinWatch.Finding())
        }
    }
}
