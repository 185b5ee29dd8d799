import Basis
import Cluster

/// Machines that are shut down in order: the daemon is asked, and what it says is waited for as the unit of systemd does. Then the
/// machine goes off, or the daemon alone is started again within the same life. (Rule L21)
extension Simulation {
    /// How long the unit waits.
    private static let patienceNanoseconds: UInt64 = 20_000_000_000

    func injectShutDown() {
        guard self.options.hasFaults, self.now < self.options.length.nanoseconds else { return }
        self.queue.add(.shutDown, at: self.now + self.shutDownRandom.span(.seconds(5), .seconds(90)).nanoseconds)
        // Who is taken back and those that could tell it are not to go at once.
        guard !self.drill.isInTheMiddle else { return }
        guard self.takenBackAt == 0 || self.now >= self.takenBackAt + 30_000_000_000 else { return }
        // Now and then several at once, as where a cluster is switched off.
        let isSeveral = self.shutDownRandom.chance(perMille: 150)
        let living = self.living
        let any = Int(self.shutDownRandom.below(UInt64(living.count)))
        for (place, node) in living.enumerated() {
            guard isSeveral ? self.shutDownRandom.chance(perMille: 700) : place == any else { continue }
            guard node.isOn, node.daemon != nil, self.now >= node.scheduledFrom else { continue }
            self.note("\(node.name) is shut down in order")
            self.count("shutdowns")
            self.disturb()
            self.step(node, .client(id: 9, .shutDown))
            self.queue.add(.shutDownLook(node.id, boot: node.boot, since: self.now), at: self.now + 100_000_000)
        }
    }

    func lookAtShutDown(_ node: SimulatedNode, _ boot: UInt64, since: UInt64) {
        guard node.isOn, node.boot == boot, let daemon = node.daemon else { return }
        let isDone = daemon.supervisor.hasResigned
        if isDone, node.isOwning {
            return self.fail("L21: \(node.name) gave its lease back while \(Simulation.group) runs there")
        }
        guard isDone || self.now >= since + Self.patienceNanoseconds else {
            return self.queue.add(.shutDownLook(node.id, boot: boot, since: since), at: self.now + 100_000_000)
        }
        self.count(isDone ? "shutdowns done" : "shutdowns that took too long")
        let pause = self.shutDownRandom.span(.milliseconds(500), .seconds(10)).nanoseconds
        if self.shutDownRandom.chance(perMille: 700) {
            self.powerOff(node)
            self.queue.add(.powerOn(node.id), at: self.now + pause)
        } else {
            self.stopDaemon(node)
            self.queue.add(.restartDaemon(node.id, boot: boot), at: self.now + pause)
        }
    }
}
