import Basis

/// Faults that belong together: each alone is met often by chance, both at the right moment hardly ever.
extension Simulation {
    func injectPair() {
        guard self.options.hasFaults, self.now < self.options.length.nanoseconds else { return }
        self.queue.add(.pairOfFaults, at: self.now + self.pairs.span(.seconds(40), .seconds(160)).nanoseconds)
        guard self.now >= self.quietUntil else { return }
        guard let owner = self.nodes.first(where: { $0.isOn && $0.isOwning }) else { return }
        self.faultAt = self.now
        self.disturb()
        self.isolateAndRestartOthers(owner)
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
