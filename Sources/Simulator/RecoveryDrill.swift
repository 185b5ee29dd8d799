import Basis
import Cluster
import Raft
import Resources
import SimulatedDisks

/// How far operators are who leave a lost majority behind.
struct RecoveryDrill {
    /// Its own chance, so that a seed means what it meant before there was this.
    var random: SeededRandom
    /// What the operators were answered, by the number of the question.
    var answers: [UInt64: ClientReply] = [:]
    /// Those that cannot be reached: off, or cut off and alive.
    var lost: [NodeID] = []
    private var nextClient = Self.firstID
    /// Above the numbers of all other clients.
    static let firstID: UInt64 = 1 << 48

    /// The same of what is drawn about losses in the middle of a run.
    var middle: SeededRandom
    /// Such a loss is under way: nothing else happens.
    var isInTheMiddle = false

    init(seed: UInt64) {
        self.random = SeededRandom(seed: seed ^ 0x7265_636F_7665_7279)
        self.middle = SeededRandom(seed: seed ^ 0x6D69_6464_6C65_0001)
    }

    mutating func client() -> UInt64 {
        self.nextClient += 1
        return self.nextClient
    }
}

/// The last act of a run, and in some seeds its middle (`playFaults`): a majority of the voters is lost, operators leave it
/// behind while more goes wrong, and everybody comes back. What the lost ones still do, they do in a generation
/// of their own. (Rules R1 to R5)
extension Simulation {
    /// Once to three times, so that a generation is left behind by the next one too.
    func leaveMajoritiesBehind() {
        guard self.violation == nil, self.options.hasFaults, self.swarm.has(.recoveries) else { return }
        for _ in 0..<(1 + self.drill.random.below(3)) where self.violation == nil {
            self.isLastFailure = true
            self.network.healAll()
            self.healEverything()
            self.advance(by: .seconds(60))
            guard self.violation == nil, let state = self.leaderOfAll?.supervisor.state, self.lose(state) else {
                return
            }
            self.leaveBehind(above: state.generation)
        }
    }

    func advance(by span: Span) {
        if self.drill.isInTheMiddle { self.quietUntil = .max }
        self.advance(to: self.now + span.nanoseconds)
    }

    /// Who leads and has applied the latest generation. The daemon, since its supervisor would be copied.
    var leaderOfAll: SimulatedDaemon? {
        var found: SimulatedDaemon?
        for node in self.nodes {
            guard node.isOn, let daemon = node.daemon, daemon.supervisor.consensus.isLeader else { continue }
            if let found, found.supervisor.state.generation >= daemon.supervisor.state.generation { continue }
            found = daemon
        }
        return found
    }

    /// It takes part in the latest generation, as far as it knows itself.
    private func isPart(_ node: SimulatedNode) -> Bool {
        guard node.isOn, let generation = node.daemon?.supervisor.generation else { return false }
        return self.leaderOfAll.map {
            generation.generation == $0.supervisor.state.base && generation.overtakenBy == nil
        } ?? false
    }

    private func isLost(_ node: SimulatedNode) -> Bool { self.drill.lost.contains(node.id) }

    private var survivors: [SimulatedNode] { self.living.filter { !self.isLost($0) } }

    // MARK: What happens

    /// A majority of the voters is switched off, or cut off and goes on. False where it cannot be: one member has to survive.
    func lose(_ state: ClusterState) -> Bool {
        guard let membership = self.leaderOfAll?.supervisor.consensus.membership, !membership.isJoint else {
            return false
        }
        var order = membership.voters
        for place in order.indices.reversed() {
            order.swapAt(place, Int(self.drill.random.below(UInt64(place) + 1)))
        }
        let spared = order.first { state.node($0)?.about.role == .member }
        guard let spared, order.count >= 2 else { return false }
        let majority = order.count / 2 + 1
        let most = order.count - 1
        guard majority <= most else { return false }
        let number = majority + Int(self.drill.random.below(UInt64(most - majority) + 1))
        var lost = Array(order.filter { $0 != spared }.prefix(number))
        for node in state.nodes where !membership.voters.contains(node.id) && self.drill.random.chance(perMille: 400) {
            lost.append(node.id)
        }
        self.drill.lost = lost.sorted()
        self.note("a majority is lost: \(self.drill.lost)")
        self.count("majorities lost")
        self.faultAt = self.now
        for number in self.copiesHaveMet.indices { self.copiesHaveMet[number] = false }
        let kind = self.drill.random.below(3)
        for id in self.drill.lost where kind == 0 || kind == 1 && self.drill.random.chance(perMille: 500) {
            self.advance(by: .milliseconds(self.drill.random.below(1500)))
            self.powerOff(self.node(id))
        }
        self.cutLost()
        return true
    }

    private func cutLost() {
        for id in self.drill.lost {
            for other in self.survivors {
                self.network.cut(from: id, to: other.id)
                self.network.cut(from: other.id, to: id)
            }
        }
    }

    /// More goes wrong while operators are at it.
    private func disturbDrill() {
        guard let victim = self.pick(self.survivors) else { return }
        let pause = self.now + self.drill.random.span(.milliseconds(20), .seconds(4)).nanoseconds
        switch self.drill.random.below(14) {
        case 0, 1: self.killDaemon(victim, until: pause)
        case 2:
            guard victim.isOn else { return }
            self.powerOff(victim)
            self.queue.add(.powerOn(victim.id), at: pause)
        case 3:
            guard victim.isOn else { return }
            victim.daemonPausedUntil = max(victim.daemonPausedUntil, pause)
        case 4:
            self.swarm.held = Swarm.Held(
                from: victim.id, until: self.now + self.drill.random.below(2_000_000_000),
                arrival: self.now + self.drill.random.below(12_000_000_000))
        case 5:
            if let other = self.pick(self.survivors), other !== victim {
                self.network.cut(from: victim.id, to: other.id)
                if self.drill.random.chance(perMille: 500) { self.network.cut(from: other.id, to: victim.id) }
            }
        case 6, 7:
            self.network.healAll()
            self.cutLost()
        case 8: if self.drill.random.chance(perMille: 300) { self.comeBackEarly() }
        case 9: self.killLost()
        default: break
        }
    }

    /// Somebody who was taken for dead comes back in the middle of it.
    private func comeBackEarly() {
        guard let id = self.drill.lost.first(where: { _ in self.drill.random.chance(perMille: 500) }) else { return }
        self.note("\(self.node(id).name) is back in the middle of it")
        self.count("lost nodes that came back early")
        self.drill.lost.removeAll { $0 == id }
        self.network.healAll()
        self.cutLost()
        self.powerOn(self.node(id))
    }

    private func killLost() {
        guard let id = self.drill.lost.first(where: { self.node($0).isOn }) else { return }
        self.powerOff(self.node(id))
    }

    private func pick(_ nodes: [SimulatedNode]) -> SimulatedNode? {
        nodes.isEmpty ? nil : nodes[Int(self.drill.random.below(UInt64(nodes.count)))]
    }

    // MARK: What operators do

    /// From the first attempt until everybody is back.
    func leaveBehind(above generation: UInt32) {
        let isBegun = { self.leaderOfAll.map { $0.supervisor.state.generation > generation } ?? false }
        let troubleEnds = self.now + self.drill.random.span(.seconds(5), .seconds(90)).nanoseconds
        while self.violation == nil, self.now < troubleEnds, !isBegun() { self.tryRecovery(underFaults: true) }
        self.endTrouble()
        let patience = self.now + 150_000_000_000
        while self.violation == nil, self.now < patience, !isBegun(), !self.isMajorityBack {
            self.tryRecovery(underFaults: false)
        }
        guard self.violation == nil else { return }
        if isBegun() {
            self.count("recoveries")
            self.goOnAlone()
        } else if self.isMajorityBack {
            self.count("majorities that came back")
        } else {
            return self.fail("Recovery: \(self.survivors.map(\.name)) cannot leave \(self.drill.lost) behind")
        }
        self.bringBackLost()
    }

    /// What was wrong with the survivors is over.
    private func endTrouble() {
        self.swarm.held = nil
        self.network.healAll()
        self.cutLost()
        for node in self.survivors {
            node.daemonPausedUntil = min(node.daemonPausedUntil, self.now)
            if !node.isOn { self.powerOn(node) } else if node.daemon == nil { self.startDaemon(node) }
        }
    }

    /// So many came back early that there is nothing to leave behind.
    private var isMajorityBack: Bool {
        guard let membership = self.leaderOfAll?.supervisor.consensus.membership else { return false }
        return membership.hasMajority { !self.drill.lost.contains($0) }
    }

    private func pass(_ span: Span, underFaults: Bool, until isDone: () -> Bool) {
        let end = self.now + span.nanoseconds
        while self.violation == nil, self.now < end, !isDone() {
            self.disturb()
            if underFaults { self.disturbDrill() }
            self.advance(to: min(end, self.now + self.drill.random.span(.milliseconds(20), .seconds(1)).nanoseconds))
        }
    }

    /// As `holdfast cluster recover` does: everybody is asked how they stand, who is silent is given up if it is off.
    private func tryRecovery(underFaults: Bool) {
        self.pass(.seconds(3), underFaults: underFaults) { false }
        guard let asked = self.pick(self.survivors), asked.isOn, self.now >= asked.scheduledFrom,
            let words = self.survey(asked, underFaults), asked.daemon != nil, let order = self.order(asked, words)
        else { return }
        self.note("an operator asks \(asked.name) to go on without \(order.dead)")
        self.count("recoveries asked for")
        let client = self.drill.client()
        self.step(asked, .client(id: client, .recover(order)))
        self.pass(.seconds(28), underFaults: underFaults) { self.drill.answers[client] != nil }
        self.note("the operator is told \(self.drill.answers[client].map { String(describing: $0) } ?? "nothing")")
    }

    private func survey(_ asked: SimulatedNode, _ underFaults: Bool) -> [Surveyed]? {
        let client = self.drill.client()
        self.step(asked, .client(id: client, .survey))
        self.pass(.seconds(2), underFaults: underFaults) { self.drill.answers[client] != nil }
        guard case .surveyed(let words)? = self.drill.answers[client] else { return nil }
        return words
    }

    private func order(_ asked: SimulatedNode, _ words: [Surveyed]) -> RecoveryOrder? {
        let survey = RecoverySurvey(words)
        guard let supervisor = asked.daemon?.supervisor, survey.objection(on: supervisor) == nil else { return nil }
        let silent = survey.silent(of: supervisor.state)
        // Whoever is silent and not lost is to be started first.
        guard silent.allSatisfy({ self.drill.lost.contains($0) }) else { return nil }
        let areOff = self.drill.lost.allSatisfy { !self.node($0).isOn }
        return RecoveryOrder(
            recovery: self.drill.random.next(), above: survey.highestNumber, dead: silent,
            prepared: survey.prepared, statement: "they are off",
            startsGroups: areOff && self.drill.random.chance(perMille: 300))
    }

    // MARK: The new generation

    /// Operators make sure that the lost ones are off, start what is to run, and sign for a copy of each volume.
    private func goOnAlone() {
        for id in self.drill.lost { self.powerOff(self.node(id)) }
        let end = self.now + 90_000_000_000
        while self.violation == nil, self.now < end, self.whatDoesNotRun() != nil {
            self.operateAfterRecovery()
            self.advance(by: .seconds(1))
        }
        if self.violation == nil, let problem = self.whatDoesNotRun() {
            self.fail("Recovery: \(problem), although those that survived could run it")
        }
    }

    private func operateAfterRecovery() {
        guard let state = self.leaderOfAll?.supervisor.state else { return }
        self.disturb()
        for group in state.groups where !group.isWanted && state.policy.group(group.name) != nil {
            self.order(.want(group.name, isRunning: true))
        }
        for volume in state.volumes where volume.isUnproven && volume.owner == nil {
            guard let copy = self.bestCopy(of: volume) else { continue }
            self.note("an operator signs for the copy of \(volume.name) on \(copy.node)")
            self.count("copies signed for")
            self.order(
                .acceptLoss(
                    volume.name, volume.epoch, version: volume.version, copy.node, statement: "as it is"))
        }
    }

    private func order(_ command: Command) {
        guard let leader = self.leaderOfAll?.supervisor.me?.id else { return }
        self.wishes.lose(command)
        self.step(self.node(leader), .client(id: self.drill.client(), .propose(command)))
    }

    /// A copy that has all that was ever promised, if one is there; else any, and what it lacks is lost from then on.
    private func bestCopy(of volume: ClusterState.VolumeRecord) -> SimulatedVolume? {
        let copies = self.survivors.compactMap { node -> SimulatedVolume? in
            guard self.isPart(node), let copy = node.volume(volume.name), copy.core != nil,
                volume.copy(of: node.id) != nil
            else { return nil }
            return copy
        }
        let whole = copies.first { copy in
            self.workloads[copy.number].objection(to: copy.node, copy.copy.content.current) == nil
        }
        if let whole {
            // An earlier word for another one may have been refused: nothing is lost now.
            self.workloads[whole.number].isLossSigned = false
            return whole
        }
        guard let any = copies.first else { return nil }
        self.workloads[any.number].isLossSigned = true
        self.count("losses signed for")
        return any
    }

    /// A group that could run on a survivor, and does not.
    private func whatDoesNotRun() -> String? {
        guard let leader = self.leaderOfAll else { return "nobody leads" }
        for group in leader.supervisor.state.policy.groups {
            let hosts = self.survivors.filter { node in
                self.isPart(node) && group.nodes.contains(node.name) && !node.isWitness
                    && group.volumes.allSatisfy { node.volume($0)?.isWanted == true }
            }
            let owners = self.nodes.filter { node in
                node.daemon?.supervisor.groups.runners.contains { $0.name == group.name && $0.isUp } == true
            }
            if !hosts.isEmpty, owners.isEmpty {
                let record = leader.supervisor.state.group(group.name).map { String(describing: $0) } ?? "no record"
                return "\(group.name) runs nowhere, and \(hosts.map(\.name)) are there: \(record)"
            }
        }
        return nil
    }

    // MARK: Those that come back

    /// Who was left behind is told so, and comes back with an empty log when an operator says so; then all is well.
    private func bringBackLost() {
        let lost = self.drill.lost
        self.drill.lost = []
        self.network.healAll()
        for id in lost where !self.node(id).isOn {
            self.queue.add(.powerOn(id), at: self.now + self.drill.random.below(10_000_000_000))
        }
        let end = self.now + 150_000_000_000
        while self.violation == nil, self.now < end {
            for node in self.living where self.drill.random.chance(perMille: 300) { self.bringBack(node) }
            // So many have prepared for what never began that nobody leads: the order is given once more, and nobody is given up.
            if self.leaderOfAll == nil, self.drill.random.chance(perMille: 300) { self.tryRecovery(underFaults: false) }
            self.operateAfterRecovery()
            self.advance(by: .seconds(1))
        }
        if self.violation == nil { self.checkRecovered() }
    }

    /// Who was left behind, or has prepared for what never began while others lead, comes back with an empty log.
    private func bringBack(_ node: SimulatedNode) {
        guard let daemon = node.daemon, node.isOn, self.now >= node.scheduledFrom else { return }
        let isLeftBehind = daemon.supervisor.generation.overtakenBy != nil
        guard isLeftBehind || daemon.supervisor.isRecoveryUnfinished && self.leaderOfAll != nil else { return }
        if isLeftBehind { self.checkLeftBehind(node) }
        self.count("nodes that came back to a generation")
        self.step(node, .client(id: self.drill.client(), .rejoin))
    }

    /// Rule R1: who was left behind and knows it holds no lease.
    private func checkLeftBehind(_ node: SimulatedNode) {
        if node.daemon?.supervisor.hasLease(at: node.tick(at: self.now)) == true {
            self.fail("R1: \(node.name) was left behind, knows it, and holds a lease")
        }
    }
}
