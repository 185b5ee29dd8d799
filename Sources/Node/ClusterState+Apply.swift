import Basis
import Resources

/// What became of a command.
public enum Outcome: Equatable, Sendable {
    /// It took effect.
    case accepted
    /// It no longer fitted; nothing changed.
    case refused(reason: String)
}

extension ClusterState {
    /// Applies the command of one entry. Entries must come in order, each once. `term` is the entry's.
    public mutating func apply(_ entry: LogCommand, at index: LogIndex, term: Term = .zero) -> Outcome {
        precondition(index > self.appliedIndex, "entry \(index) applied after \(self.appliedIndex)")
        self.appliedIndex = index
        self.clusterMilliseconds = max(self.clusterMilliseconds, entry.clusterMilliseconds)
        self.wallMilliseconds = entry.wallMilliseconds
        // Entries that nobody asked for by message, such as those of the founding, have no number.
        if entry.sequence != 0,
            !self.requests.insert(node: entry.origin, nonce: entry.nonce, sequence: entry.sequence)
        {
            return .refused(reason: "this request was applied already")
        }
        if let objection = self.objection(to: entry.command, from: entry.origin) { return .refused(reason: objection) }
        self.asker = entry.origin
        defer { self.asker = nil }
        switch entry.command {
        case .bootstrap, .addNode, .admit, .suspect, .trust, .lost, .fenced, .drain:
            return self.applyNode(entry.command, at: index, term: term)
        case .configure(let policy, let text, let expectedIndex):
            return self.applyConfigure(policy, text, expectedIndex, at: index)
        case .absent, .found, .assign, .release, .stopped, .started, .restarted, .dropped, .declareAbsent:
            return self.applyOwnership(entry.command, at: index)
        case .want, .move, .park, .forgive:
            return self.applyWish(entry.command, at: index)
        case .remains, .confirmStopped:
            return self.applyRemains(entry.command, at: index)
        case .leaves, .joins, .opens, .acceptLoss, .copy, .lacks, .yields, .compare, .allowRepair:
            let outcome = self.applyVolume(entry.command, at: index)
            if outcome == .accepted { self.tidyVolumes() }
            return outcome
        }
    }

    /// Notes that an entry without a command was applied.
    public mutating func skip(to index: LogIndex) {
        precondition(index > self.appliedIndex, "entry \(index) skipped after \(self.appliedIndex)")
        self.appliedIndex = index
    }

    private mutating func applyConfigure(
        _ policy: ClusterPolicy, _ text: String, _ expectedIndex: LogIndex, at index: LogIndex
    ) -> Outcome {
        guard expectedIndex == self.policyIndex else {
            return .refused(
                reason: "the configuration was changed meanwhile (it is at \(self.policyIndex), not \(expectedIndex)); "
                    + "look at the difference with `holdfast plan FILE` and apply again")
        }
        guard policy.name == self.clusterName else {
            return .refused(reason: "this is the cluster \(self.clusterName), not \(policy.name)")
        }
        if let problem = policy.timing.problems.first { return .refused(reason: problem) }
        for group in self.groups where policy.group(group.name) != nil {
            guard let assignment = group.assignment, let before = self.policy.group(group.name) else { continue }
            if before.volumes != policy.group(group.name)?.volumes {
                return .refused(
                    reason: "the volumes of \(group.name) cannot change while it runs on "
                        + "\(self.name(of: assignment.node)); stop it first with `holdfast group stop \(group.name)`")
            }
        }
        if let objection = self.volumeObjection(to: policy) { return .refused(reason: objection) }
        // Rule C3: what is removed while it runs is stopped as it was started.
        for position in self.groups.indices {
            let name = self.groups[position].name
            if policy.group(name) != nil {
                self.groups[position].removedPolicy = nil
            } else if let last = self.policy.group(name) {
                self.groups[position].removedPolicy = last
            }
        }
        let before = self.policy
        self.policy = policy
        self.policyText = text
        self.policyIndex = index
        // Rule L5.1: who lives on may go by what was in force before, for as long as it has not applied this.
        for place in self.nodes.indices {
            self.nodes[place].longestLease = max(self.nodes[place].longestLease, policy.timing.leaseDuration)
            self.nodes[place].longestGrace = max(self.nodes[place].longestGrace, policy.timing.leaseGrace)
        }
        self.groups += policy.groups.filter { self.group($0.name) == nil }.map { group in
            var record = GroupRecord(name: group.name)
            record.since = self.clusterMilliseconds
            return record
        }
        // A group that runs is kept until its owner has stopped it; a configuration change forgives failures.
        self.forgetRemovedGroups()
        for position in self.groups.indices { self.groups[position].bans.removeAll() }
        self.groups.sort { $0.name < $1.name }
        self.beginSearches(before: before, at: index)
        self.reclaim()
        self.configureVolumes(policy, at: index)
        self.note("the configuration was changed", rule: "apply", at: index)
        return .accepted
    }

    /// A group that runs is kept until its owner has stopped it, or has certainly ended. (Rule C3)
    mutating func forgetRemovedGroups() {
        self.groups.removeAll { self.policy.group($0.name) == nil && $0.assignment == nil }
    }

    mutating func note(
        _ sentence: String, rule: String, at index: LogIndex, group: GroupName? = nil, node: NodeID? = nil
    ) {
        // What a person asked for says where that was: who may ask there is root of that machine.
        let asked = ["operator", "apply"].contains(rule) ? self.asker.flatMap { self.node($0)?.about.name } : nil
        let sentence = asked.map { "\(sentence), asked on \($0)" } ?? sentence
        self.events.append(
            ClusterEvent(
                index: index, wallMilliseconds: self.wallMilliseconds,
                sentence: ForeignText.line(sentence, limit: 1000), rule: rule, group: group, node: node))
        if self.events.count > Self.eventsMaximum { self.events.removeFirst(self.events.count - Self.eventsMaximum) }
    }

    /// The wait T that applies to the policy's own lease. (Rule L6)
    public var wait: Span { self.policy.timing.wait(forLease: self.policy.timing.leaseDuration) }
}
