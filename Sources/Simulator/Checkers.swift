import Basis
import Cluster
import Raft
import Resources

/// The guarantees, looked at after every step.
struct Checkers {
    /// The truth of each generation that ever began, and which one each node takes part in.
    private var truths = [GenerationTruth()]
    private var truthOf: [Int] = []
    private var highestEpoch = Epoch.none
    private var seen: [Seen] = []
    /// A bit for each node that owned the group when it was last looked at.
    private var owning: UInt64 = 0
    private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325

    /// The log once more, applied by nobody: that of the latest generation.
    var history: History {
        get { self.truths[self.truths.count - 1].history }
        _modify { yield &self.truths[self.truths.count - 1].history }
    }

    /// Raft once more, which the real one is compared with, for what a node does.
    subscript(model node: NodeID) -> RaftModel {
        get { self.truths[self.truth(of: node)].model }
        _modify { yield &self.truths[self.truth(of: node)].model }
    }

    private func truth(of node: NodeID) -> Int {
        let place = Int(node.rawValue) - 1
        return self.truthOf.indices.contains(place) ? self.truthOf[place] : 0
    }

    /// What was last seen of one node, so that a look costs little where nothing changed.
    private struct Seen {
        /// Who comes to lead appends an entry.
        var logVersion = UInt64.max
        var runnersVersion = UInt64.max
        var appliedUpTo: UInt64 = 0
        /// While it leads: its term and the end of its log.
        var leading: (term: UInt64, last: LogMark)?
        /// The group's epoch here, while it is to be up.
        var epoch: Epoch?
    }

    /// What a node had applied before the step under way.
    func applied(by node: NodeID) -> LogIndex { LogIndex(self.seen[Int(node.rawValue) - 1].appliedUpTo) }

    mutating func restarted(_ node: SimulatedNode, _ restored: RestoredState, in simulation: Simulation) {
        let place = Int(node.id.rawValue) - 1
        while self.seen.count <= place { self.seen.append(Seen()) }
        self.seen[place] = Seen()
        self.seen[place].appliedUpTo = restored.snapshot?.mark.index.rawValue ?? 0
        self.follow(node.generation.generation, node.id)
        self[model: node.id].restarted(node.id, restored)
        if let violation = self[model: node.id].violation { simulation.fail(violation) }
    }

    /// It goes on from an earlier moment: what it applies again is looked at again.
    mutating func takenBack(_ node: SimulatedNode, appliedUpTo: LogIndex) {
        let place = Int(node.id.rawValue) - 1
        self.seen[place] = Seen()
        self.seen[place].appliedUpTo = appliedUpTo.rawValue
        self[model: node.id].takenBack(node.id)
    }

    // MARK: Generations (rules R1 to R5)

    /// A node follows what others began: from now on it is held against that.
    mutating func follow(_ generation: Generation, _ node: NodeID) {
        guard let truth = self.truths.firstIndex(where: { $0.generation == generation }), truth != self.truth(of: node)
        else { return }
        let held = self[model: node].durable(node)
        self.assign(node, to: truth)
        self.truths[truth].model.comesOver(node, holding: held)
    }

    private mutating func assign(_ node: NodeID, to truth: Int) {
        let place = Int(node.rawValue) - 1
        while self.truthOf.count <= place { self.truthOf.append(0) }
        self.truthOf[place] = truth
    }

    /// Who leads in a generation that nobody has led in begins it, with its own log as all that was ever decided. (Rule R5)
    private mutating func noteBeginning(_ node: NodeID, _ daemon: SimulatedDaemon, in simulation: Simulation) {
        let generation = daemon.supervisor.generation.generation
        guard generation != self.truths[self.truth(of: node)].generation,
            !self.truths.contains(where: { $0.generation == generation })
        else { return self.follow(generation, node) }
        var truth = self.truths[self.truth(of: node)]
        truth.begins(generation, by: node, at: simulation.now)
        simulation.note("\(node) begins generation \(generation.number) after entry \(truth.model.committedIndex)")
        simulation.count("generations begun")
        self.truths.append(truth)
        for other in simulation.nodes where other.generation.generation == generation {
            self.assign(other.id, to: self.truths.count - 1)
        }
    }

    mutating func look(at node: SimulatedNode, in simulation: Simulation) {
        if !simulation.swarm.isEmpty { simulation.checkOwners(of: node) }
        if let daemon = node.daemon {
            self.look(at: node, daemon, in: simulation)
        } else {
            self.checkSingleOwner(node, in: simulation)
        }
    }

    mutating func look(at node: SimulatedNode, _ daemon: SimulatedDaemon, in simulation: Simulation) {
        self.checkSingleOwner(node, in: simulation)
        let place = Int(node.id.rawValue) - 1
        if daemon.supervisor.consensus.outline.logVersion != self.seen[place].logVersion
            || daemon.supervisor.consensus.outline.isLeader != (self.seen[place].leading != nil)
            || daemon.supervisor.state.appliedIndex.rawValue != self.seen[place].appliedUpTo
            || daemon.supervisor.groups.version != self.seen[place].runnersVersion
        {
            if let distrust = daemon.supervisor.distrusted.first {
                simulation.fail("Raft: \(node.name) does not believe \(distrust.node): \(distrust.violation)")
            }
            self.checkLeader(place, daemon, in: simulation)
            self.checkApplied(place, daemon, in: simulation)
            self.noteEpoch(place, daemon)
        }
        if let epoch = self.seen[place].epoch, epoch != self.highestEpoch {
            self.checkEpoch(epoch, node, daemon, in: simulation)
        }
    }

    // MARK: Raft (Figure 3)

    /// What a step made of the node, before anything that it asks for is done.
    @inline(__always)
    mutating func checkModel(_ node: NodeID, _ daemon: SimulatedDaemon, in simulation: Simulation) {
        // Who has forgotten takes part in nothing more, and its next daemon may follow another generation.
        guard !daemon.supervisor.hasForgotten else { return }
        // The daemon is handed over, not its supervisor: that would be copied.
        let term = daemon.supervisor.consensus.term
        let isLeader = daemon.supervisor.consensus.outline.isLeader
        let commit = daemon.supervisor.consensus.commitIndex
        if self[model: node].isNews(node, term, isLeader: isLeader, commit) {
            if isLeader, simulation.swarm.has(.recoveries) { self.noteBeginning(node, daemon, in: simulation) }
            self[model: node].look(
                at: node, term: term, isLeader: isLeader, commit: commit,
                membership: daemon.supervisor.consensus.outline.membership,
                termAt: { daemon.entry(at: $0)?.mark.term })
            if let violation = self[model: node].violation { simulation.fail(violation) }
        }
    }

    private mutating func checkLeader(_ place: Int, _ daemon: SimulatedDaemon, in simulation: Simulation) {
        self.seen[place].logVersion = daemon.supervisor.consensus.outline.logVersion
        guard daemon.supervisor.consensus.outline.isLeader else {
            self.seen[place].leading = nil
            return
        }
        let term = daemon.supervisor.consensus.term.rawValue
        let last = daemon.supervisor.consensus.outline.last
        // A leader of this term never cuts its own log.
        if let before = self.seen[place].leading, before.term == term {
            guard last != before.last else { return }
            if last < before.last {
                simulation.fail("LeaderAppendOnly: node \(place + 1) went from \(before.last) back to \(last)")
            }
        } else {
            let id = NodeID(UInt32(place + 1))
            let truth = self.truth(of: id)
            if let other = self.truths[truth].leaders[term], other != id {
                simulation.fail("ElectionSafety: \(id) and \(other) both lead term \(term)")
            }
            self.truths[truth].leaders[term] = id
            if simulation.swarm.has(.sites) { simulation.beginsToLead(id, daemon) }
        }
        self.seen[place].leading = (term, last)
    }

    /// StateMachineSafety, LogMatching and LeaderCompleteness as they show: every node applies the same entry at each
    /// index, for ever.
    private mutating func checkApplied(_ place: Int, _ daemon: SimulatedDaemon, in simulation: Simulation) {
        let upTo = daemon.supervisor.state.appliedIndex.rawValue
        let from = self.seen[place].appliedUpTo
        guard upTo != from else { return }
        if upTo < from { return simulation.fail("node \(place + 1) applied \(upTo) after \(from)") }
        let truth = self.truth(of: NodeID(UInt32(place + 1)))
        for index in (from + 1)...upTo {
            // A snapshot may have taken the place of the entry in the very step that applied it.
            let held = daemon.entry(at: LogIndex(index))
            let before = self.truths[truth].applied[index]
            guard let entry = held ?? (before == nil ? self.truths[truth].model.entry(at: LogIndex(index)) : nil) else {
                continue
            }
            if let before {
                if before != entry {
                    simulation.fail("StateMachineSafety: node \(place + 1) applied another entry at \(index)")
                }
            } else {
                self.truths[truth].applied[index] = entry
                self.digest = (self.digest ^ Self.hash(entry) ^ index) &* 0x100_0000_01B3
                self.truths[truth].history.apply(entry, after: simulation.disturbance, at: simulation.now)
                if truth == 0 { simulation.attributesEntered(self.history.state) }
            }
        }
        self.seen[place].appliedUpTo = upTo
        if let violation = self.truths[truth].history.violation { simulation.fail(violation) }
    }

    private static func hash(_ entry: Entry) -> UInt64 {
        var writer = ByteWriter()
        entry.encode(into: &writer)
        return writer.bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    // MARK: Ownership

    /// SingleOwner and StopBeforeStart: at every instant at most one machine runs an `after-lease` group, stops under way
    /// and starts begun included. A paused machine runs nothing; its guard is the first to be scheduled afterwards.
    @inline(__always)
    private mutating func checkSingleOwner(_ node: SimulatedNode, in simulation: Simulation) {
        if simulation.options.hasEdits { simulation.checkClaims(of: node) }
        if node.runsVersion != node.lookedAtVersion, !simulation.swarm.isEmpty { simulation.checkOwners(of: node) }
        let bit = UInt64(1) << UInt64(node.id.rawValue)
        if node.isOwning { self.owning |= bit } else { self.owning &= ~bit }
        // Whatever changes what runs on a node is followed by a look at it.
        guard self.owning & ~bit != 0, node.isOwning, node.isOn, simulation.now >= node.pausedUntil else { return }
        self.lookForSecondOwner(beside: node, in: simulation)
    }

    private func lookForSecondOwner(beside node: SimulatedNode, in simulation: Simulation) {
        for place in simulation.nodes.indices where place != Int(node.id.rawValue) - 1 {
            let other = simulation.nodes[place]
            guard other.isOwning, other.isOn, simulation.now >= other.pausedUntil else { continue }
            if simulation.now < max(node.overlapsUntil, other.overlapsUntil) {
                simulation.count("overlaps after hidden pauses")
                simulation.note("\(other.name) and \(node.name) both run, one of them just resumed")
                continue
            }
            simulation.fail(
                "SingleOwner: \(Simulation.group) runs on \(other.name) (\(Self.describe(other))) and on "
                    + "\(node.name) (\(Self.describe(node)))")
        }
    }

    private static func describe(_ node: SimulatedNode) -> String {
        node.running(Simulation.group).sorted { $0.key < $1.key }.map { "\($0.key) under \($0.value)" }
            .joined(separator: ", ")
    }

    private mutating func noteEpoch(_ place: Int, _ daemon: SimulatedDaemon) {
        guard daemon.supervisor.groups.version != self.seen[place].runnersVersion else { return }
        self.seen[place].runnersVersion = daemon.supervisor.groups.version
        self.seen[place].epoch =
            daemon.supervisor.groups.runners.first { $0.name == Simulation.group && $0.goal == .up }?.epoch
    }

    /// EpochMonotone: an epoch of a group, once begun anywhere, is never followed by a lower one in a start.
    private mutating func checkEpoch(
        _ epoch: Epoch, _ node: SimulatedNode, _ daemon: SimulatedDaemon, in simulation: Simulation
    ) {
        guard node.isOwning, simulation.now >= node.overlapsUntil else { return }
        if epoch > self.highestEpoch {
            self.highestEpoch = epoch
        } else if daemon.supervisor.isCaughtUp, daemon.supervisor.hasLease(at: node.tick(at: simulation.now)) {
            simulation.fail(
                "EpochMonotone: \(node.name) runs \(Simulation.group) under \(epoch) after \(self.highestEpoch) began")
        }
    }
}

extension Simulation {
    /// BoundedRecovery: with everybody healthy for a while, every group runs and every copy is in sync.
    func checkRecovered() {
        guard
            let leader = self.nodes.first(where: { $0.daemon?.supervisor.consensus.isLeader == true })?.daemon?
                .supervisor
        else {
            return self.fail("BoundedRecovery: no leader although all are well")
        }
        for name in self.groupNames(leader.state) {
            let owners = self.nodes.filter { node in
                node.daemon?.supervisor.groups.runners.contains { $0.name == name && $0.isUp } == true
            }
            if owners.count != 1 {
                let record = leader.state.group(name)
                let volumes = leader.state.volumes.filter { volume in
                    record.flatMap { leader.state.policy.group($0.name) }?.volumes.contains(volume.name) == true
                }
                self.fail(
                    "BoundedRecovery: \(name) runs on \(owners.map(\.name)) although all are well: "
                        + "\(record.map { String(describing: $0) } ?? "no record") \(volumes)")
            }
        }
        self.checkEdited(leader)
        self.checkVoters(leader)
        self.checkers.history.checkEnd(leader.state)
        if let violation = self.checkers.history.violation { self.fail(violation) }
        for node in leader.state.nodes where node.standing != .trusted {
            self.fail("BoundedRecovery: \(node.about.name) is \(node.standing) although all are well")
        }
        for volume in leader.state.volumes {
            // A majority may be lost, and all be well again, before a machine comes that a volume waits for.
            let present = volume.definition.replicas.filter { leader.state.node(named: $0.node) != nil }
            if volume.inSync.count == present.count { continue }
            self.fail("BoundedRecovery: of \(volume.name) only \(volume.inSync) are in sync although all are well")
        }
        self.checkWishes()
        self.counts["writes acknowledged"] = self.workloads.reduce(0) { $0 + $1.acknowledged }
    }
}
