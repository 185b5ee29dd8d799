import Basis
import Raft
import Resources
import Testing

@testable import Cluster

/// Each value of a node notices when it is as it can never be.
@Suite struct `A value that cannot be is noticed` {
    private let group = GroupName("g")

    private func supervisor() throws -> Supervisor { try #require(try Trio().supervisors[NodeID(1)]) }

    /// The sentence of the broken invariant, after a change of a sound value.
    private func said<Value: InvariantChecking>(
        of value: Value, after change: (inout Value) throws -> Void
    ) throws -> String {
        try value.checkInvariants()
        var value = value
        try change(&value)
        do { try value.checkInvariants() } catch { return error.description }
        return "nothing"
    }

    @Test func `the applied state`() throws {
        var applied = ClusterState()
        for (place, name) in ["a", "b"].enumerated() {
            let about = JoiningNode(name: name, site: "s", address: "\(name):1", role: .member)
            let command: Command =
                place == 0 ? .bootstrap(clusterID: 1, clusterName: "c", node: about) : .addNode(about)
            _ = applied.apply(
                LogCommand(
                    origin: NodeID(1), nonce: 0, sequence: 0, clusterMilliseconds: 0, wallMilliseconds: 0,
                    command: command), at: LogIndex(UInt64(place) + 1))
        }
        #expect(try self.said(of: applied) { $0.nodes.reverse() } == "ClusterState: nodes are out of order")
        #expect(
            try self.said(of: applied) { $0.policyIndex = LogIndex(9) }
                == "ClusterState: a configuration that was not applied")
        #expect(try self.said(of: applied) { $0.nodes[0].incarnation = Incarnation(9) }.contains("not applied (E3)"))
        #expect(try self.said(of: applied) { $0.nodes[0].standing = .trusted }.contains("(L8)"))
        #expect(
            try self.said(of: applied) {
                $0.groups = [ClusterState.GroupRecord(name: self.group)]
                $0.groups[0].epoch = Epoch(generation: 0, index: 77)
            }.contains("an epoch that was not applied (E1)"))
        #expect(
            try self.said(of: applied) {
                let policy = VolumePolicy(name: VolumeName("v"), sizeBytes: 4096, replicas: [])
                $0.volumes = [ClusterState.VolumeRecord(policy, identity: 1)]
                $0.volumes[0].epoch = Epoch(generation: 0, index: 1)
            }.contains("nobody holds v (V8)"))
    }

    @Test func `a lease, on both sides`() throws {
        var holder = LeaseHolder(node: NodeID(1), bootID: "b", nonce: 1)
        holder.adopt(end: Tick(nanoseconds: 10), incarnation: Incarnation(3))
        #expect(try self.said(of: holder) { $0.over = Incarnation(3) }.contains("is over (L18)"))
        #expect(try self.said(of: holder) { $0.ageless = .zero }.contains("(L1, L19)"))
        let voter = LeaseVoter(startedAt: Tick(nanoseconds: 10))
        #expect(
            try self.said(of: voter) {
                let promise = LeaseVoter.Promise(node: NodeID(2), at: Tick(nanoseconds: 20), duration: .seconds(1))
                $0.promises = [promise, promise]
            }.contains("two promises to"))
        #expect(try self.said(of: voter) { $0.membershipChanged(at: .zero) }.contains("before its start (L5)"))
    }

    @Test func `a group's runner`() throws {
        let policy = GroupPolicy(
            name: self.group, nodes: ["a"], resources: [ResourcePolicy(name: ResourceName("r"), agent: "exec")])
        let runner = GroupRunner(
            policy: policy, epoch: Epoch(generation: 0, index: 9), incarnation: Incarnation(3), firstCall: 1)
        #expect(
            try self.said(of: runner) { $0.call = .init(id: 0, resource: 0) }
                .contains("waits for the start or stop of what is stopped"))
        #expect(try self.said(of: runner) { $0.resources[0].monitorCall = 0 }.contains("is checked while"))
        #expect(try self.said(of: runner) { $0.interrupted = .suspended }.contains("would resume to be suspended"))
        #expect(try self.said(of: runner) { $0.resources[0].state = .opening }.contains("opens no volume"))
    }

    @Test func `a supervisor, and the values in it`() throws {
        let supervisor = try self.supervisor()
        #expect(
            try self.said(of: supervisor) {
                $0.leadership = Leadership(since: .zero, index: .zero, clusterMilliseconds: 0)
            }.contains("leads in its log or in its decisions alone"))
        #expect(try self.said(of: supervisor) { $0.state.skip(to: LogIndex(999)) }.contains("what is not committed"))
        #expect(try self.said(of: supervisor) { $0.birth.isAdmitted = true }.contains("admitted without a life"))
        #expect(try self.said(of: supervisor) { $0.birth.isCaughtUp = true }.contains("nobody confirmed (L10)"))
        #expect(try self.said(of: supervisor) { $0.marks.isDrawnInDoubt = true }.contains("(E4.3)"))
        #expect(
            try self.said(of: supervisor) {
                var known = Acquaintance(node: NodeID(2), counted: $0.identity.memory.present, at: .zero)
                known.evidence = .init(mark: .none, at: .zero, admittedAt: .zero)
                $0.peers.acquaintances = [known]
            }.contains("does not remember what is noted of it (E2.6)"))
        #expect(
            try self.said(of: supervisor) {
                let policy = GroupPolicy(name: self.group, nodes: ["a"], resources: [])
                let runner = GroupRunner(policy: policy, epoch: .none, incarnation: .none, firstCall: 1)
                $0.groups.runners = [runner, runner]
            }.contains("two runners of one group"))
        #expect(
            try self.said(of: supervisor) {
                $0.requests.pending = [
                    .init(sequence: 7, command: .compare(VolumeName("v")), client: nil, againAt: .zero, deadline: .zero)
                ]
            }.contains("would be given twice"))
    }

    @Test func `two reports of one voter`() throws {
        let leadership = Leadership(since: .zero, index: .zero, clusterMilliseconds: 0)
        #expect(
            try self.said(of: leadership) {
                let report = Leadership.Report(voter: NodeID(2), receivedAt: .zero, lines: [])
                $0.reports = [report, report]
            }.contains("two reports of"))
    }
}
