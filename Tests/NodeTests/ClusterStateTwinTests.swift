import Basis
import Raft
import Resources
import Testing

@testable import Cluster

/// What applying the log makes of machines that say that they are one node. (Rule E5)
@Suite struct ClusterStateTwinTests {
    private static let node = NodeID(2)
    private static let original = Twin(bootID: "boot-n2", host: "10.0.0.2", fingerprint: [1])
    private static let copy = Twin(bootID: "another-boot", host: "10.0.0.9", fingerprint: [1])

    private func log(level: Int = 3) -> StateLog {
        let log = StateLog()
        for level in 2...max(level, 2) {
            log.run(.raise(FeatureLevel(UInt32(level)), counting: log.state.nodes.map(\.id)))
        }
        if level >= 3 { self.shows([1], log) }
        return log
    }

    @discardableResult private func shows(_ fingerprint: CertificateRecord.Fingerprint, _ log: StateLog) -> Outcome {
        log.run(
            .certified(
                Self.node,
                CertificateRecord(
                    fingerprint: fingerprint, authority: [9], validity: Validity(from: 1, until: 2), trusts: [[9]])))
    }

    private func twins(_ log: StateLog) -> Twins { log.state.node(Self.node)?.twins ?? Twins() }

    private func met(_ log: StateLog, _ twins: [Twin] = [original, copy], after: LogIndex? = nil) -> Outcome {
        log.run(.duplicated(Self.node, twins, after: after ?? self.twins(log).settledAt), from: NodeID(3))
    }

    private func mark(_ number: UInt64) -> StartMark {
        StartMark(directory: DirectoryID(high: 1, low: 0), start: number, nonce: number)
    }

    private func lose(_ log: StateLog) {
        let life = log.life(Self.node)
        log.run(.suspect(Self.node, life))
        #expect(log.run(.lost(Self.node, life, suspectedAt: log.state.appliedIndex)).isAccepted)
    }

    @Test func `what is known of the machines is in the state, in a snapshot and in an event`() throws {
        let log = self.log()
        #expect(self.met(log).isAccepted)
        #expect(self.twins(log).machines == [Self.original, Self.copy])
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
        #expect(
            log.state.events.last?.sentence
                == "several machines say that they are osk-1 (10.0.0.2, boot boot-n2; 10.0.0.9, boot another-): none of them runs "
                + "anything until `holdfast node original osk-1 --boot BOOT` says which one it is")
    }

    @Test func `a witness may say so, and nobody below feature level 3 does`() {
        let log = self.log(level: 2)
        #expect(!self.met(log).isAccepted)
        #expect(self.met(self.log()).isAccepted)
    }

    @Test func `one machine is no reason, and known ones are none twice`() {
        let log = self.log()
        #expect(!self.met(log, [Self.copy]).isAccepted)
        #expect(self.met(log).isAccepted)
        #expect(!self.met(log).isAccepted)
        #expect(self.met(log, [Twin(bootID: "third", host: "10.0.0.9", fingerprint: [1])]).isAccepted)
        #expect(self.twins(log).machines.count == 3)
    }

    @Test func `neither machine gets a life or its log noted before a person has spoken (rule E5)`() {
        let log = self.log()
        #expect(self.met(log).isAccepted)
        #expect(!log.run(.admit(Self.node, bootID: Self.copy.bootID, mark: self.mark(2))).isAccepted)
        // What runs goes on until it has ended in order, also under another daemon.
        #expect(log.run(.admit(Self.node, bootID: Self.original.bootID, mark: self.mark(2))).isAccepted)
        self.lose(log)
        #expect(!log.run(.admit(Self.node, bootID: Self.copy.bootID, mark: self.mark(3))).isAccepted)
        #expect(!log.run(.admit(Self.node, bootID: Self.original.bootID, mark: self.mark(3))).isAccepted)
        #expect(log.run(.original(Self.node, bootID: Self.copy.bootID)).isAccepted)
        #expect(!log.run(.admit(Self.node, bootID: Self.original.bootID, mark: self.mark(3))).isAccepted)
        #expect(log.run(.admit(Self.node, bootID: Self.copy.bootID, mark: self.mark(3))).isAccepted)
    }

    @Test func `nothing is placed on it before it shows a certificate that no other machine has (rule E5)`() {
        let log = self.log()
        #expect(self.met(log).isAccepted)
        #expect(log.run(.original(Self.node, bootID: Self.original.bootID)).isAccepted)
        func isUsed() -> Bool { log.state.observation.node("osk-1")?.isDuplicated == false }
        #expect(!isUsed())
        self.shows([1], log)
        #expect(!isUsed())
        self.shows([2], log)
        #expect(isUsed())
        #expect(self.twins(log).revoked == [[1]])
        #expect(log.state.events.last?.happening.identifier == "node.singled")
    }

    @Test func `a certificate of the life that was not named settles nothing (rule E5)`() {
        let log = self.log()
        #expect(self.met(log).isAccepted)
        #expect(log.run(.original(Self.node, bootID: Self.copy.bootID)).isAccepted)
        self.shows([2], log)
        #expect(self.twins(log).isOpen)
    }

    @Test func `what either machine had at the time of the word is let in no more (rule E5)`() {
        let log = self.log()
        let old = Twin(bootID: "image", host: "10.0.0.9", fingerprint: [7])
        #expect(self.met(log, [Self.original, old]).isAccepted)
        // Somebody renews it by hand before it is said which machine it is: the copy may have done it.
        self.shows([2], log)
        #expect(log.run(.original(Self.node, bootID: Self.original.bootID)).isAccepted)
        #expect(self.twins(log).isOpen)
        self.shows([3], log)
        #expect(self.twins(log).revoked == [[1], [7], [2]])
        let rule = log.state.node(Self.node).map { TwinRule($0) } ?? TwinRule()
        #expect(rule.only == nil)
        #expect(rule.isRevoked([7]) && !rule.isRevoked([3]) && !rule.isRevoked(nil))
    }

    @Test func `who met them before it was settled says nothing about what is so since (rule E5)`() {
        let log = self.log()
        let before = self.twins(log).settledAt
        #expect(self.met(log).isAccepted)
        #expect(log.run(.original(Self.node, bootID: Self.original.bootID)).isAccepted)
        self.shows([2], log)
        #expect(!self.met(log, after: before).isAccepted)
        #expect(self.met(log).isAccepted)
    }

    @Test func `a machine is named by its boot, or by where it is`() throws {
        let log = self.log()
        #expect(throws: Cluster.Refusal.over("osk-1 is one machine")) {
            try log.state.machine(of: Self.node, called: "10.0.0.9")
        }
        #expect(self.met(log).isAccepted)
        #expect(try log.state.machine(of: Self.node, called: "10.0.0.9") == Self.copy)
        #expect(try log.state.machine(of: Self.node, called: "boot-n") == Self.original)
        #expect(throws: Cluster.Refusal.self) { try log.state.machine(of: Self.node, called: "10.0.0.7") }
        #expect(self.met(log, [Twin(bootID: "third", host: "10.0.0.9", fingerprint: [1])]).isAccepted)
        #expect(throws: Cluster.Refusal.self) { try log.state.machine(of: Self.node, called: "10.0.0.9") }
        #expect(!log.run(.original(Self.node, bootID: "unheard")).isAccepted)
        #expect(self.met(log, [Twin(bootID: "fourth", host: "", fingerprint: [1])]).isAccepted)
        #expect(throws: Cluster.Refusal.self) { try log.state.machine(of: Self.node, called: "10.0.0.2") }
    }

    @Test func `until the word its present life is listened to, and then the machine that was named`() {
        let log = self.log()
        func rule() -> TwinRule { log.state.node(Self.node).map { TwinRule($0) } ?? TwinRule() }
        #expect(rule().only == nil)
        #expect(self.met(log).isAccepted)
        #expect(rule().only == Self.original.bootID)
        #expect(log.run(.original(Self.node, bootID: Self.copy.bootID)).isAccepted)
        #expect(rule().only == Self.copy.bootID)
    }
}
