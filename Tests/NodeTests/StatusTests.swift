import Basis
import Reports
import Resources
import Testing

@testable import Cluster

extension Trio {
    /// What `status` would be made from on a node now.
    func view(of id: NodeID) -> SupervisorView? {
        self.supervisors[id].map { supervisor in
            let now = self.tick(of: id)
            return SupervisorView(
                supervisor: supervisor, now: now, wallMilliseconds: now.nanoseconds / 1_000_000,
                leaderSeenAt: supervisor.leaderSeen(at: now))
        }
    }

    /// What `status` says on a node, a line for each thing: judgement, reasons, warnings, nodes, groups, copies.
    func status(of id: NodeID) -> [String] {
        guard let view = self.view(of: id) else { return ["no daemon"] }
        let report = StatusBuilder(view).report(clusterName: "prod", nodeName: "\(id)")
        let worry = { (reason: String) in reason.isEmpty ? "" : ": \(reason)" }
        return ["\(report.health): \(report.healthSentence)"] + report.reasons.map { "because \($0)" }
            + report.warnings.map { "warning: \($0)" } + report.notes.map { "note: \($0)" }
            + report.nodes.map { "node \($0.name) \($0.state)\(worry($0.reason))" }
            + report.groups.map { group in
                "group \(group.name) \(group.state)\(group.owner.map { " on \($0)" } ?? "")\(worry(group.reason))"
            }
            + report.volumes.flatMap { volume in
                volume.replicas.map { copy in
                    "\(volume.name) on \(copy.node): \(copy.role), \(copy.inSync ? "in sync" : "lacks writes")"
                        + worry(copy.reason)
                }
            }
    }

    /// What `explain` says about the group on a node.
    func explanation(on id: NodeID) -> [String] {
        guard let view = self.view(of: id), let report = Explainer(StatusBuilder(view)).report(Self.orders.rawValue)
        else { return ["no such group"] }
        return [report.sentence] + report.reasons.map { "because \($0)" }
            + report.candidates.map { "\($0.node) \($0.eligible ? "may" : "may not"): \($0.reason)" }
            + (report.nextStep.map { ["next: \($0)"] } ?? []) + (report.recovery.map { [$0] } ?? [])
    }
}

/// What people are told is a function of one look at a supervisor, and nothing else.
@Suite struct StatusTests {
    /// Everything that is said from a look.
    private func answers(_ view: SupervisorView) -> (StatusReport, ExplainReport?) {
        let builder = StatusBuilder(view, machine: MachineFacts(watchdogLack: "no device", carriers: [:]))
        return (builder.report(clusterName: "prod", nodeName: "a"), Explainer(builder).report("orders"))
    }

    @Test func `a copy of a supervisor goes on saying what it said, whatever its node does meanwhile`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        let owner = try #require(trio.owner)
        let witness = try #require(Trio.ids.first { $0 != owner && $0 != NodeID(3) })
        trio.pass(milliseconds: 2000)
        let view = try #require(trio.view(of: witness))
        let before = self.answers(view)
        #expect(before.0.health == .healthy)
        trio.stopped.insert(owner)
        trio.pass(milliseconds: 6000)
        let later = try #require(trio.view(of: witness))
        #expect(self.answers(later).0 != before.0)
        #expect(self.answers(view) == before)
    }

    @Test func `two supervisors that lived through the same say the same`() throws {
        func lived() throws -> [StatusReport] {
            let trio = try Trio(volume: true)
            #expect(trio.settle())
            trio.cut(NodeID(1), NodeID(2))
            trio.pass(milliseconds: 3000)
            return Trio.ids.compactMap { trio.view(of: $0) }.map { self.answers($0).0 }
        }
        let reports = try lived()
        #expect(reports.count == 3)
        #expect(try lived() == reports)
    }

    @Test func `every node says what each other runs, and what outlived its daemon`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        let old = NodePrograms.Helper(version: "0.0.9", isPresent: false)
        trio.step(NodeID(2), .runs(.guardian, old, isRenewable: false))
        trio.step(
            NodeID(2),
            .runs(.server(VolumeName("b")), NodePrograms.Helper(version: nil, isPresent: true), isRenewable: false))
        trio.step(NodeID(2), .runs(.server(VolumeName("a")), old, isRenewable: false))
        trio.pass(milliseconds: 1500)
        let expected = ProgramsReport(
            version: Release.present.version, featureLevel: Release.present.level.rawValue,
            guard: .init(version: "0.0.9", isPresent: false),
            volumeServers: [
                "a": .init(version: "0.0.9", isPresent: false), "b": .init(version: nil, isPresent: true),
            ])
        for id in Trio.ids {
            let report = StatusBuilder(try #require(trio.view(of: id))).report(clusterName: "prod", nodeName: "\(id)")
            #expect(report.nodes.filter { $0.programs?.guard != nil }.map(\.programs) == [expected])
        }
        trio.step(NodeID(2), .runs(.guardian, nil, isRenewable: false))
        trio.step(NodeID(2), .runs(.server(VolumeName("a")), nil, isRenewable: false))
        let servers = try #require(trio.supervisors[NodeID(2)]).summary(at: trio.tick).programs?.servers
        #expect(servers?.map(\.volume) == [VolumeName("b")])
    }

    @Test func `a look later at the same supervisor ages what it knows, and changes nothing that the log says`() throws
    {
        let trio = try Trio()
        #expect(trio.settle())
        let follower = try #require(Trio.ids.first { $0 != trio.leader })
        var view = try #require(trio.view(of: follower))
        let before = self.answers(view).0
        view.now = view.now + .seconds(60)
        let after = self.answers(view).0
        #expect(before.hasQuorum)
        #expect(!after.hasQuorum)
        #expect(after.groups.map(\.epoch) == before.groups.map(\.epoch))
        #expect(after.policyIndex == before.policyIndex)
    }
}
