import Basis
import Raft
import Testing

@testable import Cluster

/// What applying the log makes of the feature level. (Rule U1)
@Suite struct ClusterStateLevelTests {
    private static let second = FeatureLevel(2)

    @Test func `a node that joined after the others were heard keeps the level from being raised (rule U1)`() {
        let log = StateLog(members: ["tok-1", "osk-1"], witness: false)
        let counted = log.state.nodes.map(\.id)
        log.run(.addNode(StateLog.about("late-1")))
        let outcome = log.run(.raise(Self.second, counting: counted))
        #expect(outcome == .refused(.unfit("late-1 was not heard to do feature level 2")))
        #expect(log.state.level == .first)
        #expect(log.run(.raise(Self.second, counting: log.state.nodes.map(\.id))).isAccepted)
        #expect(log.state.level == Self.second)
        #expect(log.run(.raise(Self.second, counting: log.state.nodes.map(\.id))) != .accepted, "it is there already")
    }

    @Test func `what needs a higher level is refused when it is applied, too (rule U1)`() {
        let log = StateLog()
        let outcome = log.run(.raise(FeatureLevel(3), counting: log.state.nodes.map(\.id)))
        #expect(
            outcome
                == .refused(
                    .unfit(
                        "this needs feature level 2; the cluster is at 1: upgrade all nodes, then "
                            + "`holdfast upgrade finalize`")))
        #expect(log.state.level == .first)
    }

    @Test func `who can do less does not join (rule U2)`() {
        let log = StateLog()
        #expect(log.state.objection(toJoiningAt: .first) == nil)
        log.run(.raise(Self.second, counting: log.state.nodes.map(\.id)))
        #expect(log.state.objection(toJoiningAt: Self.second) == nil)
        #expect(log.state.objection(toJoiningAt: .first)?.contains("install the release") == true)
    }

    @Test func `the level is in a snapshot, whose version says that builds from before cannot read it`() throws {
        let log = StateLog()
        #expect(log.state.encoded.first == 2)
        log.run(.raise(Self.second, counting: log.state.nodes.map(\.id)))
        let bytes = log.state.encoded
        #expect(bytes.first == 3)
        #expect(try ClusterState(decoding: bytes) == log.state)
        log.run(.raise(FeatureLevel(3), counting: log.state.nodes.map(\.id)))
        #expect(log.state.encoded.first == 4)
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
    }

    @Test func `from the third level on a node says which certificate it has, and nobody else does`() throws {
        let log = StateLog()
        let node = NodeID(2)
        func record(_ number: UInt8, trouble: String? = nil) -> CertificateRecord {
            CertificateRecord(
                fingerprint: [number], authority: [9], validity: Validity(from: 0, until: 1_800_000_000), trusts: [[9]],
                trouble: trouble.map { KeptWords($0) })
        }
        #expect(!log.run(.certified(node, record(1))).isAccepted, "no node of the level before could read it")
        for level in 2...3 { log.run(.raise(FeatureLevel(UInt32(level)), counting: log.state.nodes.map(\.id))) }
        #expect(!log.run(.certified(node, record(1)), from: NodeID(1)).isAccepted)
        let before = log.state.events.count
        #expect(log.run(.certified(node, record(1))).isAccepted)
        #expect(log.state.events.count == before, "that it has one is no event")
        log.run(.certified(node, record(2)))
        log.run(.certified(node, record(2, trouble: "nobody is there")))
        log.run(.certified(node, record(2, trouble: "nobody at all")))
        #expect(log.state.node(node)?.certificate == record(2, trouble: "nobody at all"))
        #expect(
            log.state.events.suffix(2).map(\.sentence) == [
                "osk-1 has another certificate, until 2027-01-15",
                "the certificate of osk-1 is for use until 2027-01-15, and it could not get another one: nobody is there",
            ])
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
    }

    @Test func `an entry has the version of the level that brought its kind`() throws {
        func entry(_ command: Command) -> [UInt8] {
            LogCommand(
                origin: NodeID(1), nonce: 1, sequence: 2, clusterMilliseconds: 3, wallMilliseconds: 4, command: command
            ).encoded
        }
        #expect(entry(.drain(NodeID(1), isDrained: true))[3] == 0)
        let raise = entry(.raise(FeatureLevel(7), counting: [NodeID(1)]))
        #expect(raise[3] == 1)
        let record = CertificateRecord(
            fingerprint: [1], authority: [2], validity: Validity(from: 0, until: 1), trusts: [])
        #expect(entry(.certified(NodeID(1), record))[3] == 2)
        #expect(LogCommand.raisedLevel(raise) == FeatureLevel(7))
        #expect(LogCommand.raisedLevel(entry(.drain(NodeID(1), isDrained: true))) == nil)
        #expect(Format.logEntry.version == Release.present.level.rawValue, "a new kind is a new level")
    }
}
