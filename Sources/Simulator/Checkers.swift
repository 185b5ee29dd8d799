import Basis
import Node
import Raft
import Resources

/// The guarantees, looked at after every step.
struct Checkers {
    private var applied: [UInt64: UInt64] = [:]
    private var appliedUpTo: [NodeID: UInt64] = [:]
    private var leaders: [UInt64: NodeID] = [:]
    private var epochs: [GroupName: Epoch] = [:]
    private var lastMarks: [NodeID: (term: Term, last: LogMark)] = [:]
    private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func restarted(_ node: SimulatedNode, _ restored: RestoredState) {
        self.appliedUpTo[node.id] = restored.snapshot?.mark.index.rawValue ?? 0
        self.lastMarks[node.id] = nil
    }

    mutating func look(at node: SimulatedNode, in simulation: Simulation) {
        self.checkSingleOwner(in: simulation)
        guard let daemon = node.daemon else { return }
        self.checkLeader(daemon, in: simulation)
        self.checkApplied(node, daemon, in: simulation)
        self.checkEpochs(node, daemon, in: simulation)
    }

    // MARK: Raft (Figure 3)

    private mutating func checkLeader(_ daemon: SimulatedDaemon, in simulation: Simulation) {
        let id = daemon.supervisor.identity.node
        if daemon.supervisor.consensus.isLeader {
            let term = daemon.supervisor.consensus.term.rawValue
            let last = daemon.supervisor.consensus.lastMark
            if let other = self.leaders[term], other != id {
                simulation.fail("ElectionSafety: \(id) and \(other) both lead term \(term)")
            }
            self.leaders[term] = id
            // A leader of this term never cuts its own log.
            if let before = self.lastMarks[id], before.term.rawValue == term, last < before.last {
                simulation.fail("LeaderAppendOnly: \(id) went from \(before.last) back to \(last)")
            }
            self.lastMarks[id] = (Term(term), last)
        } else {
            self.lastMarks[id] = nil
        }
    }

    /// StateMachineSafety, LogMatching and LeaderCompleteness as they show: every node applies the same entry at each
    /// index, for ever.
    private mutating func checkApplied(_ node: SimulatedNode, _ daemon: SimulatedDaemon, in simulation: Simulation) {
        let upTo = daemon.supervisor.state.appliedIndex.rawValue
        let from = self.appliedUpTo[node.id] ?? 0
        guard upTo != from else { return }
        if upTo < from { return simulation.fail("\(node.id) applied \(upTo) after \(from)") }
        for index in (from + 1)...upTo {
            guard let entry = daemon.supervisor.consensus.entry(at: LogIndex(index)) else { continue }
            let hash = Self.hash(entry)
            if let before = self.applied[index], before != hash {
                simulation.fail("StateMachineSafety: \(node.id) applied another entry at \(index)")
            }
            if self.applied[index] == nil {
                self.applied[index] = hash
                self.digest = (self.digest ^ hash ^ index) &* 0x100_0000_01B3
            }
        }
        self.appliedUpTo[node.id] = upTo
    }

    private static func hash(_ entry: Entry) -> UInt64 {
        var writer = ByteWriter()
        entry.encode(into: &writer)
        return writer.bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    // MARK: Ownership

    /// SingleOwner and StopBeforeStart: at every instant at most one machine runs an `after-lease` group, stops under way
    /// and starts begun included. A paused machine runs nothing; its guard is the first to be scheduled afterwards.
    private mutating func checkSingleOwner(in simulation: Simulation) {
        var owner: SimulatedNode?
        for node in simulation.nodes where node.isOn && simulation.now >= node.pausedUntil {
            guard node.isRunning(Simulation.group) else { continue }
            if let other = owner {
                simulation.fail(
                    "SingleOwner: \(Simulation.group) runs on \(other.name) (\(Self.describe(other))) and on "
                        + "\(node.name) (\(Self.describe(node)))")
            }
            owner = node
        }
    }

    private static func describe(_ node: SimulatedNode) -> String {
        node.running(Simulation.group).sorted { $0.key < $1.key }.map { "\($0.key) under \($0.value)" }
            .joined(separator: ", ")
    }

    /// EpochMonotone: an epoch of a group, once seen applied anywhere, is never followed by a lower one in a start.
    private mutating func checkEpochs(_ node: SimulatedNode, _ daemon: SimulatedDaemon, in simulation: Simulation) {
        for place in daemon.supervisor.runners.indices {
            guard daemon.supervisor.runners[place].name == Simulation.group, node.isRunning(Simulation.group) else {
                continue
            }
            let epoch = daemon.supervisor.runners[place].epoch
            let highest = self.epochs[Simulation.group] ?? .none
            if epoch < highest, daemon.supervisor.runners[place].goal == .up, daemon.supervisor.isCaughtUp,
                daemon.supervisor.hasLease(at: node.tick(at: simulation.now))
            {
                simulation.fail(
                    "EpochMonotone: \(node.name) runs \(Simulation.group) under \(epoch) after \(highest) began")
            }
            if epoch > highest { self.epochs[Simulation.group] = epoch }
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
        for name in [Self.group, Self.quickGroup] {
            let owners = self.nodes.filter { node in
                node.daemon?.supervisor.runners.contains { $0.name == name && $0.isUp } == true
            }
            if owners.count != 1 {
                let record = leader.state.group(name)
                self.fail(
                    "BoundedRecovery: \(name) runs on \(owners.map(\.name)) although all are well: "
                        + "\(record.map { String(describing: $0) } ?? "no record")")
            }
        }
        for node in leader.state.nodes where node.standing != .trusted {
            self.fail("BoundedRecovery: \(node.about.name) is \(node.standing) although all are well")
        }
        if let volume = leader.state.volume(Self.volume) {
            let replicas = self.nodes.filter { !$0.volumes.isEmpty }.count
            if volume.inSync.count != replicas {
                self.fail("BoundedRecovery: only \(volume.inSync) are in sync although all are well")
            }
        }
        self.counts["writes acknowledged"] = self.workload.acknowledged
    }
}
