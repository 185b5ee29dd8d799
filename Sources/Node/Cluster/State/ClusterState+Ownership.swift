import Basis
import Resources

/// Who owns which group. (Rules L1, L11, B2, V7, V8, E1)
extension ClusterState {
    mutating func applyOwnership(_ command: Command, at index: LogIndex) -> Outcome {
        switch command {
        case .absent, .found, .declareAbsent:
            return self.applySearch(command, at: index)
        case .assign(let group, let node, let incarnation, let replacing, let isTakeover, let reason):
            return self.assign(group, node, incarnation, replacing, isTakeover, reason, at: index)
        case .release(let group, let epoch, let target, let reason):
            return self.updateGroup(group) { state, record in
                guard record.epoch == epoch, var assignment = record.assignment else {
                    return .over("the epoch is over")
                }
                guard assignment.releasing == nil else { return "its owner was told already" }
                assignment.releasing = reason
                record.assignment = assignment
                if let target { record.target = target }
                record.since = state.clusterMilliseconds
                let owner = state.named(assignment.node)
                state.note(.group(group, .released(on: owner, epoch, reason: KeptWords(reason))), at: index)
                return nil
            }
        case .started(let group, let epoch):
            return self.updateGroup(group) { state, record in
                guard record.epoch == epoch, var assignment = record.assignment else {
                    return .over("the epoch is over")
                }
                guard !assignment.isStarted else { return "it was reported already" }
                assignment.isStarted = true
                state.noteWritten(epoch)
                record.assignment = assignment
                record.since = state.clusterMilliseconds
                state.note(.group(group, .started(on: state.named(assignment.node), epoch)), at: index)
                return nil
            }
        case .restarted(let group, let epoch, let resource, let reason):
            return self.updateGroup(group) { state, record in
                guard record.epoch == epoch, let owner = record.assignment?.node else {
                    return .over("the epoch is over")
                }
                let restarted = GroupHappening.restarted(
                    on: state.named(owner), epoch, resource, reason: KeptWords(reason))
                state.note(.group(group, restarted), at: index)
                return nil
            }
        case .stopped(let group, let epoch, let failure):
            return self.stop(group, epoch, failure, at: index)
        case .dropped(let group, let epoch, let version):
            return self.applyDropped(group, epoch, version)
        default:
            preconditionFailure("not about ownership: \(command)")
        }
    }

    private mutating func stop(
        _ group: GroupName, _ epoch: Epoch, _ failure: GroupFailure?, at index: LogIndex
    ) -> Outcome {
        if self.holdings.contains(where: { $0.group == group && $0.epoch == epoch }),
            self.group(group)?.epoch != epoch || self.group(group)?.assignment == nil
        {
            // Rule B5.1: an owner that was taken over from has stopped at last.
            self.endHoldings { $0.group == group && $0.epoch == epoch }
            return .accepted
        }
        return self.updateGroup(group) { state, record in
            // Rule L11: refused unless the group still has that epoch.
            guard record.epoch == epoch, let assignment = record.assignment else { return .over("the epoch is over") }
            let owner = state.named(assignment.node)
            record.assignment = nil
            record.awaited = []
            state.endHoldings { $0.group == group && $0.epoch == epoch }
            record.wasCleanlyStopped = true
            record.since = state.clusterMilliseconds
            if let failure {
                if failure.isFatal {
                    record.parked = "\(failure.resource) \(failure.reason) on \(owner.name), which no node can cure"
                }
                record.bans.removeAll { $0.node == assignment.node }
                record.bans.append(.init(node: assignment.node, failure: failure, since: state.clusterMilliseconds))
                let reason = KeptWords(failure.reason)
                state.note(.group(group, .gaveUp(on: owner, epoch, failure.resource, reason: reason)), at: index)
            } else {
                state.note(.group(group, .stopped(on: owner, epoch)), at: index)
            }
            for volume in state.volumes.indices where state.volumes[volume].epoch == epoch {
                state.volumes[volume].owner = nil
            }
            state.tidyVolumes()
            return nil
        }
    }

    private mutating func assign(
        _ group: GroupName, _ node: NodeID, _ incarnation: Incarnation, _ replacing: Epoch, _ isTakeover: Bool,
        _ reason: String, at index: LogIndex
    ) -> Outcome {
        self.updateGroup(group) { state, record in
            guard let policy = state.policy.group(group) else { return "it is not in the configuration" }
            guard record.epoch == replacing else { return .over("the epoch is over") }
            guard let owner = state.node(node), owner.standing == .trusted, owner.incarnation == incarnation,
                !owner.about.isWitness
            else { return "\(state.name(of: node)) may not own it now" }
            if let assignment = record.assignment {
                // Without the old owner's word, only a silent owner of an `immediate` group is replaced.
                guard isTakeover, policy.takeover == .immediate,
                    case .suspected? = state.node(assignment.node)?.standing
                else { return "\(state.name(of: assignment.node)) still owns it" }
                record.wasCleanlyStopped = false
            }
            if !isTakeover, let left = state.blockingRemains(of: record, at: state.clusterMilliseconds) {
                return "\(state.name(of: left.node)) \(left.remains.reason)"
            }
            if let objection = state.birthObjection(record, policy) { return .unfit(objection) }
            if let objection = state.claimObjection(record, policy, on: node) { return .unfit(objection) }
            for volume in policy.volumes {
                if let objection = state.dataObjection(volume, on: node) { return .unfit(objection) }
            }
            let epoch = Epoch(generation: state.generation, index: index.rawValue)
            precondition(epoch > record.epoch, "EpochMonotone: \(epoch) after \(record.epoch)")
            for volume in policy.volumes {
                state.promote(volume, to: node, epoch: epoch, isClean: record.wasCleanlyStopped)
            }
            if let last = record.lastOwner, last != node {
                let window = policy.moveWindow.milliseconds
                let now = state.clusterMilliseconds
                record.moves.removeAll { $0 + window < now }
                // What a person, a shutdown or the loss of a machine moves does not flap. (NoFlap)
                if record.target == nil, record.bans.contains(where: { $0.node == last }) { record.moves.append(now) }
            }
            record.epoch = epoch
            record.assignment = .init(node: node, incarnation: incarnation, isStarted: false, releasing: nil)
            record.lastOwner = node
            record.awaited = []
            state.hold(policy, epoch, node, incarnation)
            record.wasCleanlyStopped = false
            record.target = nil
            record.since = state.clusterMilliseconds
            let assigned = GroupHappening.assigned(
                to: state.named(node), epoch, isTakeover: isTakeover, reason: KeptWords(reason))
            state.note(.group(group, assigned), at: index)
            return nil
        }
    }

    mutating func updateGroup(
        _ group: GroupName, _ change: (inout ClusterState, inout GroupRecord) -> Refusal?
    ) -> Outcome {
        guard let place = self.groups.place(of: group, by: \.name) else {
            return .refused(.unknown(.group(group)))
        }
        self.touched.names.append(group)
        var record = self.groups[place]
        if let objection = change(&self, &record) { return .refused(objection.about("\(group)")) }
        self.groups[place] = record
        if record.assignment == nil, self.policy.group(group) == nil { self.groups.remove(at: place) }
        return .accepted
    }
}
