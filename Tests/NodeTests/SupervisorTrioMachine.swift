import Basis
import Cluster
import Mirror
import Raft
import Resources
import Testing

private struct NoRoom: Error, CustomStringConvertible {
    var description: String { "the file system is full" }
}

/// One node of them, for the effects of its supervisor: all but a slow disk, slow stops and slow kills answers at once.
struct TrioMachine: SupervisorWorld {
    let trio: Trio
    let id: NodeID

    var isOver: Bool { false }

    func step(_ input: SupervisorInput, into effects: inout [SupervisorEffect]) {
        var more: [SupervisorEffect] = []
        self.trio.supervisors[self.id]?.step(input, at: self.trio.tick(of: self.id), into: &more)
        self.trio.asked += more
        effects += more
    }

    func isInDoubt(comparing: Bool) -> Bool { self.trio.parted.contains(self.id) }

    func persist(_ request: PersistRequest) -> LogAnswer {
        guard self.trio.held[self.id] != nil else { return .written }
        self.trio.held[self.id]?.append(request.sequence)
        return .later
    }

    func keep(_ order: SnapshotOrder, _ answers: inout [SupervisorInput]) {
        let word = order.perform(by: .present) { _ in
            if self.trio.fullDisks.contains(self.id) { throw NoRoom() }
        }
        if self.trio.heldSnapshots[self.id] == nil { return answers.append(.snapshot(word)) }
        self.trio.heldSnapshots[self.id]?.append(word)
    }

    func forget(_ reason: String) {
        self.trio.notes.append("\(self.id): has forgotten: \(reason)")
        self.trio.forgetful.insert(self.id)
    }

    func write(_ record: GenerationRecord) -> Bool {
        if self.trio.fullDisks.contains(self.id) { return false }
        self.trio.generations[self.id] = record
        return true
    }

    func write(_ facts: Facts) -> Bool {
        self.trio.facts[self.id] = facts
        return true
    }

    func send(_ envelope: consuming Envelope, to hop: NodeID) {
        self.trio.queue.append((envelope, via: self.id, to: hop))
    }

    func keep(_ roll: PeerRoll) {}

    func publish(end: Tick, _ incarnation: Incarnation, grace: Span, sentAt: Tick) { self.trio.leases[self.id] = end }

    func call(_ call: AgentCall, _ answers: inout [SupervisorInput]) {
        self.trio.calls[self.id, default: []].append(call)
        self.trio.check(call, of: self.id)
        if call.action == .stop, self.trio.slow.contains(self.id) {
            self.trio.heldStops.append((self.id, call))
        } else {
            answers.append(self.trio.answer(call, of: self.id))
        }
    }

    func cancel(_ id: UInt64) {}

    func kill(_ group: GroupName, _ answers: inout [SupervisorInput]) {
        if self.trio.slowKills.contains(self.id) { return self.trio.heldKills.append((self.id, group)) }
        self.trio.heldStops.removeAll { $0.node == self.id && $0.call.group == group }
        let left = self.trio.undying[self.id]
        if left == nil {
            self.trio.running[self.id] = self.trio.running[self.id]?.filter { !Trio.belongs($0, to: group) }
        }
        answers.append(.groupRemains(group, left))
        answers.append(.groupKilled(group, isDead: left == nil))
    }

    func forgetStarted(_ group: GroupName) {
        self.trio.forgotten[self.id, default: []].append(group)
        self.trio.undying[self.id] = nil
    }

    func inspect(
        _ id: UInt64, for asker: NodeID, _ questions: [InspectionQuestion], _ answers: inout [SupervisorInput]
    ) { answers.append(.inspected(id: id, for: asker, questions.map { _ in .yes })) }

    func tell(_ volume: VolumeName, _ command: VolumeCommand, _ answers: inout [SupervisorInput]) {
        for event in self.trio.answer(volume, command, of: self.id) { answers.append(.volume(volume, event)) }
    }

    func cut(_ volume: VolumeName) {}

    func keep(_ servers: [VolumeServerSpec], _ answers: inout [SupervisorInput]) {
        for spec in servers {
            self.trio.volumeIdentities[spec.policy.name] = spec.identity
            self.trio.volumePeers[self.id] = spec.peers.map(\.node)
            answers.append(.volumeConnected(spec.policy.name))
        }
    }

    func renew(_ role: HelperRole) { self.trio.renewed.append("\(self.id): \(role)") }

    func reply(_ id: UInt64, _ reply: ClientReply) { self.trio.replies[id] = reply }

    func note(_ note: Note) {
        if let state = self.trio.supervisors[self.id]?.state {
            self.trio.notes.append("\(self.id): \(note.sentence(state))")
        }
    }
}

extension Trio {
    /// The group runs on a mirrored volume, both copies in the set.
    static func mirrored(_ volume: VolumeName) throws -> (trio: Trio, owner: NodeID, other: NodeID) {
        let trio = try Trio(volume: true)
        #expect(trio.settle())
        let owner = try #require(trio.owner)
        let other = try #require(Trio.ids.first { $0 != owner && $0 != NodeID(3) })
        let record = try #require(trio.supervisors[owner]?.state.volume(volume))
        let copy = try #require(record.copy(of: other)).identity
        trio.step(
            owner,
            .volume(volume, .wantsJoin(epoch: record.epoch, version: record.version, replica: other, copy: copy)))
        trio.pass(milliseconds: 500)
        #expect(trio.supervisors[owner]?.state.volume(volume)?.inSync == [owner, other].sorted())
        return (trio, owner, other)
    }
}

extension Supervisor {
    /// What is on the disk of its node.
    var onDisk: RestoredState {
        RestoredState(
            hardState: HardState(
                term: self.consensus.term, commit: self.consensus.commitIndex, noted: self.consensus.notedMarks),
            entries: self.consensus.entries(after: .zero))
    }
}
