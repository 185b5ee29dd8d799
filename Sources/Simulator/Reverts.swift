import Basis
import Cluster
import Raft

/// A machine that is to be taken back.
struct Revert {
    /// The part that is due.
    enum Stage {
        /// The hypervisor keeps the machine as it is.
        case save
        /// It is taken back to that.
        case back
    }
    var node: NodeID
    var moment: MachineMoment?
    /// How long the hypervisor tries.
    var until: UInt64
}

/// Machines that a hypervisor takes back to an earlier moment, with their memory: same boot, same process, older disk. (Rule E4)
extension Simulation {
    func injectRevert() {
        guard self.options.hasFaults, self.options.reverts != .none, self.now < self.options.length.nanoseconds else {
            return
        }
        let pause: (Span, Span) =
            self.options.reverts == .many ? (.seconds(5), .seconds(60)) : (.seconds(60), .seconds(600))
        self.queue.add(.revert, at: self.now + self.revertRandom.span(pause.0, pause.1).nanoseconds)
        let draw = self.revertRandom.below(10)
        let any = self.anyNode(&self.revertRandom)
        let owner = self.nodes.first { $0.isOn && $0.isOwning }
        let leader = self.nodes.first { $0.daemon?.supervisor.consensus.isLeader == true }
        let node = draw < 4 ? owner ?? any : draw < 6 ? leader ?? any : any
        self.go(on: Revert(node: node.id, until: self.now + 5_000_000_000), .save)
    }

    func go(on revert: Revert, _ stage: Revert.Stage) {
        guard self.now < self.options.length.nanoseconds else { return }
        let node = self.node(revert.node)
        switch stage {
        case .save:
            guard let moment = self.moment(of: node) else {
                guard self.now < revert.until else { return }
                return self.queue.add(.revertStage(revert, .save), at: self.now + 7_000_000)
            }
            let age = self.drawAge().nanoseconds
            let back = Revert(node: node.id, moment: moment, until: self.now + age + 60_000_000_000)
            self.queue.add(.revertStage(back, .back), at: self.now + age)
        case .back:
            guard let moment = revert.moment, self.now < revert.until else { return }
            guard self.isAlone(node) else {
                return self.queue.add(.revertStage(revert, .back), at: self.now + 500_000_000)
            }
            self.faultAt = self.now
            self.disturb()
            self.quietUntil = self.now + 60_000_000_000
            self.takenBackAt = self.now
            for volume in node.volumes { self.copiesHaveMet[volume.number] = false }
            self.takeOthersAway(node, moment)
            self.bringBack(node, to: moment)
            self.excuse(node, from: self.now, hidden: Span(nanoseconds: self.now - moment.takenAt))
            self.checkers.look(at: node, in: self)
        }
    }

    /// From a second to a minute; every other one about as long as it takes to be declared lost.
    private func drawAge() -> Span {
        self.revertRandom.chance(perMille: 500)
            ? self.revertRandom.span(.seconds(1), .seconds(60)) : self.revertRandom.span(.seconds(1), .seconds(8))
    }

    /// All others are well and in touch, and what the machine alone holds is nothing that counts: only then is taking it back
    /// one failure.
    private func isAlone(_ node: SimulatedNode) -> Bool {
        guard self.now >= self.quietUntil, node.isOn, self.now >= node.pausedUntil, !self.network.isBroken,
            self.now >= self.healedAt + 2_000_000_000, node.volumes.isEmpty || self.haveCopiesMet,
            !self.areReplicasChanging
        else { return false }
        return self.living.allSatisfy { other in
            guard other === node || self.isWell(other), let state = other.daemon?.supervisor.state else {
                return false
            }
            return state.nodes.allSatisfy { !$0.isDeparting && $0.standing == .trusted }
                && state.volumes.allSatisfy { $0.inSync != [node.id] }
        }
    }

    /// Now and then the machine is cut off from all at that moment, or with some from the rest.
    private func takeOthersAway(_ node: SimulatedNode, _ moment: MachineMoment) {
        let draw = self.revertRandom.below(10)
        guard draw < 5 else { return }
        var side = [node.id]
        if draw < 2, self.living.allSatisfy({ $0 === node || self.canTell($0, of: node, moment) }) {
            let others = self.living.filter { $0 !== node }
            side.append(others[Int(self.revertRandom.below(UInt64(others.count)))].id)
        }
        self.note("\(side) are cut off from the others")
        self.count("machines taken back while cut off")
        for inside in side {
            for outside in self.nodes where !side.contains(outside.id) {
                self.network.cut(from: inside, to: outside.id)
                self.network.cut(from: outside.id, to: inside)
            }
        }
        self.queue.add(.heal, at: self.now + self.revertRandom.span(.milliseconds(300), .seconds(15)).nanoseconds)
    }

    /// Whether this node alone would know that the machine was taken back to before what it heard of it.
    private func canTell(_ other: SimulatedNode, of node: SimulatedNode, _ moment: MachineMoment) -> Bool {
        guard let supervisor = other.daemon?.supervisor else { return false }
        return supervisor.hasHeard(node.id, after: moment.tick + .seconds(1))
    }
}
