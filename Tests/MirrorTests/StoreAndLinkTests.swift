import Basis
import Foundation
import Glibc
import Host
import ScenarioKit
import Synchronization
import Testing

@testable import CopyStorage
@testable import Mirror
@testable import VolumeServer

struct StoreAndLinkTests {
    private static let subject = MetadataSubject(volume: "data", node: NodeID(1), sizeBytes: 1 << 20)

    @Test func `metadata survives a torn slot with the state before`() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/data.meta"
        var stored = VolumeMetadata(identity: 1, sizeBytes: 1 << 20)
        do {
            var file = try MetadataFile.create(path: path, on: RealDisk(), subject: Self.subject, mount: "/", stored)
            stored = stored.started(mark: 5)
            stored.marks.insert(3)
            try file.store(stored)
            var torn = stored
            torn.epoch = Epoch(generation: 0, index: 9)
            try file.store(torn)
        }
        let latest = try #require(try MetadataFile.open(path: path, on: RealDisk(), subject: Self.subject)).metadata
        #expect(latest.epoch.index == 9 && latest.marks[3])
        // Generations 1, 2, 3: the newest lies in slot 1.
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes[4096 + 8192 + 40] ^= 0xFF
        try bytes.write(to: URL(fileURLWithPath: path))
        #expect(try MetadataFile.open(path: path, on: RealDisk(), subject: Self.subject)?.metadata == stored)
        bytes[4096 + 40] ^= 0xFF
        try bytes.write(to: URL(fileURLWithPath: path))
        #expect(try MetadataFile.open(path: path, on: RealDisk(), subject: Self.subject)?.metadata == nil)
    }

    @Test func `metadata of another volume is refused`() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/data.meta"
        let metadata = VolumeMetadata(identity: 1, sizeBytes: 1 << 20)
        _ = try MetadataFile.create(path: path, on: RealDisk(), subject: Self.subject, mount: "/", metadata)
        var other = Self.subject
        other.node = NodeID(2)
        #expect(throws: StoreError.self) { try MetadataFile.open(path: path, on: RealDisk(), subject: other) }
    }

    @Test func `a digest tells blocks apart that differ in one bit`() {
        var block = [UInt8](repeating: 0, count: 4096)
        var seen: Set<UInt64> = [block.withUnsafeBytes { BlockDigest.of($0) }]
        for bit in stride(from: 0, to: 4096 * 8, by: 7) {
            block[bit / 8] ^= 1 << UInt8(bit % 8)
            seen.insert(block.withUnsafeBytes { BlockDigest.of($0) })
            block[bit / 8] ^= 1 << UInt8(bit % 8)
        }
        #expect(seen.count == 1 + (4096 * 8 + 6) / 7)
    }

    final class SocketStream: ByteStream {
        let descriptor: Int32
        init(_ descriptor: Int32) { self.descriptor = descriptor }
        deinit { close(self.descriptor) }
        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
            recv(self.descriptor, buffer.baseAddress, buffer.count, 0)
        }
        func write(_ buffer: UnsafeRawBufferPointer) throws {
            var done = 0
            while done < buffer.count {
                let sent = send(self.descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, 0x4000)
                guard sent > 0 else { throw LinkError.notAFrame }
                done += sent
            }
        }
        func shutdown() { Glibc.shutdown(self.descriptor, Int32(SHUT_RDWR)) }
        /// A slow link: compression pays.
        var deliveryRate: UInt64 { 1_000_000 }
    }

    private static let bodies: [Frame.Body] = {
        let extent = Extent(offset: 8192, length: 4096)
        var marks = DirtyMap(regions: 130)
        marks.insert(129)
        let identity = ReplicaIdentity(node: NodeID(2), identity: 77)
        let word = Frame.Word(
            run: RunID(9),
            word: HearingWord(
                run: RunID(8), stamp: Tick(nanoseconds: 7), heard: Tick(nanoseconds: 6),
                confirmed: Tick(nanoseconds: 5), records: 4, seen: 3),
            own: .init(identity: 11, instance: 12), known: .init(identity: 13, instance: 14))
        return [
            .hello(owner: identity, sizeBytes: 1 << 30, word: word), .write(sequence: 1, extent: extent),
            .zero(sequence: 2, extent: extent, zeroing: .trim), .flush(sequence: 3), .compare(chunk: extent),
            .blocks(sequence: 4, chunk: extent, mask: 1), .clear(sequence: 5, covered: [identity], turn: 3),
            .ping(word), .note(turn: 4), .noted(turn: 4),
            .welcome(
                Frame.Welcome(
                    identity: 1, instance: 2, regionBytes: 65536, marks: marks, covered: [identity], trusted: true,
                    notedTurn: 3, clearedTurn: 2, word: word)),
            .received(sequence: 6), .stable(sequence: 7), .sums(chunk: extent),
            .fenced(Epoch(generation: 3, index: 9)), .pong(word), .wantsResync,
        ]
    }()

    @Test func `every frame crosses a link, alone, in batches and compressed`() throws {
        var ends: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let sender = LinkConnection(stream: SocketStream(ends[0]), peer: NodeID(2))
        let receiver = LinkConnection(stream: SocketStream(ends[1]), peer: NodeID(1))
        let epoch = Epoch(generation: 1, index: 2)
        var expected: [(Frame, [UInt8])] = []
        var random = SeededRandom(seed: 4)
        for round in 0..<60 {
            for body in Self.bodies {
                var payload: [UInt8] = []
                switch body {
                case .write, .blocks, .sums:
                    let count = round == 0 ? 0 : Int(random.below(round % 20 == 0 ? 3_000_000 : 9000))
                    payload = (0..<count).map {
                        UInt8(truncatingIfNeeded: round % 2 == 0 ? $0 : Int(random.next() & 0xFF))
                    }
                default: break
                }
                let frame = Frame(epoch: epoch, session: UInt32(round), body: body)
                expected.append((frame, payload))
                payload.withUnsafeBytes { sender.send(frame, $0) }
            }
        }
        Thread { sender.runWriter() }.start()
        var got = 0
        struct Done: Error {}
        #expect(throws: Done.self) {
            try receiver.runReader { frame, payload in
                #expect(frame == expected[got].0)
                switch frame.body {
                case .write, .blocks, .sums:
                    let isEqual = payload.elementsEqual(expected[got].1)
                    #expect(isEqual)
                default: break
                }
                got += 1
                if got == expected.count { throw Done() }
            } pause: {
            }
        }
        #expect(sender.sentCompressedBytes.load(ordering: .relaxed) < sender.sentBytes.load(ordering: .relaxed))
        sender.close()
    }

    @Test func `a damaged frame ends the link`() throws {
        var ends: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        var buffer = RawBuffer()
        let frame = Frame(
            epoch: .none, session: 1, body: .write(sequence: 1, extent: Extent(offset: 0, length: 4096)))
        let payload = [UInt8](repeating: 5, count: 4096)
        payload.withUnsafeBytes { FrameCodec.queue(FrameCodec.split(frame).0, $0, into: &buffer) }
        FrameCodec.seal(queued: buffer.room(at: 0, count: buffer.count))
        var bytes = Array(buffer.bytes)
        bytes[2000] ^= 1
        let stream = SocketStream(ends[0])
        try bytes.withUnsafeBytes { try stream.write($0) }
        let receiver = LinkConnection(stream: SocketStream(ends[1]), peer: NodeID(1))
        #expect(throws: LinkError.damaged) {
            try receiver.runReader { _, _ in
            } pause: {
            }
        }
    }
}
