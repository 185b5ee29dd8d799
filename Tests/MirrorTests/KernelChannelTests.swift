import CLinux
import Glibc
import Testing

@testable import Mirror
@testable import VolumeServer

/// The kernel's nbd as a carrier, played by a socket: what it may send, and what it must get.
struct KernelChannelTests {
    private final class Kernel {
        let channel: NBDKernelChannel
        let descriptor: Int32
        var pool = DeviceBufferPool()

        init() {
            var ends: [Int32] = [-1, -1]
            _ = socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
            self.descriptor = ends[0]
            self.channel = NBDKernelChannel(descriptor: ends[1], index: 7, backend: "/run/x/volumes/pgdata")
        }

        deinit {
            close(self.descriptor)
            close(self.channel.descriptor)
        }

        func send(_ bytes: some Sequence<UInt8>) {
            let bytes = Array(bytes)
            #expect(bytes.withUnsafeBytes { write(self.descriptor, $0.baseAddress, $0.count) } == bytes.count)
        }

        func request(_ command: UInt16, flags: UInt16 = 0, _ id: UInt64, _ offset: UInt64, _ length: UInt32) -> [UInt8]
        {
            var message = NBDMessage()
            message.put(NBD.requestMagic)
            message.put(flags)
            message.put(command)
            message.put(id)
            message.put(offset)
            message.put(length)
            return message.bytes
        }

        func arrival() throws -> DeviceArrival { try self.channel.receive(sizeBytes: 1 << 30, memory: &self.pool) }

        func asked() throws -> (VolumeDevice.RequestID, VolumeDevice.Operation, HeldRequest) {
            guard case .request(let id, let operation, let held) = try self.arrival() else {
                throw NBDDrop(reason: "there was no request")
            }
            return (id, operation, held)
        }

        func received(_ count: Int) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: count)
            #expect(recv(self.descriptor, &bytes, count, Int32(MSG_WAITALL)) == count)
            return bytes
        }

        /// The error number of the next reply, whose cookie must be this.
        func replied(_ id: UInt64) -> UInt32 {
            self.received(NBD.simpleReplyBytes).withUnsafeBytes { bytes in
                #expect(bytes.big(0, as: UInt32.self) == NBD.simpleReplyMagic && bytes.big(8, as: UInt64.self) == id)
                return bytes.big(4)
            }
        }
    }

    private func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) } }

    @Test func `what the kernel asks is understood, however many requests come at once`() throws {
        let kernel = Kernel()
        kernel.send(
            kernel.request(NBD.Command.read, 1, 4096, 8192) + kernel.request(NBD.Command.flush, 2, 0, 0)
                + kernel.request(NBD.Command.trim, 3, 0, 1 << 20)
                + kernel.request(NBD.Command.writeZeroes, flags: NBD.Flag.noHole, 4, 512, 512)
                + kernel.request(NBD.Command.write, flags: NBD.Flag.fua, 5, 1024, 512) + self.pattern(512))
        var asked = try kernel.asked()
        #expect(asked.1 == .read(Extent(offset: 4096, length: 8192)) && asked.2.wanted == 8192)
        #expect(kernel.channel.hasMore)
        #expect(try kernel.asked().1 == .flush)
        #expect(try kernel.asked().1 == .zero(Extent(offset: 0, length: 1 << 20), mayTrim: true))
        #expect(try kernel.asked().1 == .zero(Extent(offset: 512, length: 512), mayTrim: false))
        asked = try kernel.asked()
        #expect(asked.0 == VolumeDevice.RequestID(5))
        #expect(asked.1 == .write(Extent(offset: 1024, length: 512), durable: true) && asked.2.count == 512)
        let buffer = try #require(asked.2.buffer)
        #expect(Array(UnsafeRawBufferPointer(start: buffer.base, count: 512)) == self.pattern(512))
        guard case .empty = try kernel.arrival() else { throw NBDDrop(reason: "something was made up") }
        #expect(!kernel.channel.hasMore)
    }

    @Test(arguments: [1, 27, 28, 29, 5000, 65_536, 100_000])
    func `a write arrives whole, in pieces of any size`(piece: Int) throws {
        let kernel = Kernel()
        let payload = self.pattern(200_000)
        let stream =
            kernel.request(NBD.Command.write, 9, 0, 200_000) + payload + kernel.request(NBD.Command.flush, 10, 0, 0)
        var found: [(VolumeDevice.RequestID, VolumeDevice.Operation, HeldRequest)] = []
        for start in stride(from: 0, to: stream.count, by: piece) {
            kernel.send(stream[start..<min(start + piece, stream.count)])
            while case .request(let id, let operation, let held) = try kernel.arrival() {
                found.append((id, operation, held))
            }
        }
        #expect(found.map(\.0.rawValue) == [9, 10])
        let held = try #require(found.first?.2)
        let buffer = try #require(held.buffer)
        #expect(Array(UnsafeRawBufferPointer(start: buffer.base + held.offset, count: held.count)) == payload)
    }

    @Test func `a read is answered with all of its bytes, or as a failure`() throws {
        let kernel = Kernel()
        let buffer = DeviceBuffer(capacity: 4096)
        buffer.base.copyMemory(from: self.pattern(4096), byteCount: 4096)
        var held = HeldRequest(buffer: buffer, count: 4096, isRead: true, wanted: 4096)
        kernel.channel.answer(VolumeDevice.RequestID(1), .done, held)
        #expect(kernel.replied(1) == 0)
        #expect(kernel.received(4096) == self.pattern(4096))
        // Past the volume's end: there are no short reads of a device.
        held.wanted = 8192
        kernel.channel.answer(VolumeDevice.RequestID(2), .done, held)
        #expect(kernel.replied(2) == 5)
        kernel.channel.answer(VolumeDevice.RequestID(3), .done, HeldRequest(wanted: 512))
        #expect(kernel.replied(3) == 5)
        kernel.channel.answer(VolumeDevice.RequestID(4), .failed(.noSpace), held)
        #expect(kernel.replied(4) == 28)
    }

    @Test func `a write is answered without bytes`() {
        let kernel = Kernel()
        let held = HeldRequest(buffer: DeviceBuffer(capacity: 4096), count: 4096)
        kernel.channel.answer(VolumeDevice.RequestID(1), .done, held)
        kernel.channel.answer(VolumeDevice.RequestID(2), .done, HeldRequest())
        #expect(kernel.replied(1) == 0 && kernel.replied(2) == 0)
    }

    @Test func `a device that is taken away ends it, and what is no request is not taken for one`() throws {
        let kernel = Kernel()
        kernel.send(kernel.request(NBD.Command.disconnect, 0, 0, 0))
        guard case .ended(nil) = try kernel.arrival() else { throw NBDDrop(reason: "the end was not seen") }
        let shut = Kernel()
        shutdown(shut.descriptor, Int32(SHUT_RDWR))
        guard case .ended(nil) = try shut.arrival() else { throw NBDDrop(reason: "the end was not seen") }
        let odd = Kernel()
        odd.send(odd.request(77, 3, 0, 0))
        guard case .handled = try odd.arrival() else { throw NBDDrop(reason: "an unknown command was taken") }
        #expect(odd.replied(3) == UInt32(EINVAL))
        odd.send([UInt8](repeating: 1, count: 28))
        #expect(throws: VolumeDeviceError.self) { _ = try odd.arrival() }
    }
}
