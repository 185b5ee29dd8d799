import Basis
import Mirror
import Raft
import Resources
import Testing

@testable import Cluster

private typealias Log = StateLog

private let orders = GroupName("orders")
private let data = VolumeName("data")
private let tok = NodeID(1)
private let osk = NodeID(2)
private let nag = NodeID(3)

@Suite struct `The in-sync set in the replicated state` {
    private func running() -> Log {
        let log = Log()
        log.configure()
        log.declareAbsent()
        log.assign(tok)
        return log
    }

    private func version(_ log: StateLog) -> UInt64 { log.state.volume(data)?.version ?? 0 }

    @Test func `is the owner alone after the first start`() {
        #expect(self.running().state.volume(data)?.inSync == [tok])
    }

    @Test func `refuses a change under another epoch or another version (rule V4)`() {
        let log = self.running()
        let version = self.version(log)
        #expect(!log.run(.joins(data, Epoch(generation: 0, index: 1), version: version, osk)).isAccepted)
        #expect(!log.run(.joins(data, log.epoch, version: version + 1, osk)).isAccepted)
        #expect(log.run(.joins(data, log.epoch, version: version, osk)).isAccepted)
        #expect(!log.run(.leaves(data, log.epoch, version: version, osk)).isAccepted)
        #expect(log.run(.leaves(data, log.epoch, version: version + 1, osk)).isAccepted)
    }

    @Test func `ends the owner's wait for a replica that was lost before it joined (rule V3)`() {
        let log = self.running()
        let version = self.version(log)
        #expect(log.run(.leaves(data, log.epoch, version: version, osk)).isAccepted)
        #expect(log.state.volume(data)?.inSync == [tok])
        #expect(!log.run(.joins(data, log.epoch, version: version, osk)).isAccepted)
    }

    @Test func `is never emptied (rule V4)`() {
        let log = self.running()
        #expect(!log.run(.leaves(data, log.epoch, version: self.version(log), tok)).isAccepted)
        #expect(log.state.volume(data)?.inSync == [tok])
    }

    @Test func `always holds the owner (rules V3, V4)`() {
        let log = self.running()
        log.run(.joins(data, log.epoch, version: self.version(log), osk))
        #expect(!log.run(.leaves(data, log.epoch, version: self.version(log), tok)).isAccepted)
        #expect(log.state.volume(data)?.inSync == [tok, osk])
    }

    @Test func `becomes the new owner alone after an unplanned promotion (rule V7)`() {
        let log = self.running()
        log.run(.joins(data, log.epoch, version: self.version(log), osk))
        log.lose(tok)
        #expect(log.assign(osk).isAccepted)
        #expect(log.state.volume(data)?.inSync == [osk])
    }

    @Test func `stays as it is after a clean stop, when every copy is equal (rule V7)`() {
        let log = self.running()
        log.run(.joins(data, log.epoch, version: self.version(log), osk))
        log.run(.stopped(orders, log.epoch, failure: nil))
        #expect(log.assign(osk).isAccepted)
        #expect(log.state.volume(data)?.inSync == [tok, osk])
    }

    @Test func `refuses the promotion of a copy that is not in it, until a person signs (rule V8)`() throws {
        let log = self.running()
        log.lose(tok)
        #expect(!log.assign(osk).isAccepted)
        let record = try #require(log.state.volume(data))
        let mark = CopyMark(identity: 5, starts: [6], epoch: .none, isNoted: false)
        func sign(_ epoch: Epoch, _ version: UInt64, _ node: NodeID) -> Outcome {
            log.run(.acceptLoss(data, epoch, version: version, node, statement: "tokyo burnt down"))
        }
        // A copy that the log does not know cannot be signed for.
        #expect(!sign(record.epoch, record.version, osk).isAccepted)
        #expect(log.run(.copy(data, volume: record.identity, osk, mark, capacityBytes: .max)).isAccepted)
        // What the person was shown must still be so, and only a node with a copy counts.
        #expect(!sign(record.epoch, record.version + 1, osk).isAccepted)
        #expect(!sign(Epoch(generation: 0, index: 1), record.version, osk).isAccepted)
        #expect(!sign(record.epoch, record.version, NodeID(3)).isAccepted)
        #expect(!sign(record.epoch, record.version, tok).isAccepted)
        #expect(sign(record.epoch, record.version, osk).isAccepted)
        // A second copy of the command changes nothing.
        #expect(!sign(record.epoch, record.version, osk).isAccepted)
        #expect(log.assign(osk).isAccepted)
        // In use, nothing is given up.
        let used = try #require(log.state.volume(data))
        #expect(!sign(used.epoch, used.version, osk).isAccepted)
    }

    /// Three replicas in the set, the owner lost, and the second promoted.
    private func reopened() -> Log {
        let log = Log(members: ["tok-1", "osk-1", "nag-1"], witness: false)
        log.configure(holders: ["tok-1", "osk-1", "nag-1"])
        log.run(
            .declareAbsent(
                orders, nodes: log.state.nodes.map(\.id), since: log.search, statement: "a new cluster"))
        log.assign(tok)
        for node in [osk, nag] { log.run(.joins(data, log.epoch, version: self.version(log), node)) }
        log.lose(tok)
        log.assign(osk)
        return log
    }

    @Test func `takes the other replicas back in one entry before the first write (rule V7)`() {
        let log = self.reopened()
        #expect(log.state.volume(data)?.inSync == [osk])
        #expect(log.state.volume(data)?.former == [tok, nag])
        #expect(log.run(.opens(data, log.epoch, version: self.version(log), inSync: [osk, nag])).isAccepted)
        #expect(log.state.volume(data)?.inSync == [osk, nag])
        #expect(log.state.volume(data)?.former == [])
        // The third survives the second failure.
        log.lose(osk)
        #expect(log.assign(nag).isAccepted)
    }

    @Test func `refuses to open under another epoch or version, smaller, or with a stranger (rules V4, V7)`() {
        let log = self.reopened()
        let version = self.version(log)
        #expect(
            !log.run(.opens(data, Epoch(generation: 0, index: 1), version: version, inSync: [osk, nag])).isAccepted)
        #expect(!log.run(.opens(data, log.epoch, version: version + 1, inSync: [osk, nag])).isAccepted)
        #expect(!log.run(.opens(data, log.epoch, version: version, inSync: [nag])).isAccepted)
        #expect(!log.run(.opens(data, log.epoch, version: version, inSync: [osk, NodeID(9)])).isAccepted)
        #expect(!log.run(.opens(data, log.epoch, version: version, inSync: [osk, nag, nag])).isAccepted)
        #expect(log.run(.leaves(data, log.epoch, version: version, nag)).isAccepted)
        #expect(!log.run(.opens(data, log.epoch, version: version, inSync: [osk, nag])).isAccepted)
        #expect(log.state.volume(data)?.inSync == [osk])
    }

    @Test func `keeps who was in it before the promotion in a snapshot (rule V7)`() throws {
        let log = self.reopened()
        #expect(try ClusterState(decoding: log.state.encoded) == log.state)
        let entry = LogCommand(
            origin: osk, nonce: 1, sequence: 2, clusterMilliseconds: 3, wallMilliseconds: 4,
            command: .opens(data, log.epoch, version: 7, inSync: [osk, nag]))
        #expect(try LogCommand(decoding: entry.encoded) == entry)
    }

    @Test func `refuses an owner's late request after the volume moved on (rule V4)`() {
        let log = self.running()
        log.run(.joins(data, log.epoch, version: self.version(log), osk))
        let old = log.epoch
        let version = self.version(log)
        log.lose(tok)
        log.assign(osk)
        #expect(!log.run(.leaves(data, old, version: version, osk)).isAccepted)
    }
}
