import Basis
import Cluster
import Raft

/// A majority that is lost in the middle of a run and left behind, after which all goes on: faults, operators, nodes that come and
/// go, and another such loss at the end. (Rules R1 to R5)
extension Simulation {
    /// In every other seed, where the run is long enough that much can still go wrong afterwards.
    static let shortestWithMiddle = Span.seconds(900)

    /// Runs until the faults end.
    func playFaults() {
        let length = self.options.length.nanoseconds
        if self.swarm.has(.recoveries), self.options.hasFaults, self.options.length >= Self.shortestWithMiddle,
            self.drill.middle.chance(perMille: 500)
        {
            self.advance(to: length / 5 + self.drill.middle.below(length / 4))
            self.leaveMajorityBehindAndGoOn()
        }
        self.advance(to: length)
    }

    private func leaveMajorityBehindAndGoOn() {
        guard self.violation == nil else { return }
        let world = self.swarm
        self.drill.isInTheMiddle = true
        self.isLastFailure = true
        self.quietUntil = .max
        // What was under way is over first, as before the last act: what is lost is then lost by this alone.
        self.healEverything()
        self.advance(by: .seconds(30))
        self.endWishes()
        self.advance(by: .seconds(60))
        if self.violation == nil { self.checkRecovered() }
        if self.violation == nil, self.loseMajority() { self.count("majorities left behind in the middle of a run") }
        self.drill.isInTheMiddle = false
        self.isLastFailure = false
        guard self.violation == nil else { return }
        self.note("the faults go on")
        // A log or a disk of the earlier generation is none that anybody brings back.
        for node in self.nodes { node.copies = [] }
        self.wishes.beginAnew()
        self.swarm.goOn(as: world)
        self.quietUntil = self.now
        self.faultAt = self.now
        self.beginSwarm(after: self.now)
    }

    /// False where there was no majority that could be lost.
    private func loseMajority() -> Bool {
        guard let state = self.leaderOfAll?.supervisor.state, self.lose(state) else { return false }
        // What operators were told by then may be lost. (Rule R5)
        self.wishes.beginAnew()
        self.leaveBehind(above: state.generation)
        return true
    }
}
