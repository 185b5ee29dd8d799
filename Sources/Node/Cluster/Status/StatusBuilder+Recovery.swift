import Basis
import Raft
import Resources

/// How long a failure lasts: for the sentence under the first line of `status`, and for `explain`.
extension StatusBuilder {
    /// One group after the death of its owner.
    struct Recovery {
        var group: GroupName
        /// Until it may start elsewhere.
        var wait: Span
        /// What its last start took, if the log still tells.
        var lastStart: Span?
        /// The sum of its start timeouts.
        var startTimeouts: Span
        var isImmediate: Bool

        var usual: Span? { self.lastStart.map { self.wait + StatusBuilder.decision + $0 } }
        /// A new leader, should the old one have died too.
        var election: Span

        var worst: Span { self.wait + self.election + self.startTimeouts }
    }

    /// An entry or two and the messages around them.
    fileprivate static let decision = Span.milliseconds(300)

    /// Every group of the configuration. (BoundedRecovery)
    var recoveries: [Recovery] {
        let policy = self.state.policy
        return policy.groups.map { group in
            let isImmediate = group.takeover == .immediate
            return Recovery(
                group: group.name, wait: isImmediate ? policy.timing.detection : self.state.wait,
                lastStart: self.lastStart(of: group.name),
                startTimeouts: group.resources.reduce(Span.zero) { $0 + $1.startTimeout }, isImmediate: isImmediate,
                election: self.view.supervisor.consensus.longestPatience)
        }
    }

    /// The longest of the usual times; nil when no group was started as far back as the events go.
    var usualSeconds: Double? { self.recoveries.compactMap(\.usual).max().map { self.seconds($0) } }

    /// From the assignment of the present epoch to the report that it runs. By the leader's wall clock, for people only.
    private func lastStart(of name: GroupName) -> Span? {
        guard let record = self.state.group(name), record.assignment?.isStarted == true else {
            return nil
        }
        let events = (self.eventsByGroup[name] ?? []).filter { $0.index.rawValue >= record.epoch.index }
        guard let assigned = events.first(where: { $0.index.rawValue == record.epoch.index }),
            let started = events.first(where: { event in
                guard case .group(_, .started(_, record.epoch)) = event.happening else { return false }
                return true
            }), started.wallMilliseconds >= assigned.wallMilliseconds
        else { return nil }
        return .milliseconds(started.wallMilliseconds - assigned.wallMilliseconds)
    }

    /// How long this group is away when its owner dies, and what that is made of.
    func recoverySentence(_ name: GroupName) -> String? {
        guard let recovery = self.recoveries.first(where: { $0.group == name }) else { return nil }
        if let objection = self.successionObjection(name) { return objection }
        let wait = Amounts.age(self.seconds(recovery.wait))
        let why =
            recovery.isImmediate
            ? "\(wait) until a majority has missed its owner (takeover: immediate)"
            : "\(wait) until its owner's lease has certainly ended (L6)"
        let worst = Amounts.age(self.seconds(recovery.worst))
        let timeouts = Amounts.age(self.seconds(recovery.startTimeouts))
        let limit = "at worst within \(worst), when its starts use up their timeouts of \(timeouts)"
        guard let usual = recovery.usual, let start = recovery.lastStart else {
            return "if its owner dies it runs again \(limit); before that come \(why)"
        }
        return "if its owner dies it usually runs again in about \(Amounts.age(self.seconds(usual))): \(why), "
            + "then \(Amounts.age(self.seconds(start))) as its last start took; \(limit)"
    }

    /// Why nobody could take the group over now: what bans, drains or lacks data promises nothing.
    private func successionObjection(_ name: GroupName) -> String? {
        guard let policy = self.state.policy.group(name), let observed = self.observation.group(name),
            let owner = observed.owner
        else { return nil }
        let eligibility = Eligibility(observed, policy, self.observation)
        guard eligibility.candidates.allSatisfy({ $0 == owner }) else { return nil }
        let others = eligibility.excluded.filter { $0.node != owner }.map { "\($0.node) \($0.reason)" }
        return others.isEmpty
            ? "if its owner dies it waits for it: no other node is in its list"
            : "if its owner dies it waits: \(others.joined(separator: "; "))"
    }

    // MARK: Pauses

    /// A sentence about each pause that is expected. (Rule L22)
    private var pauseNotes: [String] {
        guard let present = self.age(since: 0) else { return [] }
        return self.state.nodes.compactMap { record in
            guard self.state.isPauseExpected(of: record, at: present) else { return nil }
            let left = (record.pauseExpectedUntil - present + 999) / 1000
            return
                "\(record.about.name) is expected to pause, for \(left) s at most: nothing is taken over from it meanwhile (L22)"
        }
    }

    // MARK: Watchdog

    /// Facts that limit a promise and need no action. (Rule L12)
    var notes: [String] {
        let notes = self.upgradeNote + self.pauseNotes + self.exchangeNotes
        guard let reason = self.machine.watchdogLack else { return notes }
        return notes + [
            "\(self.state.name(of: self.me)) has no watchdog (\(reason)): should its kernel hang and wake up, "
                + "services may run there a moment too long (L12)"
        ]
    }
}
