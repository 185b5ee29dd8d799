import Basis
import Cluster
import Resources

/// Faults that belong together: each alone is met often by chance, both at the right moment hardly ever.
extension Simulation {
    func injectPair() {
        guard self.options.hasFaults, self.now < self.options.length.nanoseconds else { return }
        self.queue.add(.pairOfFaults, at: self.now + self.pairs.span(.seconds(40), .seconds(160)).nanoseconds)
        guard self.now >= self.quietUntil else { return }
        guard let owner = self.nodes.first(where: { $0.isOn && $0.isOwning }) else { return }
        if self.swarm.strikes(.configuration), self.shortenLease(asking: owner) { return }
        self.faultAt = self.now
        self.disturb()
        self.isolateAndRestartOthers(owner)
    }

    /// An operator gives the cluster a long lease, and ten seconds later a short one, just before the owner is cut off and the
    /// others restart: what they answered lasts longer than what they read in the configuration. (Rule L5.1)
    private func shortenLease(asking owner: SimulatedNode) -> Bool {
        guard let state = owner.daemon?.supervisor.state, state.policyIndex != .zero,
            self.pairs.chance(perMille: 700), self.now >= owner.scheduledFrom
        else { return false }
        let isLong = state.policy.timing.leaseDuration >= .seconds(6)
        var policy = state.policy
        policy.timing = .standard
        if !isLong { policy.timing.leaseDuration = .seconds(8) }
        guard policy.timing.problems.isEmpty else { return false }
        self.ask(.configure(policy, text: "", expectedIndex: state.policyIndex), of: owner)
        let pause = isLong ? self.pairs.span(.milliseconds(5), .milliseconds(400)) : .seconds(10)
        self.queue.add(.swarm(isLong ? .restartOthers(owner.id) : .shortenLease), at: self.now + pause.nanoseconds)
        return true
    }

    func shortenLease() {
        guard let owner = self.nodes.first(where: { $0.isOn && $0.isOwning }), self.isPairDue else { return }
        _ = self.shortenLease(asking: owner)
    }

    private var isPairDue: Bool {
        self.now < self.options.length.nanoseconds && !self.swarm.isOver && self.now >= self.quietUntil
    }

    func restartOthers(than id: NodeID) {
        guard self.isPairDue, self.node(id).isOn else { return }
        self.faultAt = self.now
        self.disturb()
        self.isolateAndRestartOthers(self.node(id))
    }

    /// The owner is cut off, and the daemons that answered it, or their machines, start anew a moment later. (Rule L5.1)
    private func isolateAndRestartOthers(_ owner: SimulatedNode) {
        self.note("\(owner.name) is isolated, and all others restart")
        self.count("isolations with restarts")
        let isPowerLoss = self.pairs.chance(perMille: 300)
        for other in self.nodes where other.id != owner.id {
            self.network.cut(from: owner.id, to: other.id)
            self.network.cut(from: other.id, to: owner.id)
            guard other.isOn, other.daemon != nil, other.hiding(at: self.now) == nil else { continue }
            let pause = self.pairs.span(.milliseconds(20), .milliseconds(600)).nanoseconds
            if isPowerLoss {
                self.powerOff(other)
                self.queue.add(.powerOn(other.id), at: self.now + pause)
            } else {
                self.stopDaemon(other)
                self.queue.add(.restartDaemon(other.id, boot: other.boot), at: self.now + pause)
            }
        }
        self.queue.add(.heal, at: self.now + self.pairs.span(.seconds(2), .seconds(20)).nanoseconds)
    }
}
