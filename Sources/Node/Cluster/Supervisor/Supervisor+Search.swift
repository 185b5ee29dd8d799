import Basis
import Resources

/// A member's search for a group that was never started anywhere. (Rule B2)
struct AbsentProbe: Equatable, Sendable {
    /// One resource that is looked for.
    struct Question: Equatable, Sendable {
        var call: UInt64
        var resource: ResourcePolicy
    }
    var group: GroupName
    /// The entry that the search is about.
    var since: LogIndex
    var incarnation: Incarnation
    /// What is not answered yet.
    var waiting: [Question] = []
    /// What this round met that was no clean "not running".
    var finding: ClusterState.Finding?
    /// When a round that met something is followed by the next.
    var againAt = Tick.zero
    /// When the others were last told of what was met.
    var toldAt: Tick?
}

/// The search for groups that were never started: only a clean "not running" of every resource counts as absent. (Rule B2)
extension Supervisor {
    /// What was met is looked for again after this.
    private static let searchPause = Span.seconds(3)
    /// A finding whose words alone change is told no more often than this.
    private static let wordsPause = Span.seconds(60)

    /// Searches for all groups that were never started, or for those of these names.
    mutating func searchForUnborn(
        among names: [GroupName]? = nil, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        // Mostly none is left.
        guard !self.groups.searches.isEmpty || self.state.groups.contains(where: { $0.epoch == .none }) else { return }
        guard let me = self.me, !me.about.isWitness else { return }
        self.endOldSearches(me, among: names, into: &effects)
        var index: ClaimIndex?
        for record in names.map({ $0.compactMap { self.state.group($0) } }) ?? self.state.groups
        where record.epoch == .none && !record.absentOn.contains(me.id) && !self.isRemaining(record.name) {
            guard let policy = self.state.policy.group(record.name), policy.nodes.contains(me.about.name) else {
                continue
            }
            let place: Int
            if let known = self.groups.searches.firstIndex(where: { $0.group == record.name }) {
                place = known
                guard self.groups.searches[known].waiting.isEmpty else { continue }
                guard let finding = self.groups.searches[known].finding else {
                    self.request(
                        .absent(record.name, me.id, me.incarnation, since: record.searchedSince), at: now,
                        into: &effects)
                    continue
                }
                self.tell(finding, of: record, known, at: now, into: &effects)
                guard now >= self.groups.searches[known].againAt else { continue }
            } else {
                // Rule B5.2: what is looked for may be another group's until that has stopped.
                let held = index ?? self.state.claimIndex
                index = held
                let wanted = Claim.all(of: policy.resources)
                guard self.state.holder(against: record, wanted, held) == nil else { continue }
                place = self.groups.searches.count
                self.groups.searches.append(
                    AbsentProbe(group: record.name, since: record.searchedSince, incarnation: me.incarnation))
            }
            self.search(policy, place, into: &effects)
        }
    }

    /// Searches of an earlier configuration or life, and of groups that are gone or were born.
    private mutating func endOldSearches(
        _ me: ClusterState.NodeRecord, among names: [GroupName]?, into effects: inout [SupervisorEffect]
    ) {
        for place in self.groups.searches.indices.reversed() {
            let probe = self.groups.searches[place]
            if let names, !names.contains(probe.group) { continue }
            if let record = self.state.group(probe.group), record.epoch == .none, probe.since == record.searchedSince,
                probe.incarnation == me.incarnation
            {
                continue
            }
            for question in probe.waiting { effects.append(.cancel(question.call)) }
            self.groups.searches.remove(at: place)
        }
    }

    private mutating func search(_ policy: GroupPolicy, _ place: Int, into effects: inout [SupervisorEffect]) {
        self.groups.searches[place].finding = nil
        for resource in policy.resources {
            let call = AgentCall(
                id: self.groups.nextCall, group: policy.name, epoch: .none, resource: resource, action: .probe,
                timeout: resource.monitorTimeout)
            self.groups.nextCall += 1
            self.groups.searches[place].waiting.append(.init(call: call.id, resource: resource))
            effects.append(.call(call))
        }
    }

    /// Takes the answer of a search; false when the call was none of it.
    mutating func searched(
        _ id: UInt64, _ outcome: AgentOutcome, at now: Tick, into effects: inout [SupervisorEffect]
    ) -> Bool {
        for place in self.groups.searches.indices {
            guard let order = self.groups.searches[place].waiting.firstIndex(where: { $0.call == id }) else { continue }
            let resource = self.groups.searches[place].waiting.remove(at: order).resource
            self.groups.changes.add(self.groups.searches[place].group)
            if let met = self.finding(resource, outcome) {
                // What runs says more than what cannot be found out.
                let before = self.groups.searches[place].finding
                if before.map({ !$0.isRunning && met.isRunning }) ?? true { self.groups.searches[place].finding = met }
            }
            if self.groups.searches[place].waiting.isEmpty, let finding = self.groups.searches[place].finding {
                self.groups.searches[place].againAt = now + Self.searchPause
                if let record = self.state.group(self.groups.searches[place].group), record.epoch == .none {
                    self.tell(finding, of: record, place, at: now, into: &effects)
                }
            }
            return true
        }
        return false
    }

    /// Rule B2: a search that failed or did not answer has not found that nothing runs.
    private func finding(_ resource: ResourcePolicy, _ outcome: AgentOutcome) -> ClusterState.Finding? {
        func met(_ isRunning: Bool, _ reason: String) -> ClusterState.Finding {
            ClusterState.Finding(
                node: self.identity.node, resource: resource.name, isRunning: isRunning, reason: reason)
        }
        switch outcome {
        case .notRunning: return nil
        case .success: return met(true, "")
        case .degraded(let reason): return met(true, reason)
        case .failed(let reason, _): return met(false, reason)
        case .timedOut: return met(false, "no answer within \(resource.monitorTimeout)")
        }
    }

    /// Tells the log what was met, if it does not know: `status` and `explain` say it on every node.
    private mutating func tell(
        _ finding: ClusterState.Finding, of record: ClusterState.GroupRecord, _ place: Int, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        if let known = record.findings.first(where: { $0.node == finding.node }) {
            if known == finding { return }
            let isSame = known.resource == finding.resource && known.isRunning == finding.isRunning
            if isSame, let told = self.groups.searches[place].toldAt, now.since(told) < Self.wordsPause { return }
        }
        self.groups.searches[place].toldAt = now
        self.request(
            .found(record.name, finding, self.groups.searches[place].incarnation, since: record.searchedSince), at: now,
            into: &effects)
    }
}
