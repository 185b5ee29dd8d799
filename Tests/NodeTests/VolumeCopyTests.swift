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

    /// A cluster of two members and a witness with one volume on both members.
    private final class World {
        var state = ClusterState()
        var boots = 0
        private var sequence: UInt64 = 0

        init(sizeBytes: UInt64 = 4096) {
            func node(_ name: String, witness: Bool = false) -> JoiningNode {
                JoiningNode(name: name, site: name, address: "\(name):1", isWitness: witness)
            }
            self.run(.bootstrap(clusterID: 7, clusterName: "prod", node: node("tok-1")))
            self.run(.addNode(node("osk-1")))
            self.run(.addNode(node("wit-1", witness: true)))
            for id in 1...3 { self.run(.admit(NodeID(UInt32(id)), bootID: "boot-\(id)", mark: start(1))) }
            self.configure(Self.policy(sizeBytes: sizeBytes))
            self.run(
                .declareAbsent(
                    orders, nodes: [tok, osk], since: self.state.group(orders)?.searchedSince ?? .zero, statement: "new"
                ))
        }

        static func policy(
            sizeBytes: UInt64 = 4096, backings: [(String, String)] = [("tok-1", "/a"), ("osk-1", "/b")],
            nodes: [String]? = nil, hasVolume: Bool = true
        ) -> ClusterPolicy {
            let replicas = backings.map { VolumePolicy.Replica(node: $0.0, backing: $0.1, address: "h:2") }
            let disk = ResourcePolicy(
                name: ResourceName("disk"), agent: "volume", parameters: [.init("volume", "data")])
            return ClusterPolicy(
                name: "prod",
                volumes: hasVolume ? [VolumePolicy(name: data, sizeBytes: sizeBytes, replicas: replicas)] : [],
                groups: hasVolume
                    ? [GroupPolicy(name: orders, nodes: nodes ?? backings.map(\.0), resources: [disk])] : [])
        }

        /// Who may give the command gives it.
        private func origin(of command: Command) -> NodeID {
            switch command.authority {
            case .node(let node): node
            case .writer: self.record.owner ?? tok
            case .owner: self.state.group(orders)?.assignment?.node ?? tok
            case .member, .leader: tok
            }
        }

        @discardableResult func run(_ command: Command) -> Bool {
            self.sequence += 1
            let outcome = self.state.apply(
                LogCommand(
                    origin: self.origin(of: command), nonce: 1, sequence: self.sequence,
                    clusterMilliseconds: self.state.clusterMilliseconds + 1000, wallMilliseconds: 0,
                    command: command), at: self.state.appliedIndex.next)
            return outcome == .accepted
        }

        @discardableResult func configure(_ policy: ClusterPolicy) -> Bool {
            self.run(.configure(policy, text: "", expectedIndex: self.state.policyIndex))
        }

        var record: ClusterState.VolumeRecord {
            self.state.volume(data)
                ?? ClusterState.VolumeRecord(VolumePolicy(name: data, sizeBytes: 0, replicas: []), identity: 0)
        }
        var epoch: Epoch { self.state.group(orders)?.epoch ?? .none }

        /// Of every copy.
        var capacityBytes: UInt64 = 1 << 20

        @discardableResult func assign(_ node: NodeID) -> Bool {
            self.run(
                .assign(
                    orders, node, self.state.node(node)?.incarnation ?? .none, replacing: self.epoch,
                    isTakeover: false, reason: "a test"))
        }

        /// The owner says that it goes on alone.
        func open() -> Bool {
            let record = self.record
            return self.run(
                .opens(
                    data, record.epoch, version: record.version, inSync: record.inSync,
                    copies: record.inSync.map { record.copy(of: $0)?.identity ?? 0 }))
        }

        /// It dies, and another boot of it is let in.
        func reboot(_ node: NodeID) {
            let life = self.state.node(node)?.incarnation ?? .none
            self.run(.suspect(node, life))
            self.run(.lost(node, life, suspectedAt: self.state.appliedIndex))
            self.boots += 1
            var mark = self.state.node(node)?.mark ?? .none
            mark.start += 1
            mark.nonce += 1
            self.run(.admit(node, bootID: "boot \(self.boots)", mark: mark))
        }

        @discardableResult func stop() -> Bool { self.run(.stopped(orders, self.epoch, failure: nil)) }

        @discardableResult func copy(
            _ node: NodeID, identity: UInt64, starts: [UInt64], epoch: Epoch = .none, isNoted: Bool = true,
            against: CopyKnowledge? = nil
        ) -> Bool {
            let mark = CopyMark(identity: identity, starts: starts, epoch: epoch, isNoted: isNoted)
            return self.run(
                .copy(
                    data, volume: self.record.identity, node, mark, capacityBytes: self.capacityBytes,
                    against: against ?? self.record.copy(of: node)?.knowledge,
                    boot: self.state.node(node)?.bootID ?? ""))
        }

        @discardableResult func join(_ node: NodeID, copy: UInt64) -> Bool {
            self.run(.joins(data, self.epoch, version: self.record.version, node, copy: copy))
        }

        /// Both copies are known and in the set; the group runs on tok-1.
        func settle(capacityBytes: UInt64 = 1 << 20) {
            self.capacityBytes = capacityBytes
            self.copy(tok, identity: 10, starts: [11], isNoted: false)
            self.copy(osk, identity: 20, starts: [21], isNoted: false)
            self.assign(tok)
            self.join(osk, copy: 20)
            self.run(.started(orders, self.epoch))
        }
    }

    private func settled(capacityBytes: UInt64 = 1 << 20) -> World {
        let world = World()
        world.settle(capacityBytes: capacityBytes)
        #expect(world.record.inSync == [Self.tok, Self.osk])
        return world
    }

    @Test func `a copy that restarted is the copy that the log knows (rule V18)`() {
        let world = self.settled()
        #expect(world.copy(Self.osk, identity: 20, starts: [21, 22], epoch: world.epoch))
        #expect(world.record.inSync == [Self.tok, Self.osk])
        #expect(world.record.copy(of: Self.osk)?.mark == 22)
    }

    @Test func `another copy leaves the set before it is known (rules V18, V20)`() {
        let world = self.settled()
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
        let world = self.settled()
        world.copy(Self.osk, identity: 20, starts: [21, 22], epoch: world.epoch)
        #expect(world.copy(Self.osk, identity: 20, starts: [21, 23], epoch: world.epoch))
        #expect(world.record.inSync == [Self.tok])
    }

    @Test func `a copy of an earlier epoch was put back (rule V18)`() {
        let world = self.settled()
        #expect(world.copy(Self.osk, identity: 20, starts: [21, 22], epoch: Epoch(generation: 0, index: 1)))
        #expect(world.record.inSync == [Self.tok])
    }

    @Test func `a word from before an epoch was accepted gives no copy up (rule V18)`() {
        let world = self.settled()
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
        let world = self.settled()
        world.run(.leaves(Self.data, world.epoch, version: world.record.version, Self.osk))
        world.stop()
        #expect(!world.run(.lacks(Self.data, volume: world.record.identity, Self.tok, copy: 10)))
        #expect(!world.copy(Self.tok, identity: 99, starts: [1]))
        #expect(world.record.inSync == [Self.tok] && world.record.copy(of: Self.tok)?.identity == 10)
    }

    @Test func `the copy of an owner is not given up while its group runs (rule V20)`() {
        let world = self.settled()
        #expect(!world.run(.lacks(Self.data, volume: world.record.identity, Self.tok, copy: 10)))
        world.stop()
        #expect(world.run(.lacks(Self.data, volume: world.record.identity, Self.tok, copy: 10)))
        #expect(world.record.inSync == [Self.osk])
        #expect(!world.assign(Self.tok))
        #expect(world.assign(Self.osk))
    }

    @Test func `an owner that finds its copy behind yields to the last set (rule V19)`() {
        let world = self.settled()
        let life = world.state.node(Self.tok)?.incarnation ?? .none
        world.run(.suspect(Self.tok, life))
        world.run(.lost(Self.tok, life, suspectedAt: world.state.appliedIndex))
        world.run(.admit(Self.tok, bootID: "boot-9", mark: start(2)))
        world.copy(Self.tok, identity: 10, starts: [11, 12], epoch: world.epoch)
        #expect(world.assign(Self.tok))
        #expect(world.record.inSync == [Self.tok] && world.record.former == [Self.osk])
        #expect(!world.run(.yields(Self.data, Epoch(generation: 0, index: 1), version: world.record.version)))
        #expect(world.run(.yields(Self.data, world.epoch, version: world.record.version)))
        #expect(world.record.inSync == [Self.osk])
        world.stop()
        #expect(!world.assign(Self.tok))
        #expect(world.assign(Self.osk))
    }

    @Test func `an owner that found its copy behind after a clean handover yields too, before it served (rule V19)`() {
        let world = self.settled()
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
        let world = World()
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

    // MARK: Definitions (rule V21)

    @Test func `a volume on files grows in use (rule V21)`() {
        for isDevice in [false, true] {
            let world = self.settled(capacityBytes: isDevice ? 1 << 20 : UInt64(Int64.max))
            #expect(world.state.volumeConsequences(of: World.policy(sizeBytes: 8192)).count == 1)
            #expect(world.configure(World.policy(sizeBytes: 8192)))
            #expect(world.record.definition.sizeBytes == (isDevice ? 4096 : 8192))
            #expect(world.record.owner == Self.tok && world.record.inSync == [Self.tok, Self.osk])
        }
    }

    @Test func `a volume on devices does not shrink, and grows when it is opened`() {
        let world = self.settled()
        #expect(!world.configure(World.policy(sizeBytes: 2048)))
        #expect(world.configure(World.policy(sizeBytes: 8192)))
        #expect(world.record.definition.sizeBytes == 4096)
        world.stop()
        world.assign(Self.tok)
        #expect(world.record.definition.sizeBytes == 8192)
        #expect(!world.configure(World.policy()))
        // Beyond what a copy has room for it stays as it is.
        #expect(world.configure(World.policy(sizeBytes: 2 << 20)))
        #expect(world.state.volumeConsequences(of: World.policy(sizeBytes: 2 << 20)).first?.contains("devices") == true)
        world.stop()
        world.assign(Self.tok)
        #expect(world.record.definition.sizeBytes == 8192)
    }

    @Test func `a changed backing is a new copy, one at a time and never the owner's`() {
        let world = self.settled()
        #expect(!world.configure(World.policy(backings: [("tok-1", "/c"), ("osk-1", "/b")])))
        #expect(!world.configure(World.policy(backings: [("tok-1", "/c"), ("osk-1", "/d")])))
        let moved = World.policy(backings: [("tok-1", "/a"), ("osk-1", "/d")])
        #expect(world.state.volumeConsequences(of: moved).first?.contains("leaves the in-sync set") == true)
        #expect(world.configure(moved))
        #expect(world.record.inSync == [Self.tok] && world.record.copy(of: Self.osk) == nil)
        #expect(world.record.definition.replicas.map(\.backing) == ["/a", "/d"])
        // The only complete copy stays where it is.
        world.stop()
        #expect(!world.configure(World.policy(backings: [("tok-1", "/c"), ("osk-1", "/d")])))
    }

    @Test func `a machine that booted is given no volume before it has looked at its copy, but the last (rule V20)`() {
        let world = self.settled()
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
        let world = self.settled()
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
            let world = self.settled()
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
        let world = self.settled()
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
        let world = self.settled()
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
        let world = self.settled()
        #expect(world.configure(World.policy(backings: [("osk-1", "/b")])))
        #expect(world.record.definition.replicas.map(\.node) == ["osk-1", "tok-1"])
        #expect(world.record.inSync == [Self.tok, Self.osk])
        world.stop()
        #expect(world.record.definition.replicas.map(\.node) == ["osk-1"])
        #expect(world.record.inSync == [Self.osk])
    }

    @Test func `a standby's replica goes after it has left the set`() {
        let world = self.settled()
        #expect(world.configure(World.policy(backings: [("tok-1", "/a")])))
        #expect(world.record.definition.replicas.map(\.node) == ["tok-1", "osk-1"])
        #expect(!world.join(Self.osk, copy: 20))
        #expect(world.run(.leaves(Self.data, world.epoch, version: world.record.version, Self.osk)))
        #expect(world.record.definition.replicas.map(\.node) == ["tok-1"])
        #expect(!world.configure(World.policy(backings: [("osk-1", "/b")])))
    }

    @Test func `a volume in use outlives its removal, and a new one of its name is another`() {
        let world = self.settled()
        let before = world.record.identity
        #expect(world.configure(World.policy(hasVolume: false)))
        #expect(world.record.owner == Self.tok)
        world.stop()
        #expect(world.state.volume(Self.data) == nil)
        #expect(world.configure(World.policy()))
        #expect(world.record.identity != before)
        #expect(world.record.epoch == .none && world.record.inSync.isEmpty && world.record.copies.isEmpty)
    }
}
