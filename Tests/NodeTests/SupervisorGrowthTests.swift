import Basis
import Cluster
import Raft
import Resources
import Testing

private let a = NodeID(1)

/// Three nodes that run many groups.
private final class Crowd {
    let trio: Trio
    let names: [GroupName]

    init(_ count: Int) throws {
        self.trio = try Trio()
        self.names = (0..<count).map { GroupName("g" + String(10_000 + $0)) }
        #expect(self.trio.settle())
        let groups = self.names.map { name in
            GroupPolicy(
                name: name, nodes: ["a", "b"],
                resources: [ResourcePolicy(name: ResourceName("s-\(name)"), agent: "exec", monitorInterval: .zero)])
        }
        let state = try #require(self.trio.supervisors[a]?.state)
        let policy = ClusterPolicy(name: "prod", groups: groups + state.policy.groups)
        self.trio.step(
            self.trio.leader ?? a,
            .client(id: 1, .propose(.configure(policy, text: "", expectedIndex: state.policyIndex))))
    }

    func isStarted(_ trio: Trio) -> Bool {
        trio.supervisors.values.allSatisfy { supervisor in
            supervisor.state.groups.count > self.names.count
                && supervisor.state.groups.allSatisfy { $0.assignment?.isStarted == true }
        }
    }

    /// Lets everything start, and what is asked for twice settle down.
    func start() {
        #expect(self.trio.pass(milliseconds: 60_000) { self.isStarted($0) })
        self.trio.pass(milliseconds: 2_000)
    }

    /// How many groups the nodes have looked at.
    var looks: UInt64 { self.trio.supervisors.values.reduce(0) { $0 + $1.groups.settledCount } }
    var plans: UInt64 { self.trio.supervisors.values.reduce(0) { $0 + $1.plansMade } }
}

@Suite struct `What a node does grows with what changes` {
    @Test func `an entry makes it look at the group that the entry names, and at no other`() throws {
        let crowd = try Crowd(100)
        crowd.start()
        let before = crowd.looks
        crowd.trio.step(a, .client(id: 2, .propose(.want(crowd.names[50], isRunning: false))))
        crowd.trio.pass(milliseconds: 75)
        let record = crowd.trio.supervisors[a]?.state.group(crowd.names[50])
        #expect(record?.assignment == nil, "it must have stopped meanwhile")
        #expect(crowd.looks - before < 50, "of \(crowd.names.count) groups on three nodes")
    }

    @Test func `ten times the groups are looked at some ten times as often until all run`() throws {
        var looks: [Double] = []
        for count in [30, 300] {
            let crowd = try Crowd(count)
            let before = crowd.looks
            #expect(crowd.trio.pass(milliseconds: 60_000) { crowd.isStarted($0) })
            looks.append(Double(crowd.looks - before))
        }
        #expect(looks[1] < looks[0] * 20, "\(looks)")
    }

    @Test func `many entries one after the other do not each get a plan of their own`() throws {
        let crowd = try Crowd(300)
        let before = crowd.plans
        #expect(crowd.trio.pass(milliseconds: 60_000) { crowd.isStarted($0) })
        let entries = try #require(crowd.trio.supervisors[a]?.state.appliedIndex.rawValue)
        #expect(entries > 300 * 4)
        #expect(crowd.plans - before < 200)
    }

    @Test func `a retried request that is on its way is not written twice`() throws {
        let crowd = try Crowd(100)
        crowd.start()
        let entries = try #require(crowd.trio.supervisors[a]?.state.appliedIndex.rawValue)
        // absent twice, assign, started for each; and what three nodes need to be born.
        #expect(entries < 100 * 4 + 60)
    }
}
