import Basis
import Mirror
import Raft
import Resources
import Testing

@testable import Cluster

private func start(_ number: UInt64) -> StartMark {
    StartMark(directory: DirectoryID(high: 1, low: 0), start: number, nonce: number)
}

/// The log's word on copies: which it knows, and which never count. (Rules V18 to V22)
struct VolumeCopyTests {
    private static let orders = GroupName("orders")
    private static let data = VolumeName("data")
    private static let tok = NodeID(1)
    private static let osk = NodeID(2)

    @Test func `a copy that restarted is the copy that the log knows (rule V18)`() {
        let world = VolumeCopyWorld.settled()
        #expect(world.copy(Self.osk, identity: 20, starts: [21, 22], epoch: world.epoch))
        #expect(world.record.inSync == [Self.tok, Self.osk])
        #expect(world.record.copy(of: Self.osk)?.mark == 22)
    }

    @Test func `another copy leaves the set before it is known (rules V18, V20)`() {
        let world = VolumeCopyWorld.settled()
        let version = world.record.version
        #expect(world.copy(Self.osk, identity: 99, starts: [21, 22], epoch: world.epoch))
        #expect(world.record.inSync == [Self.tok])
        #expect(world.record.copy(of: Self.osk) == nil && world.record.version == version + 1)
        // It was known once, so it is not taken for a new one.
        #expect(!world.copy(Self.osk, identity: 99, starts: [22]) || world.record.copy(of: Self.osk) == nil)
        #expect(world.copy(Self.osk, identity: 30, starts: [31], isNoted: false))
        #expect(!world.join(Self.osk, copy: 20))
        #expect(world.join(Self.osk, copy: 30))
    }

    @Test func `a copy that forgot how the log knew it was put back (rule V18)`() {
        let world = VolumeCopyWorld.settled()
        world.copy(Self.osk, identity: 20, starts: [21, 22], epoch: world.epoch)
        #expect(world.copy(Self.osk, identity: 20, starts: [21, 23], epoch: world.epoch))
        #expect(world.record.inSync == [Self.tok])
    }

    @Test func `a copy of an earlier epoch was put back (rule V18)`() {
        let world = VolumeCopyWorld.settled()
        #expect(world.copy(Self.osk, identity: 20, starts: [21, 22], epoch: Epoch(generation: 0, index: 1)))
        #expect(world.record.inSync == [Self.tok])
    }

    @Test func `a word from before an epoch was accepted gives no copy up (rule V18)`() {
        let world = VolumeCopyWorld.settled()
        let before = Epoch(generation: 0, index: 1)
        // Its start is noted: what it accepted since is known better here.
        #expect(!world.copy(Self.osk, identity: 20, starts: [21], epoch: before))
        #expect(world.record.inSync == [Self.tok, Self.osk])
        // Its start is new, but it was asked before the log knew that it had accepted the epoch.
        let late = CopyKnowledge(mark: 21, epoch: before)
        #expect(!world.copy(Self.osk, identity: 20, starts: [21, 22], epoch: before, against: late))
        #expect(world.record.inSync == [Self.tok, Self.osk] && world.record.copy(of: Self.osk)?.mark == 21)
    }

    @Test func `the last copy is not given up (rule V20)`() {
        let world = VolumeCopyWorld.settled()
        world.run(.leaves(Self.data, world.epoch, version: world.record.version, Self.osk))
        world.stop()
        #expect(!world.run(.lacks(Self.data, volume: world.record.identity, Self.tok, copy: 10)))
        #expect(!world.copy(Self.tok, identity: 99, starts: [1]))
        #expect(world.record.inSync == [Self.tok] && world.record.copy(of: Self.tok)?.identity == 10)
    }

    @Test func `the copy of an owner is not given up while its group runs (rule V20)`() {
        let world = VolumeCopyWorld.settled()
        #expect(!world.run(.lacks(Self.data, volume: world.record.identity, Self.tok, copy: 10)))
        world.stop()
        #expect(world.run(.lacks(Self.data, volume: world.record.identity, Self.tok, copy: 10)))
        #expect(world.record.inSync == [Self.osk])
        #expect(!world.assign(Self.tok))
        #expect(world.assign(Self.osk))
    }

    /// The owner dies, comes back in another boot with its copy, and is given the volume without the other one's word.
    private func promotedAfterReboot() -> VolumeCopyWorld {
        let world = VolumeCopyWorld.settled()
        let life = world.state.node(Self.tok)?.incarnation ?? .none
        world.run(.suspect(Self.tok, life))
        world.run(.lost(Self.tok, life, suspectedAt: world.state.appliedIndex))
        world.run(.admit(Self.tok, bootID: "boot-9", mark: start(2)))
        world.copy(Self.tok, identity: 10, starts: [11, 12], epoch: world.epoch)
        #expect(world.assign(Self.tok))
        return world
    }

    @Test func `an owner that finds its copy behind yields to the last set (rule V19)`() {
        let world = self.promotedAfterReboot()
        #expect(world.record.inSync == [Self.tok] && world.record.former == [Self.osk])
        #expect(!world.run(.yields(Self.data, Epoch(generation: 0, index: 1), version: world.record.version)))
        #expect(world.run(.yields(Self.data, world.epoch, version: world.record.version)))
        #expect(world.record.inSync == [Self.osk])
        world.stop()
        #expect(!world.assign(Self.tok))
        #expect(world.assign(Self.osk))
    }

    @Test func `who joins before the volume was opened counts once (rule V7.1)`() {
        let world = self.promotedAfterReboot()
        #expect(world.record.former == [Self.osk])
        let copy = world.record.copy(of: Self.osk)?.identity ?? 0
        #expect(world.run(.joins(Self.data, world.epoch, version: world.record.version, Self.osk, copy: copy)))
        #expect(world.record.inSync == [Self.tok, Self.osk])
        #expect(world.record.holders == [Self.tok, Self.osk])
        #expect(throws: Never.self) { try world.state.checkInvariants() }
    }

    @Test func `an owner that found its copy behind after a clean handover yields too, before it served (rule V19)`() {
        let world = VolumeCopyWorld.settled()
        #expect(!world.run(.yields(Self.data, world.epoch, version: world.record.version)))
        world.stop()
        #expect(world.assign(Self.tok))
        #expect(world.record.inSync == [Self.tok, Self.osk] && world.record.former == [])
        #expect(world.run(.yields(Self.data, world.epoch, version: world.record.version)))
        #expect(world.record.inSync == [Self.osk])
        world.stop()
        #expect(!world.assign(Self.tok))
        #expect(world.assign(Self.osk))
    }

    @Test func `a volume that was in use is marked so for good (rule V22)`() {
        let world = VolumeCopyWorld()
        #expect(world.record.isWritten == false)
        world.settle()
        #expect(world.record.isWritten)
        world.stop()
        #expect(!world.run(.allowRepair(Self.data, .none, statement: "late")))
        #expect(world.run(.allowRepair(Self.data, world.epoch, statement: "a person")))
        #expect(world.record.mayRepair)
        world.assign(Self.tok)
        world.run(.started(Self.orders, world.epoch))
        #expect(!world.record.mayRepair && world.record.isWritten)
    }
}
