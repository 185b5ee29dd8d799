import Basis
import Testing

@testable import Cluster

/// Another authority takes the place of the first, in steps that follow from what nodes say. (Rule I2)
@Suite struct ClusterStateExchangeTests {
    private static let old = Authorities.Authority(fingerprint: .init(repeating: 7, count: 32), certificate: "old")
    private static let new = Authorities.Authority(fingerprint: .init(repeating: 8, count: 32), certificate: "new")
    private static let begin = Command.changeAuthority(.begin(present: old, next: new))
    private let tok = NodeID(1)
    private let osk = NodeID(2)
    private let wit = NodeID(3)

    private func log() -> StateLog {
        let log = StateLog()
        for level in 2...3 { log.run(.raise(FeatureLevel(UInt32(level)), counting: log.state.nodes.map(\.id))) }
        return log
    }

    /// A node says what it trusts, of which authority its certificate is, and whether it keeps the new one's key.
    private func say(
        _ log: StateLog, _ node: NodeID, of authority: Authorities.Authority = old,
        trusts: [Authorities.Authority] = [old, new], keeps: Bool = false
    ) {
        let outcome = log.run(
            .certified(
                node,
                CertificateRecord(
                    fingerprint: [UInt8(node.rawValue), authority.fingerprint[0]], authority: authority.fingerprint,
                    validity: Validity(from: 0, until: 1), trusts: trusts.map(\.fingerprint),
                    keys: keeps ? [Self.new.fingerprint] : [])))
        #expect(outcome.isAccepted)
    }

    private func isTrusted(_ log: StateLog) -> Bool { log.state.authorities.exchange?.isTrusted == true }

    private func awaited(_ log: StateLog) -> [NodeID] { log.state.awaitedByExchange.map(\.id) }

    @Test func `certificates are of the new one when every node trusts it, not before (rule I2)`() throws {
        let log = self.log()
        #expect(log.run(Self.begin).isAccepted)
        #expect(log.state.authorities.wanted == Self.old)
        #expect(log.state.authorities.trusted == [Self.old, Self.new])
        #expect(self.awaited(log) == [self.tok, self.osk, self.wit], "who has said nothing may know nothing")
        self.say(log, self.tok, keeps: true)
        self.say(log, self.osk, keeps: true)
        self.say(log, self.wit, trusts: [Self.old])
        #expect(self.awaited(log) == [self.wit])
        #expect(!self.isTrusted(log))
        #expect(log.state.authorities.wanted == Self.old)
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
        self.say(log, self.wit)
        #expect(self.isTrusted(log))
        #expect(log.state.authorities.wanted == Self.new)
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
    }

    @Test func `not before another member keeps its key (rule I2)`() {
        let log = self.log()
        log.run(Self.begin)
        self.say(log, self.tok, keeps: true)
        self.say(log, self.osk)
        self.say(log, self.wit, keeps: true)
        #expect(self.awaited(log).isEmpty)
        #expect(!self.isTrusted(log), "the witness lets nobody in, and tok-1 may burn")
        self.say(log, self.osk, keeps: true)
        #expect(self.isTrusted(log))
    }

    @Test func `the present one is dropped when every node has a certificate of the new one, not before (rule I2)`()
        throws
    {
        let log = self.log()
        log.run(Self.begin)
        for node in [self.tok, self.osk, self.wit] { self.say(log, node, keeps: true) }
        for node in [self.tok, self.osk] {
            self.say(log, node, of: Self.new, keeps: true)
            #expect(log.state.authorities.trusted == [Self.old, Self.new])
        }
        #expect(self.awaited(log) == [self.wit])
        self.say(log, self.wit, of: Self.new)
        #expect(
            log.state.authorities
                == {
                    var expected = Authorities()
                    expected.present = Self.new
                    return expected
                }())
        #expect(
            log.state.events.filter { $0.happening.identifier.hasPrefix("cluster.authority") }.map(
                \.happening.identifier) == [
                    "cluster.authority-comes", "cluster.authority-trusted", "cluster.authority-exchanged",
                ])
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
        #expect(!log.run(Self.begin).isAccepted, "the order is about an authority that is not the present one any more")
    }

    @Test func `a node that was given up is not waited for, and one that has left is none (rule I2)`() {
        let log = self.log()
        log.run(Self.begin)
        self.say(log, self.tok, keeps: true)
        self.say(log, self.osk, keeps: true)
        #expect(!log.run(.changeAuthority(.without(Self.new.fingerprint, [NodeID(9)]))).isAccepted)
        #expect(!log.run(.changeAuthority(.without(Self.old.fingerprint, [self.wit]))).isAccepted)
        #expect(
            !log.run(.changeAuthority(.without(Self.new.fingerprint, [self.tok, self.osk]))).isAccepted,
            "nobody would be left who could let anybody in")
        #expect(log.run(.changeAuthority(.without(Self.new.fingerprint, [self.wit]))).isAccepted)
        #expect(self.isTrusted(log))
        self.say(log, self.tok, of: Self.new, keeps: true)
        self.say(log, self.osk, of: Self.new, keeps: true)
        #expect(log.state.authorities.present == Self.new && log.state.authorities.exchange == nil)

        let other = self.log()
        other.run(Self.begin)
        self.say(other, self.tok, keeps: true)
        self.say(other, self.osk, keeps: true)
        other.run(.retire(self.wit, isRetiring: true))
        let life = other.life(self.wit)
        other.run(.suspect(self.wit, life))
        other.run(.lost(self.wit, life, suspectedAt: other.state.appliedIndex))
        #expect(!self.isTrusted(other))
        #expect(other.run(.expel(self.wit, life)).isAccepted)
        #expect(self.isTrusted(other), "nobody is waited for any more")
    }

    @Test func `it can be taken back until certificates are of it, and not after (rule I2)`() {
        let log = self.log()
        #expect(!log.run(.changeAuthority(.cancel(Self.new.fingerprint))).isAccepted)
        log.run(Self.begin)
        #expect(!log.run(Self.begin).isAccepted, "one at a time")
        #expect(log.run(.changeAuthority(.cancel(Self.new.fingerprint))).isAccepted)
        #expect(log.state.authorities.trusted == [Self.old], "and nobody goes on trusting it")
        log.run(Self.begin)
        for node in [self.tok, self.osk, self.wit] { self.say(log, node, keeps: true) }
        #expect(!log.run(.changeAuthority(.cancel(Self.new.fingerprint))).isAccepted)
        #expect(self.isTrusted(log))
    }

    @Test func `who joins meanwhile is waited for, and takes nothing back`() {
        let log = self.log()
        log.run(Self.begin)
        for node in [self.tok, self.osk, self.wit] { self.say(log, node, keeps: true) }
        #expect(self.isTrusted(log))
        log.run(.addNode(StateLog.about("late-1")))
        #expect(self.isTrusted(log))
        for node in [self.tok, self.osk, self.wit] { self.say(log, node, of: Self.new, keeps: true) }
        #expect(self.awaited(log) == [NodeID(4)])
        self.say(log, NodeID(4), of: Self.new)
        #expect(log.state.authorities.exchange == nil)
    }

    @Test func `below the third level, and from a witness, it is refused (rule U1)`() {
        let before = StateLog()
        #expect(!before.run(Self.begin).isAccepted)
        let log = self.log()
        #expect(!log.run(Self.begin, from: self.wit).isAccepted)
        for bad in [
            Self.old, .init(fingerprint: [1], certificate: "short"),
            .init(fingerprint: Self.new.fingerprint, certificate: ""),
        ] {
            #expect(!log.run(.changeAuthority(.begin(present: Self.old, next: bad))).isAccepted)
        }
    }
}
