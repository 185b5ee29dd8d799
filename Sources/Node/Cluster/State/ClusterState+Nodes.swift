import Basis
import Raft
import Resources

/// Births, lives and deaths of nodes. (Rules L4 to L8, L14, E2, E3, B1)
extension ClusterState {
    mutating func applyNode(_ command: Command, at index: LogIndex, term: Term) -> Outcome {
        switch command {
        case .bootstrap(let clusterID, let clusterName, let node):
            // Rule B1: only one entry can ever found the cluster.
            guard self.clusterID == 0 else { return .refused("the cluster exists already") }
            self.clusterID = clusterID
            self.clusterName = clusterName
            self.policy.name = clusterName
            self.append(node)
            self.note(.cluster(.founded(clusterName, by: self.named(NodeID(self.nodesEver)))), at: index)
            return .accepted
        case .addNode(let node):
            return self.join(node, at: index)
        case .admit(let node, let bootID, let mark):
            return self.admit(node, bootID: bootID, mark: mark, at: index)
        case .suspect(let node, let incarnation):
            return self.update(node, incarnation, "suspect") { state, record in
                guard record.standing == .trusted else { return "it is not trusted" }
                record.standing = .suspected(at: index)
                record.suspicionTerm = term
                record.since = state.clusterMilliseconds
                state.note(.node(record.named, .silent), at: index)
                return nil
            }
        case .trust(let node, let incarnation, let suspectedAt):
            let outcome = self.update(node, incarnation, "trust") { state, record in
                guard record.standing == .suspected(at: suspectedAt) else { return .over("that suspicion is closed") }
                record.standing = .trusted
                record.since = state.clusterMilliseconds
                state.note(.node(record.named, .heardAgain), at: index)
                return nil
            }
            // A replica may have waited for this. (Rule V21)
            if outcome == .accepted { self.tidyVolumes() }
            return outcome
        case .lost(let node, let incarnation, let suspectedAt):
            return self.lose(node, incarnation, suspectedAt, .leaseEnded, at: index)
        case .fenced(let node, let incarnation, let suspectedAt, let fencingBeganAfter):
            // Rule L14.
            guard fencingBeganAfter >= suspectedAt else {
                return .refused("the fencing began before the suspicion that it should confirm")
            }
            return self.lose(node, incarnation, suspectedAt, .fenced, at: index)
        case .drain(let node, let isDrained):
            guard let place = self.nodes.firstIndex(where: { $0.id == node }) else {
                return .refused(.unknown(.node(node)))
            }
            if isDrained, self.nodes[place].about.isWitness {
                return .refused(
                    "\(self.name(of: node)) is a witness: it runs no group, so there is nothing to drain")
            }
            self.nodes[place].isDrained = isDrained
            self.note(.node(self.nodes[place].named, isDrained ? .drained : .undrained), at: index)
            return .accepted
        case .depart(let node, let incarnation, let isDeparting):
            return self.depart(node, incarnation, isDeparting, at: index)
        case .remark(let node, let incarnation, let mark): return self.remark(node, incarnation, mark)
        default:
            preconditionFailure("not about nodes: \(command)")
        }
    }

    private mutating func depart(
        _ node: NodeID, _ incarnation: Incarnation, _ isDeparting: Bool, at index: LogIndex
    ) -> Outcome {
        self.update(node, incarnation, "depart") { state, record in
            guard record.isDeparting != isDeparting else { return "it is so already" }
            record.isDeparting = isDeparting
            state.note(.node(record.named, isDeparting ? .shutsDown : .stays), at: index)
            return nil
        }
    }

    /// A life that is over does not go on; another one begins only when nothing of it is left. (Rule E4.3)
    private mutating func remark(_ node: NodeID, _ incarnation: Incarnation, _ mark: StartMark) -> Outcome {
        self.update(node, incarnation, "note a mark of") { _, record in
            guard record.standing != .lost, record.standing != .never else { return .over("its life is over") }
            guard record.mark.isBefore(mark) else { return "it is not a later mark of the log that is known" }
            record.mark = mark
            return nil
        }
    }

    mutating func append(_ node: JoiningNode) {
        // An id is never given again: certificates name it.
        self.nodesEver += 1
        let id = NodeID(self.nodesEver)
        self.nodes.append(
            NodeRecord(
                id: id, about: node, standing: .never, incarnation: .none, bootID: "", mark: .none,
                directoryAdmittedAt: .zero, isDrained: false, since: self.clusterMilliseconds))
    }

    private mutating func admit(
        _ node: NodeID, bootID: String, mark: StartMark, at index: LogIndex
    ) -> Outcome {
        guard let place = self.nodes.firstIndex(where: { $0.id == node }) else {
            return .refused(.unknown(.node(node)))
        }
        var record = self.nodes[place]
        // Rule J2: it is on its way out, and no life of it begins any more.
        if record.isRetiring, record.standing == .never || record.standing == .lost {
            return .refused(.unfit("\(record.about.name) is leaving the cluster"))
        }
        // Rule E5: neither of two machines gets a life before a person has said which one is the node.
        if let objection = record.twinObjection(toBoot: bootID) { return .refused(objection) }
        let isOver = record.standing == .never || record.standing == .lost
        let isOther = record.standing != .never && mark.directory != record.mark.directory
        // Rule E2.7: what is known of a log is never lowered, by a late request or by a copy that was brought back.
        if record.standing != .never, !isOther, mark != record.mark, !record.mark.isBefore(mark) {
            return .refused(
                .unfit(
                    "\(record.about.name) shows \(mark) of its log, but \(record.mark) is known: its log was rolled "
                        + "back, or the request came late"))
        }
        if record.bootID == bootID, !isOver, !isOther {
            // The same life: only its daemon was restarted.
            self.nodes[place].mark = mark
            return .accepted
        }
        // Rule E3: another boot id is evidence that the old life ended, not proof: a hypervisor may have left the first
        // machine paused with its lease. It ends as any other does, and the new one waits for that.
        if !isOver, bootID != record.bootID, !isOther {
            if record.mark.isBefore(mark) {
                // Rule E2.5: only the start of the log is let in: without it no voter could report, and nobody be lost,
                // after all machines have restarted.
                self.nodes[place].mark = mark
                return .accepted
            }
            return .refused(
                .unfit(
                    "\(record.about.name) has started anew, and its former life may still hold a lease: it is let in "
                        + "once that has certainly ended"))
        }
        // Rule E2.6: another log directory does not prove that the life that is known has ended. Once it is lost, it has.
        if isOther, !isOver {
            return .refused(
                .unfit(
                    "\(record.about.name) has another log (\(mark.directory)) than the one that is known "
                        + "(\(record.mark.directory)): it may come back once its present life is lost"))
        }
        // Of this boot it asks only when nothing is left, and another boot has nothing of the one before.
        self.forgetRemains(of: node)
        self.forgetAttributes(of: node, ofItsLifeAlone: true)
        if isOther { self.copiesUnseen(on: node) }
        record.standing = .trusted
        record.isDeparting = false
        record.isLeftBehind = false
        record.pauseExpectedUntil = 0
        record.incarnation = Incarnation(index.rawValue)
        record.bootID = bootID
        if record.mark.directory != mark.directory { record.directoryAdmittedAt = index }
        record.mark = mark
        record.longestLease = self.policy.timing.leaseDuration
        record.longestGrace = self.policy.timing.leaseGrace
        record.since = self.clusterMilliseconds
        self.nodes[place] = record
        self.note(.node(record.named, isOther ? .upWithNewLog : .up), at: index)
        return .accepted
    }

    private mutating func lose(
        _ node: NodeID, _ incarnation: Incarnation, _ suspectedAt: LogIndex,
        _ proof: NodeHappening.LossProof, at index: LogIndex
    ) -> Outcome {
        self.update(node, incarnation, "lose") { state, record in
            guard record.standing == .suspected(at: suspectedAt) else { return .over("that suspicion is closed") }
            record.standing = .lost
            record.pauseExpectedUntil = 0
            record.since = state.clusterMilliseconds
            state.note(.node(record.named, .lost(proof)), at: index)
            state.endAssignments(of: node, incarnation: incarnation)
            state.forgetAttributes(of: node, ofItsLifeAlone: true)
            if proof == .fenced { state.forgetRemains(of: node) }
            return nil
        }
    }

    /// A node that is lost so soon after a group came to it may have died of it. (NoFlap)
    private static let suspiciousMilliseconds: UInt64 = 60_000

    mutating func endAssignments(of node: NodeID, incarnation: Incarnation) {
        for place in self.groups.indices {
            guard let assignment = self.groups[place].assignment, assignment.node == node,
                assignment.incarnation == incarnation
            else { continue }
            // A machine that dies, restarts or is cut off is not the group's fault, and uses up none of its moves: unless it
            // went soon after the group had come, which may be what it died of. (NoFlap)
            if self.clusterMilliseconds < self.groups[place].since + Self.suspiciousMilliseconds {
                self.groups[place].moves.append(self.clusterMilliseconds)
            }
            self.groups[place].assignment = nil
            self.groups[place].awaited = []
            self.groups[place].wasCleanlyStopped = false
            self.groups[place].since = self.clusterMilliseconds
            for volume in self.volumes.indices where self.volumes[volume].epoch == self.groups[place].epoch {
                self.volumes[volume].owner = nil
            }
        }
        self.endHoldings { $0.node == node && $0.incarnation == incarnation }
        self.forgetRemovedGroups()
        self.tidyVolumes()
    }

    private mutating func update(
        _ node: NodeID, _ incarnation: Incarnation, _ verb: String,
        _ change: (inout ClusterState, inout NodeRecord) -> Refusal?
    ) -> Outcome {
        guard let place = self.nodes.firstIndex(where: { $0.id == node }) else {
            return .refused(.unknown(.node(node)))
        }
        var record = self.nodes[place]
        guard record.incarnation == incarnation else {
            return .refused(.over("cannot \(verb) \(record.about.name): that was another life of it"))
        }
        if let objection = change(&self, &record) {
            return .refused(objection.about("cannot \(verb) \(record.about.name)"))
        }
        self.nodes[place] = record
        return .accepted
    }
}
