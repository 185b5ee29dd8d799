import Basis
import Cluster
import Raft
import Resources
import Testing

private let record = AttributeKey(.cluster, "record")
private let (a, b, w) = (NodeID(1), NodeID(2), NodeID(3))

/// Two machines at one address, of which the network hears now the one and now the other.
private struct Duel {
    let trio: Trio
    private var other: Supervisor

    /// `a` leads and runs the group. What its log holds now is on the disk of another machine, whose daemon starts where `a` was
    /// heard, while `a` goes on unheard.
    init(boot: String, after happening: (Trio) -> Void) throws {
        let trio = try Trio()
        #expect(trio.settle())
        let original = try #require(trio.supervisors[a])
        happening(trio)
        self.other = try #require(trio.supervisors[a])
        self.trio = trio
        try self.start(original, boot: boot, nonce: 4711)
    }

    /// A daemon starts on what is on that one's disk, and is heard.
    private func start(_ before: Supervisor, boot: String, nonce: UInt64) throws {
        var memory = before.identity.memory
        memory.begin(nonce: StartMark.nonce(nonce, ofBoot: boot))
        self.trio.supervisors[a] = try Supervisor(
            identity: .init(node: a, bootID: boot, memory: memory, nonce: nonce), settings: Consensus.Settings(),
            restored: before.onDisk, facts: nil, leaseEnd: .zero, seed: nonce, at: self.trio.tick)
    }

    /// The daemon of who is heard starts anew, in the same boot.
    func restart() throws {
        let before = try #require(self.trio.supervisors[a])
        try self.start(before, boot: before.identity.bootID, nonce: 4712)
    }

    /// Who is heard changes.
    mutating func swap() {
        guard let heard = self.trio.supervisors[a] else { return }
        self.trio.supervisors[a] = self.other
        self.other = heard
    }

    func noted(by node: NodeID) -> StartMark? {
        self.trio.supervisors[node]?.consensus.notedMarks.first { $0.node == a }?.mark
    }
}

@Suite struct `A copy of the present log of a node` {
    /// What `a` and `b` decided while `w` was away.
    private func decide(_ trio: Trio) {
        trio.cut(a, w)
        trio.cut(b, w)
        trio.step(a, .client(id: 9, .propose(.putAttribute(record, value: "kept", lifetime: .forever))))
        trio.pass(milliseconds: 200)
        #expect(trio.supervisors[b]?.state.attributes[record]?.value == "kept")
        #expect(trio.supervisors[w]?.state.attributes[record] == nil)
        trio.cuts = []
        trio.stopped = [b]
    }

    @Test func `has no vote while the machine itself was heard a moment ago, so nothing decided is lost (rule E2.9)`()
        throws
    {
        var duel = try Duel(boot: "second", after: self.decide)
        let original = try #require(duel.noted(by: w))
        duel.trio.pass(milliseconds: 1500)
        #expect(duel.noted(by: w) == original)
        #expect(duel.trio.leader == nil)
        duel.swap()
        #expect(duel.trio.pass(milliseconds: 5000) { $0.leader != nil })
        #expect(duel.trio.supervisors[w]?.state.attributes[record]?.value == "kept")
    }

    @Test func `or the machine itself, booted anew, votes once the boot before is silent for 2 s (rule E2.9)`() throws {
        let duel = try Duel(boot: "second") { $0.stopped = [b] }
        let original = try #require(duel.noted(by: w))
        duel.trio.pass(milliseconds: 1900)
        #expect(duel.noted(by: w) == original)
        #expect(duel.trio.pass(milliseconds: 3000) { $0.leader != nil })
        #expect(duel.noted(by: w)?.start == 2)
    }

    @Test func `in the same boot is a daemon that was started anew, and votes at once (rule E2.9)`() throws {
        let duel = try Duel(boot: "boot") { $0.stopped = [b] }
        duel.trio.pass(milliseconds: 200)
        #expect(duel.noted(by: w)?.start == 2)
    }

    @Test func `in a boot that is noted is such a daemon too, before the log lets that boot in (rule E2.9)`() throws {
        let duel = try Duel(boot: "second") { $0.stopped = [b] }
        // So the log does not go on.
        duel.trio.isLost = { envelope in
            guard case .raft(let message) = envelope.message, case .append = message.body else { return false }
            return true
        }
        #expect(duel.trio.pass(milliseconds: 3000) { _ in duel.noted(by: w)?.start == 2 })
        try duel.restart()
        duel.trio.pass(milliseconds: 200)
        #expect(duel.trio.supervisors[w]?.state.node(a)?.mark.start == 1)
        #expect(duel.noted(by: w)?.start == 3)
    }

    @Test func `or the machine itself, booted anew, is let in while the others lead (rule E2.9)`() throws {
        let duel = try Duel(boot: "second") { _ in }
        #expect(duel.trio.pass(milliseconds: 10_000) { $0.supervisors[b]?.state.node(a)?.bootID == "second" })
        #expect(duel.noted(by: b)?.start == 2)
    }
}

@Suite struct `A log that is learned anew` {
    /// `a` starts with a snapshot of a time when it was alone, in this log.
    private func alone(in memory: LogMemory, generation: GenerationRecord = GenerationRecord(.first)) throws -> Trio {
        let trio = try Trio()
        #expect(trio.settle())
        let before = try #require(trio.supervisors[a])
        let snapshot = Snapshot(
            mark: LogMark(term: before.consensus.term, index: before.state.appliedIndex),
            membership: Membership(voters: [a]), membershipIndex: LogIndex(1), data: before.state.encoded)
        trio.cut(a, b)
        trio.cut(a, w)
        trio.startEmpty(a)
        trio.supervisors[a] = try Supervisor(
            identity: .init(node: a, bootID: "boot", memory: memory, nonce: 4711, generation: generation),
            settings: Consensus.Settings(),
            restored: RestoredState(
                hardState: HardState(term: snapshot.mark.term, commit: snapshot.mark.index), snapshot: snapshot),
            facts: nil, leaseEnd: .zero, seed: 4711, at: trio.tick)
        trio.pass(milliseconds: 5000)
        return trio
    }

    @Test func `leads nobody before it is let in, though the log says that it votes alone (rule E2.10)`() throws {
        let (known, new) = (Trio.memory(1), Trio.memory(999))
        let admitted = try #require(try self.alone(in: known).supervisors[a]?.me?.mark.directory)
        #expect(admitted == known.present.directory, "the log knows the first one")
        #expect(try self.alone(in: known).supervisors[a]?.consensus.isLeader == true)
        #expect(try self.alone(in: new).supervisors[a]?.consensus.isLeader == false)
        // What it prepared with counts, over a restart too.
        let prepared = GenerationRecord(.first, preparedWith: new.present.directory)
        #expect(try self.alone(in: new, generation: prepared).supervisors[a]?.consensus.isLeader == true)
        // What it prepared with before that was lost as well does not.
        let earlier = GenerationRecord(.first, preparedWith: Trio.memory(998).present.directory)
        #expect(try self.alone(in: new, generation: earlier).supervisors[a]?.consensus.isLeader == false)
    }

    @Test(arguments: [false, true])
    func `has no vote on its way, and has one again once it was let in (rule E2.10)`(isRestarted: Bool) throws {
        let trio = try Trio()
        #expect(trio.settle())
        trio.startEmpty(a)
        #expect(trio.pass(milliseconds: 5000) { $0.supervisors[a]?.consensus.abstains == true })
        if isRestarted {
            let before = try #require(trio.supervisors[a])
            var memory = before.identity.memory
            memory.begin(nonce: StartMark.nonce(5, ofBoot: "boot"))
            trio.supervisors[a] = try Supervisor(
                identity: .init(node: a, bootID: "boot", memory: memory, nonce: 5), settings: Consensus.Settings(),
                restored: before.onDisk, facts: nil, leaseEnd: .zero, seed: 5, at: trio.tick)
            #expect(trio.supervisors[a]?.consensus.abstains == true)
        }
        #expect(
            trio.pass(milliseconds: 30_000) { trio in
                trio.supervisors.values.allSatisfy { $0.consensus.membership.isVoter(a) && $0.isAdmitted }
            })
        #expect(trio.supervisors[a]?.consensus.abstains == false)
        // It is the second of three, so nobody leads without it.
        trio.stopped = [b]
        #expect(trio.pass(milliseconds: 10_000) { $0.leader.map { $0 != b } ?? false })
    }
}
