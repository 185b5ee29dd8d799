import Basis
import Host
import Reports
import Resources
import ScenarioKit
import Testing

@testable import Cluster
@testable import Daemon

/// How often each kind of note and of event was told since the daemon began.
@Suite(.timeLimit(.minutes(2)))
struct ToldCountsTests {
    private func events(_ counts: ToldCounts) -> [String: UInt64] { counts.events.mapValues(\.count) }

    @Test func `notes are counted by their names, with their weights`() {
        var counts = ToldCounts()
        for note in [Note.leaseEnded, .leaseHeld(until: .zero), .leaseEnded] { counts.count(note) }
        let report = counts.report(node: "tok-1", seconds: 3)
        #expect(report.notes.map(\.kind) == ["lease.ended", "lease.held"])
        #expect(report.notes.map(\.count) == [2, 1])
        #expect(report.notes.map(\.severity) == ["warning", "info"])
        #expect(report.events.isEmpty && report.node == "tok-1" && report.daemonSeconds == 3)
    }

    @Test func `what was told before the daemon had caught up is not counted, and each event once`() {
        let log = StateLog()
        var counts = ToldCounts()
        func look(isNews: Bool = true) {
            counts.count(log.state.events, through: log.state.appliedIndex, isNews: isNews)
        }
        look(isNews: false)
        look()
        #expect(self.events(counts).isEmpty)
        log.lose(NodeID(2))
        look()
        look()
        #expect(self.events(counts) == ["node.silent": 1, "node.lost": 1])
        log.run(.note("one", about: nil))
        log.run(.note("two", about: nil))
        look()
        #expect(self.events(counts) == ["node.silent": 1, "node.lost": 1, "cluster.noted": 2])
    }

    @Test func `events are counted on when the oldest are dropped`() {
        let log = StateLog()
        var counts = ToldCounts()
        for number in 0..<ClusterState.eventsMaximum + 20 {
            counts.count(log.state.events, through: log.state.appliedIndex, isNews: true)
            log.run(.note("\(number)", about: nil))
        }
        counts.count(log.state.events, through: log.state.appliedIndex, isNews: true)
        #expect(log.state.events.count == ClusterState.eventsMaximum)
        #expect(self.events(counts) == ["cluster.noted": UInt64(ClusterState.eventsMaximum + 20)])
    }

    @Test func `a daemon says through its door what it has told`() async throws {
        let scratch = try ScratchDirectory()
        let daemon = try SmallDaemon(try SmallDaemon.found(in: scratch))
        _ = try await daemon.view { $0.supervisor.isCaughtUp && $0.supervisor.isAdmitted }
        let before = try await daemon.backend.counters()
        #expect(before.notes.contains { $0.kind == "log.caught-up" && $0.count == 1 })
        #expect(!before.events.contains { $0.kind == "cluster.noted" || $0.kind == "cluster.founded" })
        for text in ["one", "two"] {
            #expect(try await daemon.backend.note(MutationRequest(statement: text)).accepted)
        }
        let after = try await daemon.backend.counters()
        #expect(after.events.first { $0.kind == "cluster.noted" }?.count == 2)
        #expect(after.node == "tok-1" && after.daemonSeconds > 0 && after.daemonSeconds < 120)
    }
}
