import Basis
import Mirror
import Resources
import Testing

@testable import Cluster

/// After an upgrade what outlived the daemon is renewed, one at a time and while all is well.
@Suite struct SupervisorRenewalTests {
    private static let data = VolumeName("data")
    private static let old = NodePrograms.Helper(version: nil, isPresent: false)
    private static let new = NodePrograms.Helper(version: "0", isPresent: true)

    /// The group runs on a mirrored volume, both copies in sync.
    private func trio() throws -> (trio: Trio, owner: NodeID, other: NodeID) {
        let (trio, owner, other) = try Trio.mirrored(Self.data)
        trio.report(of: owner, peers: [other])
        trio.report(of: other, peers: [])
        trio.pass(milliseconds: 500)
        return (trio, owner, other)
    }

    @Test func `the guard first, then the server once the guard is back and all has settled`() throws {
        let (trio, owner, _) = try self.trio()
        trio.step(owner, .runs(.guardian, Self.old, isRenewable: true))
        trio.step(owner, .runs(.server(Self.data), Self.old, isRenewable: true))
        trio.pass(milliseconds: 3000)
        #expect(trio.renewed == ["\(owner): \(HelperRole.guardian)"], "the other one is waited for")
        trio.step(owner, .runs(.guardian, Self.new, isRenewable: true))
        trio.pass(milliseconds: 900)
        #expect(trio.renewed.count == 1)
        trio.pass(milliseconds: 600)
        #expect(trio.renewed.dropFirst() == ["\(owner): \(HelperRole.server(Self.data))"])
        trio.step(owner, .runs(.server(Self.data), Self.new, isRenewable: true))
        trio.pass(milliseconds: 3000)
        #expect(trio.renewed.count == 2)
    }

    @Test func `none a second time, and none by a daemon whose own file is gone`() throws {
        let (trio, owner, other) = try self.trio()
        trio.step(other, .runs(.guardian, Self.old, isRenewable: false))
        trio.step(owner, .runs(.guardian, Self.old, isRenewable: true))
        trio.pass(milliseconds: 500)
        // What came is another program still: somebody put it there meanwhile.
        trio.step(owner, .runs(.guardian, Self.old, isRenewable: true))
        trio.pass(milliseconds: 20_000)
        #expect(trio.renewed == ["\(owner): \(HelperRole.guardian)"])
    }

    @Test func `no server while a copy lacks writes or is not linked (rule V23)`() throws {
        let (trio, owner, other) = try self.trio()
        trio.report(of: owner, peers: [])
        trio.step(owner, .runs(.server(Self.data), Self.old, isRenewable: true))
        trio.pass(milliseconds: 2000)
        #expect(trio.renewed.isEmpty, "its owner has no link to the other copy")
        let record = try #require(trio.supervisors[owner]?.state.volume(Self.data))
        trio.step(owner, .volume(Self.data, .wantsLeave(epoch: record.epoch, version: record.version, replica: other)))
        trio.pass(milliseconds: 500)
        #expect(trio.supervisors[owner]?.state.volume(Self.data)?.inSync == [owner])
        trio.report(of: owner, peers: [other])
        trio.step(other, .runs(.server(Self.data), Self.old, isRenewable: true))
        trio.pass(milliseconds: 2000)
        #expect(trio.renewed.isEmpty, "one of the copies lacks writes")
    }

    @Test func `nothing without a lease, in a doubt, or while the node shuts down`() throws {
        let (trio, owner, _) = try self.trio()
        trio.step(owner, .doubt(since: trio.tick(of: owner), nonce: nil))
        trio.step(owner, .runs(.guardian, Self.old, isRenewable: true))
        #expect(trio.renewed.isEmpty)
        trio.step(owner, .client(id: 7, .shutDown))
        trio.pass(milliseconds: 3000)
        #expect(trio.renewed.isEmpty)
    }
}

extension Trio {
    /// The volume server of a node says how it stands, linked to these.
    fileprivate func report(of node: NodeID, peers: [NodeID]) {
        let volume = VolumeName("data")
        guard let record = self.supervisors[node]?.state.volume(volume) else { return }
        self.step(
            node,
            .volume(
                volume,
                .status(
                    VolumeStatus(
                        role: record.owner == node ? .owner : .replica, epoch: record.epoch, dirtyBytes: 0,
                        peers: peers.map {
                            .init(
                                node: $0, connected: true, inSync: true, resyncRemainingBytes: 0, resyncTotalBytes: 0)
                        }))))
    }
}
