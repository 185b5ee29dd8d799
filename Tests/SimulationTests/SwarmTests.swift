import Basis
import Cluster
import Raft
import Resources
import Testing

@testable import Simulator

/// What clients of the cluster are told, as the simulator judges it.
@Suite struct `Simulated operators (ConfigLinear, NothingAcknowledgedIsLost)` {
    private let node = NodeID(1)
    private let wish = Command.want(GroupName("orders"), isRunning: false)

    private func entry(_ command: Command, from node: NodeID, sequence: UInt64 = 1) -> LogCommand {
        LogCommand(
            origin: node, nonce: 1, sequence: sequence, clusterMilliseconds: 0, wallMilliseconds: 0, command: command)
    }

    @Test func `notice a second answer to one request`() {
        var wishes = Wishes()
        let id = wishes.ask(self.wish, of: self.node)
        let entry = self.entry(self.wish, from: self.node)
        #expect(wishes.take(id, .accepted, at: LogIndex(7), entry, from: self.node) == nil)
        #expect(wishes.take(id, .accepted, at: LogIndex(9), entry, from: self.node)?.contains("twice") == true)
    }

    @Test func `notice two requests that were told one entry`() {
        var wishes = Wishes()
        let (first, second) = (wishes.ask(self.wish, of: self.node), wishes.ask(self.wish, of: self.node))
        #expect(wishes.take(first, .accepted, at: LogIndex(7), nil, from: self.node) == nil)
        #expect(wishes.take(second, .accepted, at: LogIndex(7), nil, from: self.node)?.contains("both") == true)
    }

    @Test func `notice an answer from before the request`() {
        var wishes = Wishes()
        let first = wishes.ask(self.wish, of: self.node)
        #expect(wishes.take(first, .accepted, at: LogIndex(7), nil, from: self.node) == nil)
        let second = wishes.ask(self.wish, of: NodeID(2))
        #expect(wishes.take(second, .accepted, at: LogIndex(6), nil, from: NodeID(2)) != nil)
    }

    @Test func `notice an entry that holds something else`() {
        var wishes = Wishes()
        let id = wishes.ask(self.wish, of: self.node)
        let other = self.entry(.want(GroupName("orders"), isRunning: true), from: self.node)
        #expect(wishes.take(id, .accepted, at: LogIndex(7), other, from: self.node) != nil)
    }

    /// A cluster of one node.
    private func founded() -> ClusterState {
        var state = ClusterState()
        _ = state.apply(
            self.entry(
                .bootstrap(
                    clusterID: 1, clusterName: "c",
                    node: JoiningNode(name: "a", site: "s", address: "a:1", role: .member)), from: self.node),
            at: LogIndex(1))
        return state
    }

    @Test func `notice a wish that was acknowledged and undone, unless somebody asked since`() {
        var state = self.founded()
        var wishes = Wishes()
        let drain = Command.drain(self.node, isDrained: true)
        let id = wishes.ask(drain, of: self.node)
        #expect(wishes.take(id, .accepted, at: LogIndex(1), nil, from: self.node) == nil)
        #expect(wishes.missing(in: state) != nil)
        _ = state.apply(self.entry(drain, from: self.node, sequence: 2), at: LogIndex(2))
        #expect(wishes.missing(in: state) == nil)
        _ = wishes.ask(.drain(self.node, isDrained: false), of: self.node)
        #expect(wishes.missing(in: ClusterState()) == nil)
    }

    @Test func `hold what comes last in the log, whichever is answered first`() {
        var state = self.founded()
        var wishes = Wishes()
        let (on, off) = (Command.drain(self.node, isDrained: true), Command.drain(self.node, isDrained: false))
        let first = wishes.ask(on, of: self.node)
        let second = wishes.ask(off, of: self.node)
        #expect(wishes.take(second, .accepted, at: LogIndex(3), nil, from: self.node) == nil)
        #expect(wishes.take(first, .accepted, at: LogIndex(2), nil, from: self.node) == nil)
        _ = state.apply(self.entry(on, from: self.node, sequence: 2), at: LogIndex(2))
        #expect(wishes.missing(in: state) == nil, "the later entry is not applied here yet")
        _ = state.apply(self.entry(on, from: self.node, sequence: 3), at: LogIndex(3))
        #expect(wishes.missing(in: state) != nil)
        _ = state.apply(self.entry(off, from: self.node, sequence: 4), at: LogIndex(4))
        #expect(wishes.missing(in: state) == nil)
    }

    @Test func `know nothing of what was asked of a daemon that ended`() {
        var wishes = Wishes()
        let drain = Command.drain(self.node, isDrained: true)
        _ = wishes.ask(drain, of: self.node)
        wishes.daemonEnded(self.node)
        let again = wishes.ask(drain, of: self.node)
        #expect(wishes.take(again, .accepted, at: LogIndex(1), nil, from: self.node) == nil)
        #expect(wishes.missing(in: ClusterState()) == nil, "the first one may still come and undo it")
    }
}

@Suite struct `A simulated world with everything` {
    @Test func `keeps every guarantee, and runs the same way every time`() {
        var options = SimulationOptions(seed: 4, length: .seconds(60))
        options.features = .chosen(SimulationFeature.allCases.filter { $0 != .recoveries })
        let first = Simulation(options: options).run()
        #expect(first.violation == nil, "\(first.trace.suffix(60).joined(separator: "\n"))")
        let second = Simulation(options: options).run()
        #expect(first.digest == second.digest)
        #expect(first.events == second.events)
        for what in ["nodes that joined", "wishes acknowledged", "reads", "late messages"] {
            #expect(first.counts.contains { $0.0 == what }, "no \(what)")
        }
    }

    @Test func `leaves a seed as it was where there are no features`() {
        let options = SimulationOptions(seed: 4, length: .seconds(10))
        #expect(Swarm(seed: 4, options.features).isEmpty)
        #expect(!Swarm(seed: 4, .drawn).isEmpty)
    }

    @Test func `lets packets wait where the network carries little`() {
        var network = SimulatedNetwork()
        let (left, right) = (NodeID(1), NodeID(2))
        #expect(network.wait(1000, from: left, to: right, isVolume: false, at: 0) == 0)
        network.bytesPerSecond = 1000
        #expect(network.isBroken)
        #expect(network.wait(1000, from: left, to: right, isVolume: false, at: 0) == 1_000_000_000)
        #expect(network.wait(1000, from: left, to: right, isVolume: false, at: 0) == 2_000_000_000)
        #expect(network.wait(1000, from: right, to: left, isVolume: false, at: 0) == 1_000_000_000)
        network.healAll()
        #expect(network.wait(1000, from: left, to: right, isVolume: false, at: 0) == 0)
    }
}

@Suite struct `Simulated copies (V17 to V21)` {
    private func play(_ features: [SimulationFeature], seed: UInt64, counting words: [String]) {
        var options = SimulationOptions(seed: seed, length: .seconds(300))
        options.features = .chosen(features)
        options.reverts = .none
        let result = Simulation(options: options).run()
        #expect(result.violation == nil, "\(result.trace.suffix(60).joined(separator: "\n"))")
        for what in words { #expect(result.counts.contains { $0.0 == what && $0.1 > 1 }, "no \(what)") }
    }

    @Test func `are exchanged while all others are away, and no guarantee breaks`() {
        self.play([.copies], seed: 4, counting: ["copies exchanged while all others were away", "copies made anew"])
    }

    @Test func `get other backings and nodes by careless operators, and no guarantee breaks`() {
        let words = ["replicas that operators exchange", "wishes refused", "wishes acknowledged", "backings exchanged"]
        self.play([.backings, .volumes], seed: 1, counting: words)
    }
}

@Suite struct `Faults that strike at a moment of their own` {
    @Test(arguments: [
        (SimulationFeature.damage, "logs damaged at their end"),
        (.removals, "groups removed while a daemon starts anew"),
        (.standstills, "owners that stood still"), (.words, "words that outlived their daemon"),
    ])
    func `meet it, and no guarantee breaks`(_ feature: SimulationFeature, _ what: String) {
        var options = SimulationOptions(seed: 13, length: .seconds(60))
        options.features = .chosen([feature])
        options.reverts = .none
        options.hasEdits = feature == .removals
        let result = Simulation(options: options).run()
        #expect(result.violation == nil, "\(result.trace.suffix(60).joined(separator: "\n"))")
        #expect(result.counts.contains { $0.0 == what && $0.1 > 0 }, "no \(what)")
    }
}

@Suite struct `A lost majority in the simulator (R1 to R5)` {
    @Test func `is left behind while more goes wrong, comes back, and no guarantee breaks`() {
        var options = SimulationOptions(seed: 1002, length: .seconds(60))
        options.features = .chosen([.recoveries])
        let result = Simulation(options: options).run()
        #expect(result.violation == nil, "\(result.trace.suffix(60).joined(separator: "\n"))")
        for what in ["majorities lost", "recoveries", "copies signed for", "nodes that came back to a generation"] {
            #expect(result.counts.contains { $0.0 == what && $0.1 > 0 }, "no \(what)")
        }
    }

    @Test func `counts for nothing with the operators who were told something before`() {
        var wishes = Wishes()
        let (node, wish) = (NodeID(1), Command.drain(NodeID(1), isDrained: true))
        let before = wishes.ask(wish, of: node)
        let told = wishes.ask(wish, of: node)
        #expect(wishes.take(told, .accepted, at: LogIndex(7), nil, from: node) == nil)
        wishes.beginAnew()
        #expect(wishes.take(before, .accepted, at: LogIndex(7), nil, from: node) == nil, "nobody hears that")
        let after = wishes.ask(wish, of: node)
        #expect(wishes.take(after, .accepted, at: LogIndex(6), nil, from: node) == nil, "another log")
        #expect(wishes.take(after, .accepted, at: LogIndex(6), nil, from: node)?.contains("twice") == true)
    }

    @Test func `is held against what the chosen survivor had, and nothing else`() {
        func entry(_ term: UInt64, _ index: UInt64) -> Entry {
            Entry(mark: LogMark(term: Term(term), index: LogIndex(index)), payload: .empty)
        }
        func persist(_ entries: [Entry], _ term: UInt64, vote: NodeID?) -> PersistRequest {
            PersistRequest(
                sequence: 1, entries: entries,
                hardState: HardState(term: Term(term), votedFor: vote, commit: .zero))
        }
        let (left, right) = (NodeID(1), NodeID(2))
        var truth = GenerationTruth()
        for node in [left, right] {
            truth.model.restarted(node, RestoredState())
            truth.model.persisted(node, persist([entry(1, 1)], 1, vote: left))
        }
        truth.model.persisted(right, persist([entry(1, 2)], 1, vote: left))
        var other = truth
        other.begins(Generation(number: 1, recovery: 7), by: left, at: 0)
        #expect(other.model.committedIndex == LogIndex(1))
        // What is left behind had another entry under this mark: each generation has its own.
        other.model.persisted(left, persist([Entry(mark: entry(1, 2).mark, payload: .command([1]))], 2, vote: left))
        #expect(other.model.violation == nil)
        truth.model.persisted(left, persist([Entry(mark: entry(1, 2).mark, payload: .command([1]))], 2, vote: left))
        #expect(truth.model.violation?.contains("LogMatching") == true)
    }
}

@Suite struct `Simulated members (J1 to J6)` {
    private func options(seconds: UInt64) -> SimulationOptions {
        var options = SimulationOptions(seed: 12, length: .seconds(seconds))
        options.features = .chosen([.members])
        return options
    }

    @Test func `come, leave and change under faults, and no guarantee breaks`() {
        let result = Simulation(options: self.options(seconds: 120)).run()
        #expect(result.violation == nil, "\(result.trace.suffix(60).joined(separator: "\n"))")
        for what in ["machines that came", "changes of members", "changes of voters"] {
            #expect(result.counts.contains { $0.0 == what && $0.1 > 0 }, "no \(what)")
        }
    }

    @Test func `cost nobody a lease on a network without a fault`() {
        var options = self.options(seconds: 200)
        options.hasFaults = false
        let result = Simulation(options: options).run()
        #expect(result.violation == nil, "\(result.trace.suffix(60).joined(separator: "\n"))")
        for what in ["nodes that left", "changes of voters"] {
            #expect(result.counts.contains { $0.0 == what && $0.1 > 0 }, "no \(what)")
        }
    }

    @Test func `notice who has left and runs something`() {
        let simulation = Simulation(options: self.options(seconds: 1))
        let node = SimulatedNode(id: NodeID(1), name: "a", role: .member)
        node.hasLeft = true
        simulation.checkLeft(node)
        #expect(simulation.violation == nil)
        node.processes[GroupName("orders")] = [ResourceName("db"): Epoch(generation: 0, index: 7)]
        simulation.checkLeft(node)
        #expect(simulation.violation?.contains("J2: a has left the cluster, and runs") == true)
    }

    @Test func `notice a lease that ends where nothing is broken, but for who leaves`() {
        var options = self.options(seconds: 1)
        options.hasFaults = false
        let simulation = Simulation(options: options)
        let node = SimulatedNode(id: NodeID(1), name: "a", role: .member)
        node.mayEndUntil = 1
        simulation.leaseEnded(node)
        #expect(simulation.violation == nil)
        node.mayEndUntil = 0
        simulation.leaseEnded(node)
        #expect(simulation.violation?.contains("CalmLease") == true)
    }
}
