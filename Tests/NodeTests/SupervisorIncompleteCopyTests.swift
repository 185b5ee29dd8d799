import Basis
import Mirror
import Resources
import Testing

@testable import Cluster

/// What the configuration lets go it lets go for the sake of the copies in the set. (Rule V21)
@Suite struct `A copy that knows that it lacks writes` {
    private static let data = VolumeName("data")

    /// Both copies are in the set; the group runs, or has stopped.
    private func trio(isRunning: Bool) throws -> (trio: Trio, owner: NodeID, other: NodeID) {
        let (trio, owner, other) = try Trio.mirrored(Self.data)
        if !isRunning {
            trio.step(trio.leader ?? owner, .client(id: 1, .propose(.want(Trio.orders, isRunning: false))))
            trio.pass(milliseconds: 2000)
        }
        #expect((trio.supervisors[owner]?.state.volume(Self.data)?.owner == nil) != isRunning)
        #expect(self.set(trio) == [owner, other].sorted())
        return (trio, owner, other)
    }

    private func set(_ trio: Trio) -> [NodeID] { trio.supervisors[NodeID(3)]?.state.volume(Self.data)?.inSync ?? [] }

    private func says(_ role: VolumeStatus.Role, on node: NodeID, _ trio: Trio) {
        let epoch = trio.supervisors[node]?.state.volume(Self.data)?.epoch ?? .none
        trio.step(node, .volume(Self.data, .status(VolumeStatus(role: role, epoch: epoch, dirtyBytes: 0))))
        trio.pass(milliseconds: 1500)
    }

    @Test(arguments: [VolumeStatus.Role.incomplete, .failed])
    func `leaves the set once nobody owns the volume`(role: VolumeStatus.Role) throws {
        let (trio, owner, other) = try self.trio(isRunning: false)
        self.says(.replica, on: other, trio)
        #expect(self.set(trio) == [owner, other].sorted())
        self.says(role, on: other, trio)
        #expect(self.set(trio) == [owner])
        // It is made anew; by a server whose disk failed only once that was started anew.
        #expect(trio.volumeCommands[other]?.contains(.makeCopy) == (role == .incomplete))
    }

    @Test func `is what the owner sees, while there is one`() throws {
        let (trio, owner, other) = try self.trio(isRunning: true)
        self.says(.incomplete, on: other, trio)
        #expect(self.set(trio) == [owner, other].sorted())
    }

    @Test func `stays when it is the last of the set, which is never emptied (rule V4)`() throws {
        let (trio, owner, other) = try self.trio(isRunning: false)
        self.says(.incomplete, on: other, trio)
        self.says(.incomplete, on: owner, trio)
        #expect(self.set(trio) == [owner])
    }

    /// What an owner learns of its own copy that makes the other one the only good one.
    private static let setbacks: [VolumeEvent] = [
        .failed(reason: "cannot write"), .takenBack(reason: "the machine was taken back"),
        .outdated(epoch: .none, version: 0, reason: "the other one holds more"),
    ]

    @Test(arguments: [nil] + Self.setbacks.map(Optional.some))
    func `has no other leave, although that was asked before (rule V3.2)`(setback: VolumeEvent?) throws {
        let (trio, owner, other) = try self.trio(isRunning: true)
        let witness = NodeID(3)
        trio.step(trio.leader ?? owner, .client(id: 2, .transferLeadership(to: other)))
        trio.pass(milliseconds: 500)
        #expect(trio.leader == other)
        let record = try #require(trio.supervisors[owner]?.state.volume(Self.data))
        trio.cut(owner, other)
        trio.cut(owner, witness)
        trio.step(owner, .volume(Self.data, .wantsLeave(epoch: record.epoch, version: record.version, replica: other)))
        trio.pass(milliseconds: 100)
        if let setback { trio.step(owner, .volume(Self.data, setback)) }
        trio.cuts.removeAll()
        trio.pass(milliseconds: 600)
        // Without a setback it is done as soon as there is a way.
        #expect(self.set(trio).contains(other) == (setback != nil))
    }
}
