import Basis
import Mirror
import Raft
import Resources
import Testing

@testable import Cluster

private func start(_ number: UInt64, of directory: UInt64 = 1, nonce: UInt64 = 0) -> StartMark {
    StartMark(directory: DirectoryID(high: directory, low: 0), start: number, nonce: nonce + number)
}

private typealias Log = StateLog

private let data = VolumeName("data")
private let wit = NodeID(3)
private let osk = NodeID(2)
private let tok = NodeID(1)
private let orders = GroupName("orders")

@Suite struct `A configuration for what lives` {
    private func running() -> Log {
        let log = Log()
        log.configure()
        log.declareAbsent()
        log.assign(tok)
        log.run(.joins(data, log.epoch, version: log.state.volume(data)?.version ?? 0, osk))
        return log
    }

    private func configure(_ log: Log, _ change: (inout ClusterPolicy) -> Void) -> Outcome {
        var policy = log.state.policy
        change(&policy)
        return log.run(.configure(policy, text: "", expectedIndex: log.state.policyIndex))
    }

    private func paths(_ outcome: Outcome) -> [String] {
        guard case .refused(.changes(let changes)) = outcome else { return [] }
        return changes.map(\.path)
    }

    @Test func `refuses a smaller volume, on every node alike (rule K1)`() {
        let log = self.running()
        #expect(self.paths(self.configure(log) { $0.volumes[0].sizeBytes = 2048 }) == ["volumes.data.size"])
        #expect(log.state.policy.volumes[0].sizeBytes == 4096)
    }

    @Test func `refuses another place for the copy in use (rule K1)`() {
        let log = self.running()
        let outcome = self.configure(log) { $0.volumes[0].replicas[0].backing = "/new" }
        #expect(self.paths(outcome) == ["volumes.data.replicas.tok-1.backing"])
    }

    @Test func `refuses to take away the last copy that holds every write (rule K1)`() {
        let log = self.running()
        log.run(.leaves(data, log.epoch, version: log.state.volume(data)?.version ?? 0, osk))
        #expect(self.paths(self.configure(log) { $0.volumes[0].replicas.removeFirst() }) == ["volumes.data.replicas"])
    }

    @Test func `refuses other volumes for a group that runs, also under a name that was removed meanwhile (rule K1)`() {
        let log = self.running()
        let group = log.state.policy.groups[0]
        #expect(self.paths(self.configure(log) { $0.groups[0].resources = [] }) == ["groups.orders.resources"])
        #expect(self.configure(log) { $0.groups = [] } == .accepted)
        var other = group
        other.resources = []
        #expect(self.paths(self.configure(log) { $0.groups = [other] }) == ["groups.orders.resources"])
        #expect(self.configure(log) { $0.groups = [group] } == .accepted)
    }

    @Test func `a removed group is stopped as it was configured, and its owner's end ends it too (rule K2)`() throws {
        let log = self.running()
        let group = log.state.policy.groups[0]
        #expect(self.configure(log) { $0.groups = [] } == .accepted)
        let record = try #require(log.state.group(orders))
        #expect(log.state.policy(of: record) == group)
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
        let fork = Log()
        fork.state = log.state
        log.run(.stopped(orders, log.epoch, failure: nil))
        #expect(log.state.groups == [])
        // Cut off while it was removed: nobody will ever say that it has stopped.
        fork.lose(tok)
        #expect(fork.state.groups == [])
    }
}
