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
