import Basis
import Cluster
import Mirror
import Raft
import Resources
import Testing

private let peer = NodeID(2)
private let orders = GroupName("orders")
private let data = VolumeName("data")

private func start(_ id: UInt64, _ action: AgentAction = .start) -> AgentCall {
    AgentCall(
        id: id, group: orders, epoch: Epoch(generation: 0, index: 7),
        resource: ResourcePolicy(name: ResourceName("db"), agent: "exec"), action: action, timeout: .seconds(1))
}

private func open(version: UInt64) -> VolumeCommand {
    .open(
        epoch: Epoch(generation: 0, index: 7), incarnation: Incarnation(3), inSync: [NodeID(1), peer], version: version)
}

private let thaw = VolumeCommand.thaw(incarnation: Incarnation(3), epoch: Epoch(generation: 0, index: 7))

private let vote = Envelope(
    from: NodeID(1), to: peer, isRelayed: false, mark: .none,
    message: .raft(Message(term: Term(1), body: .voteResponse(granted: true))))

private let facts = Facts(bootID: "boot", incarnation: Incarnation(3), groups: [])

/// Writes down what is done to it, with a word for each.
private struct FakeWorld: SupervisorWorld {
    var done: [String] = []
    var arePartedNow = false
    var log = LogAnswer.written
    var hasRoom = true
    var isOver = false
    /// What the supervisor asks for when it hears something.
    var asks: [SupervisorEffect] = []

    mutating func step(_ input: SupervisorInput, into effects: inout [SupervisorEffect]) {
        switch input {
        case .persisted(let sequence): self.done.append("hears that \(sequence) is durable")
        case .diskFailed: self.done.append("hears that the disk failed")
        case .volumeConnected(let name): self.done.append("hears of \(name)")
        default: self.done.append("hears something")
        }
        effects += self.asks
        self.asks = []
    }
    func isInDoubt(comparing: Bool) -> Bool { self.arePartedNow }
    mutating func persist(_ request: PersistRequest) -> LogAnswer {
        self.done.append("persists \(request.sequence)")
        return self.log
    }
    mutating func keep(_ order: SnapshotOrder, _ answers: inout [SupervisorInput]) {
        self.done.append("keeps a snapshot")
    }
    mutating func forget(_ reason: String) { self.done.append("forgets") }
    mutating func write(_ record: GenerationRecord) -> Bool {
        self.done.append(
            self.hasRoom ? "writes generation \(record.generation.number)" : "has no room for a generation")
        return self.hasRoom
    }
    mutating func write(_ facts: Facts) -> Bool {
        self.done.append(self.hasRoom ? "writes facts" : "has no room for facts")
        return self.hasRoom
    }
    mutating func send(_ envelope: consuming Envelope, to hop: NodeID) { self.done.append("sends") }
    mutating func keep(_ roll: PeerRoll) { self.done.append("keeps peers") }
    mutating func publish(end: Tick, _ incarnation: Incarnation, grace: Span, sentAt: Tick) {
        self.done.append("publishes")
        self.arePartedNow = false
    }
    mutating func call(_ call: AgentCall, _ answers: inout [SupervisorInput]) {
        self.done.append("\(call.action) \(call.id)")
    }
    mutating func cancel(_ id: UInt64) { self.done.append("cancels \(id)") }
    mutating func kill(_ group: GroupName, _ answers: inout [SupervisorInput]) { self.done.append("kills \(group)") }
    mutating func forgetStarted(_ group: GroupName) { self.done.append("forgets \(group)") }
    mutating func inspect(
        _ id: UInt64, for asker: NodeID, _ questions: [InspectionQuestion], _ answers: inout [SupervisorInput]
    ) { self.done.append("inspects") }
    mutating func tell(_ volume: VolumeName, _ command: VolumeCommand, _ answers: inout [SupervisorInput]) {
        switch command {
        case .open(_, _, _, let version, _, _): self.done.append("opens \(volume) \(version)")
        case .thaw: self.done.append("thaws \(volume)")
        case .freeze: self.done.append("freezes \(volume)")
        case .noted: self.done.append("notes \(volume)")
        default: self.done.append("tells \(volume)")
        }
    }
    mutating func cut(_ volume: VolumeName) { self.done.append("cuts \(volume)") }
    mutating func keep(_ servers: [VolumeServerSpec], _ answers: inout [SupervisorInput]) {
        self.done.append("keeps servers")
        answers.append(.volumeConnected(data))
    }
    mutating func renew(_ role: HelperRole) { self.done.append("renews \(role)") }
    mutating func reply(_ id: UInt64, _ reply: ClientReply) { self.done.append("replies \(id)") }
    mutating func note(_ note: Note) { self.done.append("notes") }
}

/// A performer and its world.
private struct Stage {
    var performer = Performer()
    var world = FakeWorld()

    /// What this step did.
    mutating func perform(_ effects: [SupervisorEffect], at now: Tick = .zero) -> [String] {
        self.world.done = []
        var effects = effects
        self.performer.perform(&effects, in: &self.world, at: now)
        #expect(effects.isEmpty)
        return self.world.done
    }
}

private func persist(_ sequence: UInt64) -> SupervisorEffect { .persist(PersistRequest(sequence: sequence)) }

private let lease = SupervisorEffect.lease(
    end: Tick(nanoseconds: 9), Incarnation(3), grace: .seconds(1), sentAt: Tick(nanoseconds: 5))

@Suite struct `Performing effects` {
    @Test func `effects are performed in their order, and what answers ask for after what is left`() {
        var stage = Stage()
        stage.world.asks = [.call(start(2, .stop)), .cutVolume(data)]
        #expect(
            stage.perform([.volumeServers([]), .call(start(1)), lease]) == [
                "keeps servers", "hears of data", "start 1", "publishes", "stop 2", "cuts data",
            ])
    }

    @Test func `a vote leaves after the write that it rests on, also if that is answered later`() {
        var stage = Stage()
        #expect(
            stage.perform([persist(1), .send(vote, to: peer)]) == ["persists 1", "hears that 1 is durable", "sends"])
        stage.world.log = .later
        #expect(stage.perform([persist(2), .send(vote, to: peer)]) == ["persists 2"])
        #expect(stage.performer.logWaitsSince == .zero)
        stage.world.done = []
        stage.performer.persisted(2, in: &stage.world)
        #expect(stage.world.done == ["sends"])
        #expect(stage.performer.logWaitsSince == nil)
    }

    @Test func `after the log failed nothing that rests on it leaves, and it is handed nothing more (rule L5_2)`() {
        var stage = Stage()
        stage.world.log = .failed
        #expect(stage.perform([persist(1), .send(vote, to: peer)]) == ["persists 1", "hears that the disk failed"])
        #expect(stage.performer.isPoisoned)
        #expect(stage.perform([persist(2), .barrier, .send(vote, to: peer)]) == [])
        #expect(stage.performer.logFailed() == nil)
        stage.world.done = []
        stage.performer.persisted(2, in: &stage.world)
        #expect(stage.world.done == [])
        #expect(stage.perform([.cancel(1), lease]) == ["cancels 1", "publishes"], "it may still stop what runs")
    }

    @Test func `what waited for a log that fails later is counted once, and never leaves`() {
        var stage = Stage()
        stage.world.log = .later
        #expect(stage.perform([persist(1), .send(vote, to: peer), .send(vote, to: peer)]) == ["persists 1"])
        #expect(stage.performer.logFailed() == 2)
        #expect(stage.performer.logFailed() == nil)
        stage.performer.persisted(1, in: &stage.world)
        #expect(stage.world.done == ["persists 1"])
    }

    @Test func `after its log was put aside a daemon does nothing more (rule E2_2)`() {
        var stage = Stage()
        #expect(stage.perform([.cancel(1), .forget(reason: "it is old"), .cancel(2)]) == ["cancels 1", "forgets"])
        #expect(stage.perform([persist(1), .call(start(1)), .send(vote, to: peer)]) == [])
        #expect(stage.performer.isPoisoned)
    }

    @Test func `nothing is performed for a daemon that has ended`() {
        var stage = Stage()
        stage.world.isOver = true
        #expect(stage.perform([.cancel(1), lease]) == [])
    }

    @Test func `facts that found no room are written later, and only the latest`() {
        var stage = Stage()
        let later = Tick.zero + .milliseconds(600)
        stage.world.hasRoom = false
        #expect(stage.perform([.facts(facts)]) == ["has no room for facts"])
        #expect(stage.perform([]) == [], "not at once")
        #expect(stage.perform([], at: later) == ["has no room for facts"])
        stage.world.hasRoom = true
        #expect(stage.perform([.facts(facts)], at: later) == ["writes facts"])
        #expect(stage.perform([], at: later + .seconds(10)) == [])
    }
}

@Suite struct `What waits while the clocks have parted (rule L20)` {
    private static func parted() -> Stage {
        var stage = Stage()
        stage.world.arePartedNow = true
        return stage
    }

    @Test func `starts, opens and thaws wait, and nothing else does`() {
        var stage = Self.parted()
        #expect(
            stage.perform([
                .call(start(1)), .volume(data, thaw), .volume(VolumeName("logs"), open(version: 1)),
                .call(start(2, .stop)), .call(start(3, .monitor)), .volume(data, .report()),
            ]) == ["stop 2", "monitor 3", "tells data"])
        #expect(stage.perform([]) == [])
        stage.world.arePartedNow = false
        #expect(stage.perform([]) == ["start 1", "thaws data", "opens logs 1"])
        #expect(stage.perform([]) == [])
    }

    @Test func `they go on in the step that publishes the lease after it, behind the others`() {
        var stage = Self.parted()
        #expect(stage.perform([.call(start(1))]) == [])
        #expect(stage.perform([lease, .call(start(2))]) == ["publishes", "start 2", "start 1"])
    }

    @Test func `a start that is cancelled or whose group is killed is dropped`() {
        var stage = Self.parted()
        #expect(stage.perform([.call(start(1)), .call(start(2)), .cancel(1)]) == ["cancels 1"])
        stage.world.arePartedNow = false
        #expect(stage.perform([]) == ["start 2"])
        stage.world.arePartedNow = true
        #expect(stage.perform([.call(start(3)), .killGroup(GroupName("other"))]) == ["kills other"])
        #expect(stage.perform([.killGroup(orders)]) == ["kills orders"])
        #expect(stage.perform([lease]) == ["publishes"])
    }

    @Test func `a volume that is frozen, closed or opened anew is not opened as it was to be before`() {
        for command in [VolumeCommand.freeze, .close(epoch: .none), .detach, .takenBack, .makeCopy] {
            var stage = Self.parted()
            #expect(stage.perform([.volume(data, thaw), .volume(data, open(version: 1))]) == [])
            #expect(stage.perform([.volume(data, command)]).count == 1)
            #expect(stage.perform([lease]) == ["publishes"], "\(command)")
        }
        var stage = Self.parted()
        #expect(stage.perform([.volume(data, open(version: 1)), .volume(data, open(version: 2))]) == [])
        #expect(stage.perform([lease]) == ["publishes", "opens data 2"])
    }

    @Test func `a volume that is to be thawed and opened is both, whatever else its server is told meanwhile`() {
        var stage = Self.parted()
        #expect(stage.perform([.volume(data, thaw), .volume(data, open(version: 1))]) == [])
        #expect(
            stage.perform([.volume(data, .noted(mark: 4)), .volume(data, .report())]) == ["notes data", "tells data"])
        #expect(stage.perform([.volume(VolumeName("logs"), .freeze)]) == ["freezes logs"])
        #expect(stage.perform([lease]) == ["publishes", "thaws data", "opens data 1"])
    }
}
