import Basis
import Mirror
import Raft
import Resources
import Testing

@testable import Cluster

/// What becomes of a volume whose definition, machine or owner changes. (Rules V7.1, V20, V21)
struct VolumeDefinitionTests {
    private static let orders = GroupName("orders")
    private static let data = VolumeName("data")
    private static let tok = NodeID(1)
    private static let osk = NodeID(2)

    @Test func `a volume on files grows in use (rule V21)`() {
        for isDevice in [false, true] {
            let world = VolumeCopyWorld.settled(capacityBytes: isDevice ? 1 << 20 : UInt64(Int64.max))
            #expect(world.state.volumeConsequences(of: VolumeCopyWorld.policy(sizeBytes: 8192)).count == 1)
            #expect(world.configure(VolumeCopyWorld.policy(sizeBytes: 8192)))
            #expect(world.record.definition.sizeBytes == (isDevice ? 4096 : 8192))
            #expect(world.record.owner == Self.tok && world.record.inSync == [Self.tok, Self.osk])
        }
    }

    @Test func `a volume on devices does not shrink, and grows when it is opened`() {
        let world = VolumeCopyWorld.settled()
        #expect(!world.configure(VolumeCopyWorld.policy(sizeBytes: 2048)))
        #expect(world.configure(VolumeCopyWorld.policy(sizeBytes: 8192)))
        #expect(world.record.definition.sizeBytes == 4096)
        world.stop()
        world.assign(Self.tok)
        #expect(world.record.definition.sizeBytes == 8192)
        #expect(!world.configure(VolumeCopyWorld.policy()))
        // Beyond what a copy has room for it stays as it is.
        #expect(world.configure(VolumeCopyWorld.policy(sizeBytes: 2 << 20)))
        #expect(
            world.state.volumeConsequences(of: VolumeCopyWorld.policy(sizeBytes: 2 << 20)).first?.contains("devices")
                == true)
        world.stop()
        world.assign(Self.tok)
        #expect(world.record.definition.sizeBytes == 8192)
    }

    @Test func `a changed backing is a new copy, one at a time and never the owner's`() {
        let world = VolumeCopyWorld.settled()
        #expect(!world.configure(VolumeCopyWorld.policy(backings: [("tok-1", "/c"), ("osk-1", "/b")])))
        #expect(!world.configure(VolumeCopyWorld.policy(backings: [("tok-1", "/c"), ("osk-1", "/d")])))
        let moved = VolumeCopyWorld.policy(backings: [("tok-1", "/a"), ("osk-1", "/d")])
        #expect(world.state.volumeConsequences(of: moved).first?.contains("leaves the in-sync set") == true)
        #expect(world.configure(moved))
        #expect(world.record.inSync == [Self.tok] && world.record.copy(of: Self.osk) == nil)
        #expect(world.record.definition.replicas.map(\.backing) == ["/a", "/d"])
        // The only complete copy stays where it is.
        world.stop()
        #expect(!world.configure(VolumeCopyWorld.policy(backings: [("tok-1", "/c"), ("osk-1", "/d")])))
    }

    @Test func `a node that its group's list has no more runs it while it alone has the data (rule V21.1)`() {
        let world = VolumeCopyWorld.settled()
        let onlyOsk = VolumeCopyWorld.policy(backings: [("osk-1", "/b")])
        #expect(world.configure(onlyOsk))
        func next() -> Plan.Step? {
            Planner.plan(policy: onlyOsk, observation: world.state.observation).actions.first?.step
        }
        // It is on its way to the other one, which leaves the set just then.
        #expect(next() == .release(Self.orders, owner: "tok-1", target: "osk-1"))
        #expect(world.run(.leaves(Self.data, world.epoch, version: world.record.version, Self.osk)))
        #expect(next() == nil)
        #expect(world.stop())
        #expect(next() == .assign(Self.orders, node: "tok-1", isTakeover: false))
        #expect(world.assign(Self.tok))
        #expect(world.run(.started(Self.orders, world.epoch)))
        // As soon as the other one has everything the group moves there, and the copy that nobody wants goes.
        #expect(next() == nil)
        #expect(world.join(Self.osk, copy: 20))
        #expect(next() == .release(Self.orders, owner: "tok-1", target: "osk-1"))
        #expect(world.stop())
        #expect(world.state.dataObjection(Self.data, on: Self.tok) == "has no replica of data")
        #expect(!world.assign(Self.tok))
        #expect(world.assign(Self.osk))
        #expect(world.record.definition.replicas.map(\.node) == ["osk-1"])
    }

    @Test func `a machine that booted is given no volume before it has looked at its copy, but the last (rule V20)`() {
        let world = VolumeCopyWorld.settled()
        world.reboot(Self.tok)
        // Another disk may be in it by now: the set would be that copy alone.
        let objection = "has not looked at its copy of data yet since it booted"
        #expect(world.state.dataObjection(Self.data, on: Self.tok) == objection)
        #expect(!world.assign(Self.tok))
        #expect(world.copy(Self.tok, identity: 10, starts: [11, 12], epoch: world.epoch))
        #expect(world.assign(Self.tok))
        #expect(world.record.inSync == [Self.tok])
        #expect(world.open())
        // It is the last: nobody else could take the volume, and it finds out by itself.
        world.reboot(Self.tok)
        #expect(world.state.dataObjection(Self.data, on: Self.tok) == nil)
    }

    @Test func `who has another log is given no volume before its copy was looked at (rules V20, E4.2)`() {
        let world = VolumeCopyWorld.settled()
        let life = world.state.node(Self.osk)?.incarnation ?? .none
        world.run(.suspect(Self.osk, life))
        world.run(.lost(Self.osk, life, suspectedAt: world.state.appliedIndex))
        let other = StartMark(directory: DirectoryID(high: 9, low: 9), start: 1, nonce: 5)
        #expect(world.run(.admit(Self.osk, bootID: "boot-2", mark: other)))
        #expect(world.state.dataObjection(Self.data, on: Self.osk)?.contains("has not looked") == true)
        // It is the copy that was known: it says so once, and no more.
        let known = world.record.copy(of: Self.osk)
        let mark = CopyMark(
            identity: known?.identity ?? 0, starts: [known?.mark ?? 0], epoch: world.epoch, isNoted: true)
        let word = Command.copy(
            Self.data, volume: world.record.identity, Self.osk, mark, capacityBytes: known?.capacityBytes ?? 0,
            boot: "boot-2")
        #expect(world.run(word))
        #expect(world.state.dataObjection(Self.data, on: Self.osk) == nil)
        #expect(!world.run(word))
    }

    @Test func `whoever was given a volume and opened nothing is no last copy (rule V7.1)`() {
        for isSeen in [true, false] {
            let world = VolumeCopyWorld.settled()
            world.reboot(Self.tok)
            #expect(world.copy(Self.tok, identity: 10, starts: [11, 12], epoch: world.epoch))
            #expect(world.assign(Self.tok))
            #expect(world.record.inSync == [Self.tok] && world.record.former == [Self.osk])
            // It ends before it has opened anything: both copies are as good as before.
            if isSeen {
                world.stop()
                // Its disk turns out to be gone.
                #expect(world.run(.lacks(Self.data, volume: world.record.identity, Self.tok, copy: 10)))
                #expect(world.record.inSync == [Self.osk] && world.record.former == [])
            } else {
                world.reboot(Self.tok)
                #expect(world.record.holders == [Self.tok, Self.osk])
            }
            #expect(world.assign(Self.osk))
            #expect(world.record.inSync == [Self.osk])
        }
    }

    @Test func `an owner that opened alone is the last copy (rule V7.1)`() {
        let world = VolumeCopyWorld.settled()
        world.reboot(Self.tok)
        #expect(world.copy(Self.tok, identity: 10, starts: [11, 12], epoch: world.epoch))
        #expect(world.assign(Self.tok))
        #expect(world.open())
        #expect(!world.open())
        world.reboot(Self.tok)
        #expect(!world.assign(Self.osk))
        #expect(!world.run(.lacks(Self.data, volume: world.record.identity, Self.tok, copy: 10)))
    }

    @Test func `a device that was made larger under a running server is noted, once (rule V21)`() {
        let world = VolumeCopyWorld.settled()
        func word(_ capacity: UInt64) -> Bool {
            world.run(
                .copy(
                    Self.data, volume: world.record.identity, Self.osk,
                    CopyMark(identity: 20, starts: [21], epoch: .none, isNoted: true), capacityBytes: capacity,
                    against: nil))
        }
        #expect(word(2 << 20))
        #expect(world.record.copy(of: Self.osk)?.capacityBytes == 2 << 20)
        #expect(world.record.inSync == [Self.tok, Self.osk])
        #expect(!word(2 << 20))
    }

    @Test func `the owner's replica goes after its group has stopped`() {
        let world = VolumeCopyWorld.settled()
        #expect(world.configure(VolumeCopyWorld.policy(backings: [("osk-1", "/b")])))
        #expect(world.record.definition.replicas.map(\.node) == ["osk-1", "tok-1"])
        #expect(world.record.inSync == [Self.tok, Self.osk])
        world.stop()
        #expect(world.record.definition.replicas.map(\.node) == ["osk-1"])
        #expect(world.record.inSync == [Self.osk])
    }

    @Test func `a standby's replica goes after it has left the set`() {
        let world = VolumeCopyWorld.settled()
        #expect(world.configure(VolumeCopyWorld.policy(backings: [("tok-1", "/a")])))
        #expect(world.record.definition.replicas.map(\.node) == ["tok-1", "osk-1"])
        #expect(!world.join(Self.osk, copy: 20))
        #expect(world.run(.leaves(Self.data, world.epoch, version: world.record.version, Self.osk)))
        #expect(world.record.definition.replicas.map(\.node) == ["tok-1"])
        #expect(!world.configure(VolumeCopyWorld.policy(backings: [("osk-1", "/b")])))
    }

    @Test func `a replica stays until the copy that remains was seen on a node that is trusted (rule V21)`() {
        let onlyOsk = VolumeCopyWorld.policy(backings: [("osk-1", "/b")])
        let world = VolumeCopyWorld.settled()
        world.stop()
        let life = world.state.node(Self.osk)?.incarnation ?? .none
        #expect(world.run(.suspect(Self.osk, life)))
        let suspectedAt = world.state.appliedIndex
        // What osk-1 holds is not known to be there any more: the other copy is not given up for it.
        #expect(!world.configure(VolumeCopyWorld.policy(backings: [("tok-1", "/c"), ("osk-1", "/b")])))
        #expect(world.configure(onlyOsk))
        #expect(world.record.definition.replicas.map(\.node) == ["osk-1", "tok-1"])
        #expect(world.record.inSync == [Self.tok, Self.osk])
        #expect(world.run(.trust(Self.osk, life, suspectedAt: suspectedAt)))
        #expect(world.record.definition.replicas.map(\.node) == ["osk-1"])

        let other = VolumeCopyWorld.settled()
        other.stop()
        other.reboot(Self.osk)
        #expect(other.configure(onlyOsk))
        #expect(other.record.inSync == [Self.tok, Self.osk])
        // Its copy was put back: the one that was to go is the last, and stays.
        #expect(other.copy(Self.osk, identity: 20, starts: [99], epoch: other.epoch))
        #expect(other.record.inSync == [Self.tok] && other.record.definition.replicas.count == 2)
    }

    @Test func `a volume in use outlives its removal, and a new one of its name is another`() {
        let world = VolumeCopyWorld.settled()
        let before = world.record.identity
        #expect(world.configure(VolumeCopyWorld.policy(hasVolume: false)))
        #expect(world.record.owner == Self.tok)
        world.stop()
        #expect(world.state.volume(Self.data) == nil)
        #expect(world.configure(VolumeCopyWorld.policy()))
        #expect(world.record.identity != before)
        #expect(world.record.epoch == .none && world.record.inSync.isEmpty && world.record.copies.isEmpty)
    }
}
