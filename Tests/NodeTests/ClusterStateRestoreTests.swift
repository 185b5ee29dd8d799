import Basis
import Mirror
import Raft
import Resources
import Testing

@testable import Cluster

private let orders = GroupName("orders")
private let data = VolumeName("data")

/// A cluster that begins anew with a backup. (Rule R6)
struct ClusterStateRestoreTests {
    private func restoration(level: UInt32 = 3) -> ClusterState.Restoration {
        ClusterState.Restoration(
            clusterID: 99, recovery: 7, level: FeatureLevel(level), statement: "the backup of tok-1",
            wallMilliseconds: 1)
    }

    private func founder(_ name: String = "osk-1", address: String = "new:1") -> JoiningNode {
        JoiningNode(name: name, site: "s", address: address, role: .member)
    }

    /// A cluster whose group runs, with an attribute, begins anew on another machine.
    private func restored() throws -> (before: ClusterState, world: VolumeCopyWorld, founder: NodeID) {
        let world = VolumeCopyWorld.settled()
        world.run(.putAttribute(AttributeKey(.cluster, "record"), value: "tokyo", lifetime: .forever))
        world.state.authorities.present = .init(fingerprint: Array(repeating: 1, count: 32), certificate: "old")
        let before = world.state
        let beginning = try before.restored(self.restoration(), by: self.founder())
        world.state = beginning.state
        return (before, world, beginning.founder)
    }

    @Test func `what was agreed on is there, and nobody of the earlier cluster is`() throws {
        let (before, world, founder) = try self.restored()
        let state = world.state
        #expect(state.policy == before.policy && state.clusterName == "prod" && state.clusterID == 99)
        #expect(state.attributes.records.map(\.value) == ["tokyo"])
        #expect(state.authorities == Authorities(), "it has one of its own")
        #expect(state.name(of: founder) == "osk-1" && founder.rawValue == before.nodesEver + 1)
        #expect(!state.nodes.contains { $0.standing == .trusted || $0.id != founder && !$0.isLeftBehind })
        #expect(state.base == state.recoveries.last?.generation && state.generation > before.generation)
        #expect(try ClusterState(decoding: state.encoded) == state)
        try state.checkInvariants()
    }

    @Test func `nothing runs before a person starts it, and it is searched for first`() throws {
        let (before, world, _) = try self.restored()
        #expect(before.group(orders)?.assignment != nil)
        let group = try #require(world.state.group(orders))
        #expect(!group.isWanted && group.assignment == nil && group.epoch == .none && world.state.holdings.isEmpty)
    }

    @Test func `a copy that is found is kept and used only once a person signed for it`() throws {
        let (before, world, founder) = try self.restored()
        let earlier = try #require(before.volume(data))
        #expect(world.record.identity == earlier.identity && world.record.isUnproven && world.record.copies.isEmpty)
        #expect(world.record.epoch > earlier.epoch)
        #expect(world.state.formerNodes(of: world.record) == before.nodes.map(\.id))
        let mark = StartMark(directory: DirectoryID(high: 9, low: 0), start: 1, nonce: 1)
        #expect(world.run(.admit(founder, bootID: "new", mark: mark)))
        // Whatever it was to the log before: it is no reason to make it anew.
        #expect(world.copy(founder, identity: 77, starts: [1], epoch: earlier.epoch))
        #expect(world.record.copy(of: founder)?.identity == 77)
        #expect(!world.assign(founder))
        #expect(
            world.run(
                .acceptLoss(
                    data, world.record.epoch, version: world.record.version, founder, statement: "the copy on osk-1")))
        #expect(world.record.inSync == [founder] && world.state.formerNodes(of: world.record).isEmpty)
    }

    @Test func `a volume that was never used at that time may have been since, and waits for a signature too`() throws {
        let before = VolumeCopyWorld().state
        #expect(before.volume(data)?.epoch == Epoch.none)
        let record = try #require(try before.restored(self.restoration(), by: self.founder()).state.volume(data))
        #expect(record.isUnproven && record.epoch != .none && !record.isWritten)
    }

    @Test func `a backup of a later release, and another node's address, are refused`() throws {
        let state = VolumeCopyWorld.settled().state
        var later = state
        later.level = FeatureLevel(4)
        #expect(self.refusal(later, self.founder())?.description.contains("feature level 4") == true)
        #expect(
            self.refusal(state, self.founder(address: "tok-1:1"))?.description.contains("is the address of tok-1")
                == true)
        #expect(self.refusal(ClusterState(), self.founder()) != nil)
        #expect(self.refusal(state, self.founder("nag-1")) == nil)
    }

    private func refusal(_ state: ClusterState, _ founder: JoiningNode) -> Cluster.Refusal? {
        do throws(Cluster.Refusal) {
            _ = try state.restored(self.restoration(), by: founder)
            return nil
        } catch {
            return error
        }
    }
}
