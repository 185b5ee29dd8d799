import Basis
import Raft
import Testing

@testable import Cluster

/// What applying the log makes of a pause that a person announces. (Rule L22)
@Suite struct ClusterStatePauseTests {
    private static let node = NodeID(2)

    private func log() -> StateLog {
        let log = StateLog()
        for level in 2...3 { log.run(.raise(FeatureLevel(UInt32(level)), counting: log.state.nodes.map(\.id))) }
        return log
    }

    private func expect(_ log: StateLog, _ length: Span, life: Incarnation? = nil) -> Outcome {
        log.run(.expectPause(Self.node, life ?? log.life(Self.node), length))
    }

    private func isExpected(_ log: StateLog, after milliseconds: UInt64 = 0) -> Bool {
        log.state.node(Self.node).map {
            log.state.isPauseExpected(of: $0, at: log.state.clusterMilliseconds + milliseconds)
        } ?? false
    }

    @Test func `a pause is expected until its end by cluster time, in a snapshot too (rule L22)`() throws {
        let log = self.log()
        #expect(self.expect(log, .seconds(20)).isAccepted)
        #expect(self.isExpected(log))
        #expect(self.isExpected(log, after: 19_999))
        #expect(!self.isExpected(log, after: 20_000))
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
        #expect(
            log.state.events.last?.sentence
                == "osk-1 is expected to pause, for 20 s at most: its silence is waited for, asked on tok-1")
    }

    @Test func `nobody who died is waited for longer than five minutes (rule L22)`() {
        let log = self.log()
        #expect(!self.expect(log, .milliseconds(300_001)).isAccepted)
        #expect(!self.isExpected(log))
        #expect(self.expect(log, .seconds(300)).isAccepted)
    }

    @Test func `it is over when a person says so, and there must be one`() {
        let log = self.log()
        #expect(!self.expect(log, .zero).isAccepted)
        #expect(self.expect(log, .seconds(20)).isAccepted)
        #expect(self.expect(log, .zero).isAccepted)
        #expect(!self.isExpected(log))
    }

    @Test func `it is of the life that it was announced for, and of no other (rule L22)`() {
        let log = self.log()
        let life = log.life(Self.node)
        #expect(!self.expect(log, .seconds(20), life: Incarnation(1)).isAccepted)
        #expect(self.expect(log, .seconds(200), life: life).isAccepted)
        log.run(.suspect(Self.node, life))
        let suspectedAt = log.state.appliedIndex
        #expect(!self.expect(log, .seconds(200), life: life).isAccepted, "it is being taken over from already")
        log.run(.lost(Self.node, life, suspectedAt: suspectedAt))
        #expect(!self.isExpected(log))
        log.run(.admit(Self.node, bootID: "another", mark: log.state.node(Self.node)?.mark ?? .none))
        #expect(log.life(Self.node) != life)
        #expect(!self.isExpected(log), "what was booted meanwhile may die like any other")
    }

    @Test func `below the third level nobody can announce one`() {
        let log = StateLog()
        #expect(!self.expect(log, .seconds(20)).isAccepted)
    }
}
