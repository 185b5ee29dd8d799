import Basis
import Mirror
import Resources

/// The copies of this node and the log: what the servers find is compared with what the log knows. (Rules V18, V20)
extension Supervisor {
    private static let copyPause = Span.milliseconds(500)
    /// How often a server is asked how large its backing is, while its volume is to grow.
    private static let growthPause = Span.seconds(5)

    mutating func settleCopies(at now: Tick, into effects: inout [SupervisorEffect]) {
        let key = LocalVolumes.CopiesKey(applied: self.state.appliedIndex, version: self.volumes.version)
        guard self.birth.isCaughtUp, key != self.volumes.copiesSettledAt || now >= self.volumes.nextLook else { return }
        self.volumes.copiesSettledAt = key
        self.volumes.nextLook = .never
        for place in self.volumes.views.indices where self.volumes.views[place].isConnected {
            guard let report = self.volumes.views[place].report else { continue }
            self.settle(place, report, at: now, into: &effects)
            self.leaveSet(place, at: now, into: &effects)
        }
        self.retireReplicas(at: now, into: &effects)
    }

    /// Rule V21: what is let go is let go for the sake of those that the set names, so a copy that knows that it lacks writes does
    /// not stay in it. While there is an owner that one sees it; an owner's own copy yields (V19).
    private mutating func leaveSet(_ place: Int, at now: Tick, into effects: inout [SupervisorEffect]) {
        let view = self.volumes.views[place]
        guard let role = view.status?.role, role == .incomplete || role == .failed,
            let record = self.state.volume(view.name), record.owner == nil, record.epoch != .none,
            record.inSync.count > 1, record.inSync.contains(self.identity.node),
            let copy = record.copy(of: self.identity.node)?.identity
        else { return }
        // It is made anew: all of it is to be copied, whatever it holds.
        let command = Command.lacks(record.name, volume: record.identity, self.identity.node, copy: copy)
        self.request(command, at: now, into: &effects)
        self.volumes.nextLook = min(self.volumes.nextLook, now + Self.copyPause)
    }

    /// A device may be made larger while its server runs: the log learns it, and the server is asked again as long as the
    /// volume waits for room. (Rule V21)
    private mutating func followCapacity(
        _ place: Int, _ record: ClusterState.VolumeRecord, _ mark: CopyMark, _ capacityBytes: UInt64, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        let name = record.name
        if let known = record.copy(of: self.identity.node),
            known.capacityBytes != capacityBytes || known.bootID != self.identity.bootID
        {
            let word = Command.copy(
                name, volume: record.identity, self.identity.node, mark, capacityBytes: capacityBytes,
                boot: self.identity.bootID)
            self.request(word, at: now, into: &effects)
            self.volumes.nextLook = min(self.volumes.nextLook, now + Self.copyPause)
        }
        guard let wanted = self.state.policy.volume(name)?.sizeBytes, wanted > record.definition.sizeBytes,
            capacityBytes < wanted
        else { return }
        if now >= self.volumes.views[place].askAt {
            self.volumes.views[place].askAt = now + Self.growthPause
            effects.append(.volume(name, .report(question: 0)))
        }
        self.volumes.nextLook = min(self.volumes.nextLook, self.volumes.views[place].askAt)
    }

    /// Rule V1.1: an epoch that the log has ended is over for the copy too, whoever comes with it, and whether or not anybody
    /// has come with a later one. The owner's own copy gets its epoch with `open`.
    private mutating func tellWhatIsOver(
        _ place: Int, _ record: ClusterState.VolumeRecord, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        guard record.epoch != .none, record.owner != self.identity.node else { return }
        if record.isUnproven {
            // Rule R4: whatever the lost majority assigned is over, and nobody here knows what that was.
            let end = Epoch(generation: self.state.generation, index: 0)
            guard self.volumes.views[place].isOver < end else { return }
            self.volumes.views[place].isOver = end
            return effects.append(.volume(record.name, .over(below: end)))
        }
        if record.owner != nil {
            self.volumes.views[place].tellsOverAt = .never
            guard self.volumes.views[place].isOver < record.epoch else { return }
            self.volumes.views[place].isOver = record.epoch
            return effects.append(.volume(record.name, .over(below: record.epoch)))
        }
        guard self.volumes.views[place].isOver <= record.epoch else { return }
        // Most volumes without an owner get one at once, which says as much and is not to wait for a disk.
        if self.volumes.views[place].tellsOverAt == .never {
            self.volumes.views[place].tellsOverAt = now + Self.copyPause
        }
        if now >= self.volumes.views[place].tellsOverAt {
            self.volumes.views[place].tellsOverAt = .never
            self.volumes.views[place].isOver = record.epoch.next
            return effects.append(.volume(record.name, .over(below: record.epoch.next)))
        }
        self.volumes.nextLook = min(self.volumes.nextLook, self.volumes.views[place].tellsOverAt)
    }

    private mutating func settle(
        _ place: Int, _ report: CopyReport, at now: Tick, into effects: inout [SupervisorEffect]
    ) {
        let name = self.volumes.views[place].name
        guard let record = self.state.volume(name), record.identity == report.volume,
            record.definition.replicas.contains(where: {
                $0.node == self.me?.about.name && $0.backing == report.backing
            })
        else { return }
        let node = self.identity.node
        switch report.finding {
        case .none(let reason, let mayMake):
            self.volumes.views[place].problem = reason
            guard mayMake else { return }
            if let known = record.copy(of: node) {
                self.letGo(
                    place, record, .lacks(name, volume: record.identity, node, copy: known.identity), at: now,
                    into: &effects)
            } else {
                self.makeCopy(place, at: now, into: &effects)
            }
        case .ready(let mark):
            switch self.state.judge(mark, of: node, in: record) {
            case .same:
                self.volumes.views[place].problem = ""
                if !mark.isNoted || mark.starts.first != mark.mark, now >= self.volumes.views[place].askAt {
                    self.volumes.views[place].askAt = now + .seconds(5)
                    effects.append(.volume(name, .noted(mark: mark.mark)))
                }
                self.followCapacity(place, record, mark, report.capacityBytes, at: now, into: &effects)
                self.tellWhatIsOver(place, record, at: now, into: &effects)
            case .known, .new:
                self.volumes.views[place].problem = ""
                self.request(
                    .copy(
                        name, volume: record.identity, node, mark, capacityBytes: report.capacityBytes,
                        boot: self.identity.bootID), at: now, into: &effects)
                self.volumes.nextLook = min(self.volumes.nextLook, now + Self.copyPause)
            case .another(let reason):
                guard let known = record.copy(of: node)?.knowledge else {
                    self.volumes.views[place].problem = "the copy in \(report.backing) \(reason)"
                    // A server whose disk failed makes nothing before it was started anew.
                    if self.volumes.views[place].status?.role == .failed { return }
                    return self.makeCopy(place, at: now, into: &effects)
                }
                guard self.isAnswered(place, known, at: now, into: &effects) else { return }
                self.volumes.views[place].problem = "the copy in \(report.backing) \(reason)"
                self.letGo(
                    place, record,
                    .copy(
                        name, volume: record.identity, node, mark, capacityBytes: report.capacityBytes, against: known),
                    at: now, into: &effects)
            }
        }
    }

    /// Rule V18: whether the report is younger than what the log knows of the copy; if not, the server is asked.
    private mutating func isAnswered(
        _ place: Int, _ known: CopyKnowledge, at now: Tick, into effects: inout [SupervisorEffect]
    ) -> Bool {
        if self.volumes.views[place].askedAgainst != known {
            // No question of an earlier life of this daemon has the same number.
            let before = self.volumes.views[place].question
            self.volumes.views[place].question = (before == 0 ? self.identity.nonce : before) &+ 1
            self.volumes.views[place].askedAgainst = known
            self.volumes.views[place].isAnswered = false
            self.volumes.views[place].askAt = .zero
        }
        if self.volumes.views[place].isAnswered { return true }
        if now >= self.volumes.views[place].askAt {
            self.volumes.views[place].askAt = now + Self.copyPause
            effects.append(
                .volume(self.volumes.views[place].name, .report(question: self.volumes.views[place].question)))
        }
        self.volumes.nextLook = min(self.volumes.nextLook, now + Self.copyPause)
        return false
    }

    /// Asks the log to forget the copy of this node, where it would not refuse.
    private mutating func letGo(
        _ place: Int, _ record: ClusterState.VolumeRecord, _ command: Command, at now: Tick,
        into effects: inout [SupervisorEffect]
    ) {
        if self.mayYield(place, record, at: now) {
            self.request(.yields(record.name, record.epoch, version: record.version), at: now, into: &effects)
        } else if let objection = self.state.objectionToLettingGo(of: self.identity.node, in: record) {
            self.volumes.views[place].problem += "; \(objection)"
            if self.volumes.views[place].problem != self.volumes.views[place].notedProblem {
                self.volumes.views[place].notedProblem = self.volumes.views[place].problem
                effects.append(.note(.noCopy(record.name, reason: self.volumes.views[place].problem)))
            }
        } else {
            self.request(command, at: now, into: &effects)
        }
        self.volumes.nextLook = min(self.volumes.nextLook, now + Self.copyPause)
    }

    /// Rule V19: this node owns the volume, its copy cannot count, and nobody was ever served under the present epoch, which
    /// no earlier daemon can have seen: the set of the epoch before counts instead.
    private func mayYield(_ place: Int, _ record: ClusterState.VolumeRecord, at now: Tick) -> Bool {
        guard record.owner == self.identity.node, self.hasLease(at: now) else { return false }
        return !self.mayHaveRun(record.epoch) && self.volumes.views[place].openedEpoch < record.epoch
            && !(record.inSync + record.former).allSatisfy { $0 == self.identity.node }
    }

    private mutating func makeCopy(_ place: Int, at now: Tick, into effects: inout [SupervisorEffect]) {
        if now >= self.volumes.views[place].askAt {
            self.volumes.views[place].askAt = now + Self.copyPause
            effects.append(.volume(self.volumes.views[place].name, .makeCopy))
        }
        self.volumes.nextLook = min(self.volumes.nextLook, now + Self.copyPause)
    }

    /// The owner asks for `leaves` of replicas that the policy has no more. (Rules V3, V21)
    private mutating func retireReplicas(at now: Tick, into effects: inout [SupervisorEffect]) {
        guard self.hasLease(at: now) else { return }
        for record in self.state.volumes where record.owner == self.identity.node {
            guard let wanted = self.state.policy.volume(record.name),
                record.definition.replicas.count > wanted.replicas.count
            else { continue }
            for node in record.inSync where node != self.identity.node {
                let name = self.state.name(of: node)
                if wanted.replicas.contains(where: { $0.node == name }) { continue }
                self.request(
                    .leaves(record.name, record.epoch, version: record.version, node), at: now, into: &effects)
                self.volumes.nextLook = min(self.volumes.nextLook, now + Self.copyPause)
            }
        }
    }
}
