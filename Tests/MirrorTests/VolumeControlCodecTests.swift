import Basis
import Mirror
import Testing

struct VolumeControlCodecTests {
    private static let epoch = Epoch(generation: 2, index: 1207)

    private static let commands: [VolumeCommand] = [
        .open(epoch: epoch, incarnation: Incarnation(9), inSync: [NodeID(1), NodeID(3)], version: 4),
        .open(
            epoch: epoch, incarnation: Incarnation(9), inSync: [NodeID(1)], version: 4,
            reconciling: [NodeID(2), NodeID(3)]),
        .open(
            epoch: epoch, incarnation: Incarnation(9), inSync: [NodeID(1)], version: 4,
            copy: KnownCopy(identity: 3, mark: 4, epoch: epoch)),
        .inSyncChanged(epoch: epoch, inSync: [], version: .max), .close(epoch: epoch), .freeze,
        .thaw(incarnation: Incarnation(9), epoch: epoch), .detach, .takenBack, .resyncAll, .report(question: 5),
        .over(below: epoch),
    ]

    private static let events: [VolumeEvent] = [
        .opened(epoch: epoch), .closed(epoch: epoch), .wantsLeave(epoch: epoch, version: 1, replica: NodeID(2)),
        .wantsJoin(epoch: epoch, version: 1, replica: NodeID(2), copy: 9),
        .wantsOpen(
            epoch: epoch, version: 1,
            inSync: [ReplicaIdentity(node: NodeID(1), identity: 3), ReplicaIdentity(node: NodeID(2), identity: 4)]),
        .copy(
            CopyReport(
                volume: 1, backing: "/a", capacityBytes: 2,
                finding: .ready(CopyMark(identity: 3, starts: [4, 5], epoch: epoch, isNoted: true)))),
        .copy(
            CopyReport(volume: 1, backing: "/a", capacityBytes: 2, finding: .none(reason: "empty", mayMake: true))),
        .note("a line"), .takenBack(reason: "its machine went back"),
        .outdated(epoch: epoch, version: 2, reason: "older"), .failed(reason: "the disk is gone"),
        .status(
            VolumeStatus(
                role: .frozen, epoch: epoch, dirtyBytes: 1, writtenBytes: 2, sentBytes: 3, sentCompressedBytes: 4,
                peers: [
                    VolumeStatus.Peer(
                        node: NodeID(2), connected: true, inSync: false, resyncRemainingBytes: 5, resyncTotalBytes: 6)
                ])),
        .status(VolumeStatus(role: .replica, epoch: epoch, dirtyBytes: 1)),
        .status(VolumeStatus(role: .incomplete, epoch: epoch, dirtyBytes: 1)),
    ]

    @Test func `a copy that lacks writes is a replica for the release before, which reads no further`() throws {
        func bytes(_ role: VolumeStatus.Role) -> [UInt8] {
            var writer = ByteWriter()
            VolumeEvent.status(VolumeStatus(role: role, epoch: Self.epoch, dirtyBytes: 1)).encode(into: &writer)
            return writer.bytes
        }
        #expect(bytes(.incomplete).starts(with: bytes(.replica)))
    }

    @Test(arguments: commands) func `a command survives the control socket`(_ command: VolumeCommand) throws {
        var writer = ByteWriter()
        command.encode(into: &writer)
        var reader = ByteReader(writer.bytes)
        #expect(try VolumeCommand.decode(from: &reader) == command)
        try reader.finish()
    }

    @Test(arguments: events) func `an event survives the control socket`(_ event: VolumeEvent) throws {
        var writer = ByteWriter()
        event.encode(into: &writer)
        var reader = ByteReader(writer.bytes)
        #expect(try VolumeEvent.decode(from: &reader) == event)
        try reader.finish()
    }

    @Test func `an order to open of an earlier build says nothing of the epoch that the copy has accepted`() throws {
        func open(_ accepted: Epoch) -> VolumeCommand {
            .open(
                epoch: Self.epoch, incarnation: Incarnation(9), inSync: [], version: 4,
                copy: KnownCopy(identity: 3, mark: 4, epoch: accepted))
        }
        var (writer, close) = (ByteWriter(), ByteWriter())
        open(.none).encode(into: &writer)
        // A kind, and an epoch.
        VolumeCommand.close(epoch: .none).encode(into: &close)
        var reader = ByteReader(writer.bytes.dropLast(close.bytes.count - 1))
        #expect(try VolumeCommand.decode(from: &reader) == open(.none))
    }

    @Test func `an unknown kind is refused`() {
        var reader = ByteReader([77])
        #expect(throws: CodecError.self) { try VolumeCommand.decode(from: &reader) }
    }
}
