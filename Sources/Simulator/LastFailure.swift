import Basis
import Cluster
import Raft
import Reports
import Resources

/// What `holdfast status` says, against what is so; and the bound that it prints, against a failure.
extension Simulation {
    /// What a node would print.
    func status(of node: SimulatedNode) -> StatusReport? {
        guard let daemon = node.daemon else { return nil }
        let tick = node.tick(at: self.now)
        let view = SupervisorView(
            supervisor: daemon.supervisor, now: tick, wallMilliseconds: self.now / 1_000_000,
            leaderSeenAt: daemon.supervisor.leaderSeen(at: tick), isPoisoned: daemon.performer.isPoisoned)
        return StatusBuilder(view).report(clusterName: "simulated", nodeName: node.name)
    }

    /// What is left to see once everything has recovered.
    func playLastActs() {
        self.checkPreferredLeader()
        self.loseAnnouncedNode()
        self.loseOneNode()
        self.leaveMajoritiesBehind()
    }

    /// StatusTrue: with all well for a while, every node says of every group, node and volume what is so.
    func checkStatus() {
        self.letGather()
        for node in self.nodes {
            guard self.violation == nil, let report = self.status(of: node) else { continue }
            self.count("status reports compared")
            if let lie = self.lie(of: report) { self.fail("StatusTrue: \(node.name) says \(lie)") }
        }
    }

    /// Who does not hear everybody by itself asks before it says anything, as its daemon does when it is asked. (Rule J7)
    private func letGather() {
        let asking = self.nodes.filter { node in
            node.daemon?.supervisor.hearsNotAll(at: node.tick(at: self.now)) == true
        }
        guard !asking.isEmpty else { return }
        for node in asking { self.step(node, .client(id: 1, .gather)) }
        self.advance(to: self.now + 600_000_000)
        self.counts["nodes that asked how others stand", default: 0] += UInt64(asking.count)
    }

    private func lie(of report: StatusReport) -> String? {
        let leader = self.nodes.first { $0.daemon?.supervisor.consensus.isLeader == true }
        if report.leader != leader?.name {
            return "that \(report.leader ?? "nobody") leads, it is \(leader?.name ?? "nobody")"
        }
        if let node = report.nodes.first(where: { $0.state != .up }) { return "that \(node.name) is \(node.state)" }
        for group in report.groups {
            let owner = self.nodes.first { self.isUp(GroupName(group.name), on: $0) }
            let expected: GroupReport.State = owner == nil ? .stopped : .running
            if group.state != expected || expected == .running && group.owner != owner?.name {
                return "that \(group.name) is \(group.state) on \(group.owner ?? "no node"), it is up on "
                    + "\(owner?.name ?? "none")"
            }
        }
        for volume in report.volumes {
            if let replica = volume.replicas.first(where: { !$0.inSync }) {
                return "that \(volume.name) on \(replica.node) is not in sync"
            }
        }
        return report.reasons.isEmpty || report.health == .degraded ? nil : "\(report.health): \(report.reasons)"
    }

    func isUp(_ group: GroupName, on node: SimulatedNode) -> Bool {
        node.daemon?.supervisor.groups.runners.contains { $0.name == group && $0.isUp } == true
    }

    /// BoundedRecovery, as `status` promises it: where it says that any one node may fail, one loses its power, and within the
    /// bound that it prints every group runs again.
    func loseOneNode() {
        guard self.violation == nil,
            let leader = self.nodes.first(where: { $0.daemon?.supervisor.consensus.isLeader == true }),
            let report = self.status(of: leader), report.survivesFailures > 0, let bound = report.boundSeconds
        else { return }
        var random = SeededRandom(seed: self.options.seed ^ 0x6C61_7374_4661_696C)
        let running = report.groups.filter { $0.state == .running }.map { GroupName($0.name) }
        let alive = self.nodes.filter { $0.isOn && $0.daemon != nil }
        let victim = alive[Int(random.below(UInt64(alive.count)))]
        self.count("nodes lost at the end")
        self.note("status promises all groups within \(bound) s of one failure")
        self.isLastFailure = true
        self.powerOff(victim)
        self.advance(to: self.now + UInt64(bound * 1e9))
        for name in running where self.violation == nil && !self.nodes.contains(where: { self.isUp(name, on: $0) }) {
            self.fail(
                "BoundedRecovery: \(name) does not run \(bound) s after \(victim.name) was lost, within which status promised "
                    + "it: \(leader.daemon?.supervisor.state.group(name).map { String(describing: $0) } ?? "no record")"
            )
        }
    }
}
