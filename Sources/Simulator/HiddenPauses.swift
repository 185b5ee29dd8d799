import Basis
import Cluster
import Mirror
import Resources

/// Machines that a hypervisor stops and resumes: their clocks stand still, and so do their timers; packets wait and arrive in
/// order at the resume, and requests to the disk complete then. (Rules L17 to L20)
extension Simulation {
    func injectHiddenPause() {
        guard self.options.hasFaults, self.now < self.options.length.nanoseconds else { return }
        self.queue.add(.hiddenPause, at: self.now + self.pairs.span(.seconds(20), .seconds(120)).nanoseconds)
        guard self.now >= self.quietUntil else { return }
        if self.pairs.chance(perMille: 150) { return self.setHardwareClock() }
        let isOwnerWanted = self.pairs.chance(perMille: 600)
        let several = self.pairs.chance(perMille: 150)
        if several, self.pairs.chance(perMille: 300) { return self.stopHost() }
        let living = self.living
        let any = Int(self.pairs.below(UInt64(living.count)))
        let owner = self.nodes.first { $0.isOn && $0.isOwning }
        for node in living {
            let isChosen =
                several
                ? self.pairs.chance(perMille: 500)
                : isOwnerWanted && owner != nil ? node === owner : node === living[any]
            guard isChosen, node.isOn, self.now >= node.pausedUntil else { continue }
            self.hiddenPause(node, self.drawLength())
        }
    }

    /// The host of all machines stands still: all of them are in doubt at once. (Rule E4.3)
    private func stopHost() {
        self.count("hosts stopped")
        let length = self.pairs.span(.seconds(2), .seconds(10))
        for node in self.nodes where node.isOn && self.now >= node.pausedUntil { self.hiddenPause(node, length) }
    }

    /// How late the guard's first look at the hardware clock may be after a resume.
    private static let lookNanoseconds: UInt64 = 250_000_000

    /// Guard and daemon compare: at the latest so long after a resume, and before each start. (Rule L20)
    func lookAtClocks(_ node: SimulatedNode, _ boot: UInt64) {
        guard node.isOn, node.boot == boot, self.now >= node.pausedUntil else { return }
        self.compareClocks(node)
        self.guardKill(node, at: node.tick(at: self.now))
    }

    /// Where the clocks have parted everything stands still until a majority answers, or the grace is over.
    func compareClocks(_ node: SimulatedNode) {
        let tick = node.tick(at: self.now)
        guard self.options.sabotage != "L20", node.hasHardwareClock,
            node.comparison.look(boot: tick, hardwareSeconds: node.hardwareSeconds(at: self.now))
        else { return }
        self.note("\(node.name) finds its clocks parted")
        self.count("doubts")
        self.disturb()
        node.doubtSince = tick
        self.queue.add(.doubtHeard(node.id, boot: node.boot, tick), at: self.now + 1_000_000)
        guard tick < node.leaseEnd else { return }
        node.isFrozen = true
        for group in node.processes.keys { node.processes[group]?[ResourceName("ip")] = nil }
        self.checkers.look(at: node, in: self)
        for volume in node.volumes {
            self.step(volume, .lease(end: node.usableEnd, incarnation: node.leaseIncarnation), on: node)
        }
        self.queue.add(.clockLook(node.id, boot: node.boot), at: node.time(of: node.lastEnd) + 1_000_000)
    }

    /// A majority answered a renewal that was sent after the doubt began.
    func endDoubt(_ node: SimulatedNode) {
        self.note("\(node.name) is in no doubt any more")
        self.disturb()
        node.isFrozen = false
        self.checkers.look(at: node, in: self)
    }

    /// From a tenth of a second to half a minute; every other one about as long as it takes to be declared lost.
    private func drawLength() -> Span {
        self.pairs.chance(perMille: 500)
            ? self.pairs.span(.milliseconds(100), .seconds(30)) : self.pairs.span(.milliseconds(1500), .seconds(8))
    }

    /// Somebody, or the kernel, sets a hardware clock: a doubt without a pause.
    private func setHardwareClock() {
        let node = self.anyNode(&self.pairs)
        self.count("hardware clocks set")
        node.hardwareOffset += Int64(self.pairs.below(20_000_000_000)) - 10_000_000_000
    }

    /// Stops a machine for so long.
    func hiddenPause(_ node: SimulatedNode, _ length: Span) {
        let end = self.now + length.nanoseconds
        self.faultAt = self.now
        self.disturb()
        self.count("hidden pauses")
        self.note("\(node.name) is stopped from outside for \(length)")
        node.hide(from: self.now, until: end)
        node.pausedUntil = end
        if self.now < node.guardDeadUntil {
            // Who is to start a new guard stands still too.
            node.guardDeadUntil += length.nanoseconds
            self.queue.add(.excuseEnds(node.id, boot: node.boot, isEarly: false), at: node.unguardedUntil)
        }
        self.queue.add(.clockLook(node.id, boot: node.boot), at: end + self.pairs.below(Self.lookNanoseconds))
        self.excuse(node, from: end, hidden: length)
    }

    /// What a machine may run that went on at `end` without a clock of its own that counted this.
    func excuse(_ node: SimulatedNode, from end: UInt64, hidden length: Span) {
        // The guard, and what runs, are there without the daemon too.
        let daemons = ([node] + self.nodes).compactMap(\.daemon)
        let timing = daemons.first?.supervisor.state.policy.timing ?? .standard
        // One look of the guard, if the hardware clock shows it in spite of its grain. Else the most that no rule can take
        // away: what is left of the lease by its own clock, where all that know are out of reach, and one look after that.
        node.excusedUntil = end + Self.lookNanoseconds
        if length < .milliseconds(3100) || !node.hasHardwareClock {
            node.excusedUntil = end + self.longestLease(timing).nanoseconds + 150_000_000
        }
        self.queue.add(.excuseEnds(node.id, boot: node.boot, isEarly: false), at: node.excusedUntil)
        // Where a voter that knows is within reach, the first renewal after the resume is refused.
        let early = end + timing.renewalInterval.nanoseconds + 400_000_000
        self.queue.add(.excuseEnds(node.id, boot: node.boot, isEarly: true), at: early)
    }

    /// D, or the longest that a renewal of anybody may still carry. (Rule L5.1)
    private func longestLease(_ timing: Timing) -> Span {
        guard self.swarm.has(.configuration) else { return timing.leaseDuration }
        let leases = self.nodes.flatMap { $0.daemon?.supervisor.state.nodes.map(\.longestLease) ?? [] }
        return max(timing.leaseDuration, leases.max() ?? .zero)
    }

    func endExcuse(_ node: SimulatedNode, _ boot: UInt64, isEarly: Bool) {
        guard node.isOn, node.boot == boot, self.now >= node.pausedUntil else { return }
        if isEarly {
            let resumedAt = node.pausedUntil
            let isCalm =
                !self.network.isBroken && self.healedAt <= resumedAt && self.faultAt + 1_000_000_000 <= resumedAt
                && self.living.allSatisfy {
                    // Who is refused needs no disk to hear it.
                    $0.isOn && $0.daemon?.supervisor.isCaughtUp == true
                        && self.now >= max($0.scheduledFrom, $0 === node ? 0 : $0.diskBadUntil)
                }
            guard isCalm else { return }
            node.excusedUntil = min(node.excusedUntil, self.now)
        }
        self.checkers.look(at: node, in: self)
    }
}
