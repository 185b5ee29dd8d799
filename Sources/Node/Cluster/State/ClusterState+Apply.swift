import Basis
import Resources

/// What became of a command.
public enum Outcome: Equatable, Sendable {
    /// It took effect.
    case accepted
    /// It no longer fitted; nothing changed.
    case refused(Refusal)
}

extension ClusterState {
    /// Applies the command of one entry. Entries must come in order, each once. `term` is the entry's.
    public mutating func apply(_ entry: LogCommand, at index: LogIndex, term: Term = .zero) -> Outcome {
        precondition(index > self.appliedIndex, "entry \(index) applied after \(self.appliedIndex)")
        #if DEBUG
            defer { self.assertInvariants() }
        #endif
        self.appliedIndex = index
        self.clusterMilliseconds = max(self.clusterMilliseconds, entry.clusterMilliseconds)
        self.wallMilliseconds = entry.wallMilliseconds
        // Entries that nobody asked for by message, such as those of the founding, have no number.
        if entry.sequence != 0,
            !self.requests.insert(node: entry.origin, nonce: entry.nonce, sequence: entry.sequence)
        {
            return .refused(.repeated)
        }
        if let objection = self.objection(to: entry.command, from: entry.origin) { return .refused(objection) }
        self.touched.asker = entry.origin
        defer { self.touched.asker = nil }
        switch entry.command {
        case .bootstrap, .addNode, .admit, .suspect, .trust, .lost, .fenced, .drain, .depart, .remark:
            return self.applyNode(entry.command, at: index, term: term)
        case .recovered(let plan): return self.recover(plan, at: index)
        case .raise(let level, let nodes): return self.raise(to: level, counting: nodes, at: index)
        case .expectPause(let node, let life, let length): return self.expectPause(node, life, length, at: index)
        case .duplicated(let node, let twins, let settledAt):
            return self.duplicated(node, twins, after: settledAt, at: index)
        case .original(let node, let bootID): return self.original(node, bootID, at: index)
        case .certified(let node, let record): return self.certified(node, record, at: index)
        case .changeAuthority(let change): return self.changeAuthority(change, at: index)
        case .setNode, .retire, .replaceNode, .expel:
            let outcome = self.applyMembers(entry.command, at: index)
            // Who was waited for may have left. (Rule I2)
            if outcome == .accepted { self.advanceExchange(at: index) }
            return outcome
        case .configure(let policy, let text, let expectedIndex):
            return self.applyConfigure(policy, text, expectedIndex, at: index)
        case .absent, .found, .assign, .release, .stopped, .started, .restarted, .dropped, .declareAbsent:
            return self.applyOwnership(entry.command, at: index)
        case .want, .move, .note:
            return self.applyOperator(entry.command, at: index)
        case .putAttribute, .deleteAttribute:
            return self.applyAttribute(entry.command, at: index)
        case .park, .forgive:
            return self.applyPlanner(entry.command, at: index)
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

    /// The wait T that applies to the policy's own lease. (Rule L6)
    public var wait: Span { self.policy.timing.wait(forLease: self.policy.timing.leaseDuration) }
}
