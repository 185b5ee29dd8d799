import Basis
import Raft
import Reports
import Resources

/// The report of `holdfast status`, from one look at this node's supervisor: a function of that look alone.
package struct StatusBuilder {
    let view: SupervisorView
    let state: ClusterState
    let me: NodeID
    let plan: Plan
    let observation: Observation
    /// What each node said about itself a moment ago, this one included; sorted by node.
    private let summaries: [(node: NodeID, receivedAt: Tick, summary: NodeSummary)]
    /// What happened to each group, oldest first.
    let eventsByGroup: [GroupName: [ClusterEvent]]
    let machine: MachineFacts

    /// A leader that was not heard for this long leads no more, as far as this node can tell.
    private static let leaderSilenceMaximum = Span.milliseconds(1500)
    /// A summary older than this says nothing about now.
    static let summaryAgeMaximum = Span.seconds(3)

    /// A report in the making. `machine` is what the supervisor does not know of its own machine.
    package init(_ view: SupervisorView, machine: MachineFacts = MachineFacts()) {
        self.machine = machine
        self.view = view
        self.state = view.supervisor.state
        self.me = view.supervisor.identity.node
        self.observation = view.supervisor.state.observation
        self.plan = Planner.plan(policy: view.supervisor.state.policy, observation: self.observation)
        self.eventsByGroup = Dictionary(
            grouping: view.supervisor.state.events.filter { $0.group != nil }, by: { $0.group ?? GroupName("") })
        // Its own is made once: every group asks for it.
        var summaries = view.supervisor.summaries.filter { entry in
            entry.node != view.supervisor.identity.node && view.now.since(entry.receivedAt) <= Self.summaryAgeMaximum
        }
        let own = (view.supervisor.identity.node, view.now, view.supervisor.summary(at: view.now))
        summaries.insert(own, at: summaries.insertion(of: own.0, by: \.node))
        self.summaries = summaries
    }

    var now: Tick { self.view.now }

    /// A majority answers, as far as this node can tell: it leads, or heard the leader a moment ago.
    var hasQuorum: Bool {
        guard self.view.supervisor.consensus.leader != nil, let seen = self.view.leaderSeenAt else { return false }
        return self.now.since(seen) < Self.leaderSilenceMaximum
    }

    /// The whole report.
    package func report(clusterName: String, nodeName: String) -> StatusReport {
        let consensus = self.view.supervisor.consensus
        let nodes = self.nodes
        let groups = self.groups
        let volumes = self.volumes
        let survives = self.survivesFailures
        var reasons = self.reasons(nodes, groups, volumes)
        let health = self.health(groups, reasons)
        if health == .healthy { reasons = [] }
        return StatusReport(
            cluster: self.state.clusterName.isEmpty ? clusterName : self.state.clusterName, health: health,
            healthSentence: self.sentence(health, nodes, groups, survives), reasons: reasons,
            servedBy: nodeName, servedAgeSeconds: self.view.leaderSeenAt.map { self.seconds(self.now.since($0)) } ?? 0,
            leader: self.hasQuorum ? consensus.leader.map { self.state.name(of: $0) } : nil,
            term: consensus.term.rawValue, commitIndex: consensus.commitIndex.rawValue,
            policyIndex: self.state.policyIndex.rawValue, hasQuorum: self.hasQuorum, survivesFailures: survives,
            boundSeconds: self.recoveries.map(\.worst).max().map { self.seconds($0) },
            usualSeconds: self.usualSeconds, warnings: self.warnings(volumes), notes: self.notes, nodes: nodes,
            groups: groups, volumes: volumes)
    }

    // MARK: Judgement

    private func health(_ groups: [GroupReport], _ reasons: [String]) -> StatusReport.Health {
        if !self.hasQuorum { return .noQuorum }
        let isDown = groups.contains { group in
            switch group.state {
            case .waiting, .parked, .failed: true
            case .running, .starting, .stopping, .stopped, .moving: false
            }
        }
        if isDown { return .down }
        return reasons.isEmpty ? .healthy : .degraded
    }

    private func reasons(
        _ nodes: [NodeReport], _ groups: [GroupReport], _ volumes: [VolumeReport]
    ) -> [String] {
        var found: [String] = []
        if !self.hasQuorum {
            let age = self.view.leaderSeenAt.map { "for \(Amounts.exact(self.rounded(self.now.since($0))))" } ?? "yet"
            found.append("no majority of voters answers \(age): nothing can be decided")
        }
        found += self.generationSentences
        found += self.twinSentences
        found += self.remainsSentences
        if self.view.isPoisoned { found.append("the log of this node cannot be written; see its log") }
        if let since = self.view.supervisor.consensus.diskStalledSince {
            found.append(
                "the disk of this node has not written its log for \(Amounts.exact(self.rounded(self.now.since(since)))): others "
                    + "lead meanwhile (C10); look for device errors (dmesg)")
        }
        if self.view.supervisor.isStranger || self.view.supervisor.hasForgotten {
            found.append(
                "this node has lost its log: it counts nowhere until its known life is over, and then learns the log anew (E2)"
            )
        }
        for record in self.state.nodes where self.view.supervisor.isForgetful(record.id, at: self.now) {
            found.append(
                "\(record.about.name) has lost its log: nothing that it promises counts until it has learned it anew (E2)"
            )
        }
        if self.state.hasLeft(self.me) {
            found.append(
                "this node has left the cluster for good; stop its daemon, and remove its state directory (J6)")
        } else if let node = self.view.supervisor.links.shownOutBy.first {
            found.append(
                "\(self.state.name(of: node)) says that this node has left the cluster, and does not listen to it (J6): stop its "
                    + "daemon, and remove its state directory")
        }
        for distrust in self.view.supervisor.distrusted {
            found.append("\(self.state.name(of: distrust.node)) is not believed any more: \(distrust.violation)")
        }
        if let unreadable = self.view.supervisor.unreadable { found.append("this node: \(unreadable)") }
        for group in groups where ![.running, .stopped].contains(group.state) {
            found.append(
                "group \(group.name) is \(group.state.rawValue)\(group.reason.isEmpty ? "" : ": \(group.reason)")")
        }
        for node in nodes where node.state != .up {
            let how = node.state == .never ? "is not up yet" : "is \(node.state.rawValue)"
            found.append("node \(node.name) \(how)\(node.reason.isEmpty ? "" : ": \(node.reason)")")
        }
        for volume in volumes {
            for replica in volume.replicas where !replica.inSync && !replica.reason.isEmpty {
                found.append("volume \(volume.name) on \(replica.node) is not in sync: \(replica.reason)")
            }
        }
        if self.hasQuorum, self.survivesFailures == 0, found.isEmpty { found.append(self.fragility) }
        return found
    }

    /// Why not even one failure is survived. (Rule B4)
    private var fragility: String {
        let voters = self.view.supervisor.consensus.membership.voters.count
        if voters < 3 {
            let joined = self.state.nodes.count
            return joined < 3
                ? "\(joined) of at least 3 nodes joined: no failure is survived before (a witness counts)"
                : "\(voters) of at least 3 nodes vote: no failure is survived before the others are up and have caught up"
        }
        for group in self.observation.groups {
            guard let policy = self.state.policy.group(group.name), group.isWanted else { continue }
            let eligibility = Eligibility(group, policy, self.observation)
            if eligibility.candidates.count < 2 {
                return "group \(group.name) could run nowhere else: "
                    + (eligibility.exclusions.isEmpty ? "its list names one node" : eligibility.exclusions)
            }
        }
        return "one more failure would cost the majority"
    }

    private func sentence(
        _ health: StatusReport.Health, _ nodes: [NodeReport], _ groups: [GroupReport], _ survives: Int
    ) -> String {
        let up = "\(nodes.filter { $0.state == .up }.count) of \(nodes.count) nodes up"
        switch health {
        case .noQuorum where self.state.hasLeft(self.me): return "this node has left the cluster for good"
        case .noQuorum where self.view.supervisor.isCopy:
            return "this machine is a copy of another one, which is this node"
        case .noQuorum: return "no majority of voters answers: what runs stops when its lease ends"
        case .down:
            let down = groups.filter { [.waiting, .parked, .failed].contains($0.state) }.map(\.name)
            return "\(down.joined(separator: ", ")) \(down.count == 1 ? "does" : "do") not run; \(up)"
        case .degraded, .healthy:
            switch survives {
            case 0: return "\(up), no more may fail"
            case 1: return "\(up), any one may fail"
            default: return "\(up), any \(survives) may fail"
            }
        }
    }

    /// How many nodes, whichever, may fail before a group or the majority is gone.
    var survivesFailures: Int {
        guard self.hasQuorum else { return 0 }
        let membership = self.view.supervisor.consensus.membership
        func spare(_ voters: [NodeID]) -> Int {
            let up = voters.filter { self.state.node($0)?.standing == .trusted }.count
            return max(0, up - (voters.count / 2 + 1))
        }
        var spares = [spare(membership.voters)]
        if membership.isJoint { spares.append(spare(membership.outgoing)) }
        for group in self.observation.groups where group.isWanted {
            guard let policy = self.state.policy.group(group.name) else { continue }
            spares.append(max(0, Eligibility(group, policy, self.observation).candidates.count - 1))
        }
        return spares.min() ?? 0
    }

    private func warnings(_ volumes: [VolumeReport]) -> [String] {
        var found: [String] = []
        let supervisor = self.view.supervisor
        for record in self.state.nodes where !record.about.isWitness && record.standing == .trusted {
            let isGuarded =
                record.id == self.me
                ? supervisor.isGuarded(at: self.now) : self.summary(of: record.id)?.summary.isGuarded
            if isGuarded == false {
                found.append(
                    "\(record.about.name) has no working guard: it starts nothing, and SingleOwner is not promised there (L12)"
                )
            }
        }
        found += self.clockWarnings
        found += self.certificateWarnings
        let membership = supervisor.consensus.membership
        for node in membership.learners where !membership.voters.contains(node) {
            guard let record = self.state.node(node), record.standing == .trusted, record.about.role.mayVote,
                !record.isRetiring
            else { continue }
            found.append(
                "\(self.state.name(of: node)) follows the log without a vote until the number of voters stays odd")
        }
        for volume in volumes {
            guard let owner = volume.owner else { continue }
            let others = volume.replicas.filter { $0.node != owner }
            if !others.isEmpty, others.allSatisfy({ !$0.inSync }) {
                found.append(
                    "if \(owner) dies now, \(volume.name) cannot start on "
                        + "\(others.map(\.node).joined(separator: " or ")): only \(owner) holds every write (V8)")
            }
        }
        return found
    }

    // MARK: Nodes

    var nodes: [NodeReport] {
        let supervisor = self.view.supervisor
        return self.state.nodes.map { record -> NodeReport in
            let isMe = record.id == self.me
            let summary = self.summary(of: record.id)
            let lease: Span? =
                isMe
                ? (supervisor.hasLease(at: self.now) ? supervisor.holder.end.since(self.now) : .zero)
                : summary.map { entry in
                    let age = self.now.since(entry.receivedAt)
                    return entry.summary.leaseRemaining > age
                        ? Span(nanoseconds: entry.summary.leaseRemaining.nanoseconds - age.nanoseconds) : .zero
                }
            let applied = isMe ? self.state.appliedIndex : summary?.summary.appliedIndex
            let (state, reason) = self.standing(record)
            return NodeReport(
                name: record.about.name, site: record.about.site, role: NodeReport.Role(record.about.role),
                state: state,
                address: record.about.address, incarnation: record.incarnation.rawValue,
                leaseRemainingSeconds: lease.map { self.seconds($0) },
                lastHeardSeconds: isMe ? nil : self.lastHeard(record.id).map { self.seconds($0) },
                isLeader: self.hasQuorum && supervisor.consensus.leader == record.id, drained: record.isDrained,
                appliedIndexLag: applied.map { index in
                    let commit = supervisor.consensus.commitIndex.rawValue
                    return commit > index.rawValue ? commit - index.rawValue : 0
                },
                reason: reason,
                sinceSeconds: self.age(since: record.since).map { Double($0) / 1000 },
                labels: record.labels.isEmpty
                    ? nil : Dictionary(record.labels.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }),
                programs: summary?.summary.programs.map { ProgramsReport($0) })
        }.sorted { $0.name < $1.name }
    }

    private func standing(_ record: ClusterState.NodeRecord) -> (NodeReport.State, String) {
        let name = record.about.name
        if record.isRetiring {
            let keeper = self.state.whatKeeps(record.id).map { "it is to leave the cluster, but \($0)" }
            let state = NodeReport.State(record.standing)
            return (state, keeper ?? "it is leaving the cluster for good")
        }
        if record.twins.isOpen { return (NodeReport.State(record.standing), self.twinReason(record)) }
        switch record.standing {
        case .trusted where record.isDeparting: return (.up, "it is shutting down")
        case .lost where record.isDeparting:
            return (.lost, "it was shut down in order; start its daemon, or its machine")
        case .trusted: return (.up, record.isDrained ? "an operator keeps groups away from it" : "")
        case .suspected:
            return (.suspected, "a majority hears nothing from \(name); its lease is being waited for (L6)")
        case .lost: return (.lost, "its lease has certainly ended; start its daemon, or its machine")
        case .never:
            // A daemon that answers, or was heard, was started; saying otherwise would send its operator to start it.
            let wasHeard = record.id == self.me || self.lastHeard(record.id) != nil
            return (
                .never,
                wasHeard
                    ? "its daemon runs, and a majority is about to admit it"
                    : "it joined, and its daemon was not started yet"
            )
        }
    }

    private func lastHeard(_ node: NodeID) -> Span? {
        let summary = self.view.supervisor.summaries.first { $0.node == node }?.receivedAt
        let renewal = self.view.supervisor.voter.lastHeard(node)
        guard let latest = [summary, renewal].compactMap({ $0 }).max() else { return nil }
        return self.now.since(latest)
    }

    /// What another node said about itself a moment ago.
    func summary(of node: NodeID) -> (receivedAt: Tick, summary: NodeSummary)? {
        guard let place = self.summaries.place(of: node, by: \.node) else { return nil }
        return (self.summaries[place].receivedAt, self.summaries[place].summary)
    }

    /// Milliseconds since an instant of cluster time, which stands still between commands: the wall clock bridges the
    /// gap, for people only.
    func age(since: UInt64) -> UInt64? {
        let wall = self.view.wallMilliseconds
        let idle =
            wall > self.state.wallMilliseconds && self.state.wallMilliseconds > 0
            ? wall - self.state.wallMilliseconds : 0
        let present = self.state.clusterMilliseconds + idle
        return present >= since ? present - since : nil
    }

    func seconds(_ span: Span) -> Double { Double(span.milliseconds) / 1000 }
    func rounded(_ span: Span) -> Span { .seconds(max(1, span.milliseconds / 1000)) }
}
