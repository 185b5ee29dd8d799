import Basis
import Raft

/// What the cluster has agreed that all nodes can do, and who cannot. (Rules U1, U2)
extension Release {
    /// The state in a snapshot, unless the cluster that it is of has agreed on more than this release can do.
    func state(decoding bytes: [UInt8]) throws(CodecError) -> ClusterState {
        let state = try ClusterState(decoding: bytes)
        guard state.level <= self.level else { throw .foreignLevel(state.level, own: self) }
        return state
    }

    /// Rule U2: what is committed in a log may be beyond what this release can do. What is not may be cut off again.
    func check(_ restored: RestoredState) throws(CodecError) {
        for entry in restored.entries where entry.mark.index <= restored.hardState.commit {
            guard case .command(let bytes) = entry.payload, let level = LogCommand.raisedLevel(bytes),
                level > self.level
            else { continue }
            throw .foreignLevel(level, own: self)
        }
    }
}

extension Supervisor {
    /// What another node said a moment ago counts, and no longer: it may have another release by now.
    private static let wordMaximum = Span.seconds(3)

    /// Why a node is not known to be able to do a feature level; nil if it is. (Rule U1)
    public func objection(toCounting node: NodeID, for level: FeatureLevel, at now: Tick) -> String? {
        var release: Release?
        if node == self.identity.node {
            release = self.identity.release
        } else if let word = self.telling.summaries.first(where: { $0.node == node }),
            now.since(word.receivedAt) <= Self.wordMaximum
        {
            guard let programs = word.summary.programs else {
                return "does not say what it runs: it is of an earlier release, or heard through another node"
            }
            release = programs.daemon
        }
        guard let release else { return "is not heard" }
        return release.level < level ? "runs \(release.version), which does feature level \(release.level)" : nil
    }

    /// Why this node, asked or leading, does not take an order to raise the level. (Rule U1)
    func raiseObjection(_ command: Command, at now: Tick) -> Refusal? {
        guard case .raise(let level, _) = command else { return nil }
        for record in self.state.nodes {
            if let reason = self.objection(toCounting: record.id, for: level, at: now) {
                return .unfit("\(record.about.name) \(reason)")
            }
        }
        return nil
    }

    /// Who cannot read the log knows of no assignment from there on: it says that it goes, stops in order what it runs, and gives
    /// its lease back once the others have had the time to hear of it. (Rules U2, L21)
    mutating func settleUnreadable(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard self.applied.unreadable != nil else { return }
        if self.consensus.outline.isLeader { self.handLeadershipOver(at: now, into: &effects) { _ in true } }
        guard !self.hasResigned, self.birth.incarnation != .none, let me = self.me else {
            return
        }
        self.request(.depart(me.id, me.incarnation, isDeparting: true), at: now, into: &effects)
        if !self.isEmptied {
            self.stopAll(at: now, into: &effects)
            self.departure.emptySince = nil
            return
        }
        let since = self.departure.emptySince ?? now
        self.departure.emptySince = since
        guard now >= since + Self.shutDownPatience else { return }
        self.resign(into: &effects)
    }
}
