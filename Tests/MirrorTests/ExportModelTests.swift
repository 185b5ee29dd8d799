import Basis
import Foundation
import Mirror
import Testing
import VolumeServer

@Suite(.timeLimit(.minutes(20))) struct `An export returns what was written` {
    private static let size = 1 << 20

    /// Random reads, writes, zeroes and flushes of odd sizes, at most `depth` under way, against a plain array.
    @Test(arguments: [1, 2, 3, 4, 8, 16], [true, false])
    func `at any depth, whatever the order of completions`(depth: Int, delays: Bool) throws {
        let export = try TestExport(size: Self.size, delays: delays)
        let client = try ExportClient.ready(export.socketPath, structured: depth % 2 == 0)
        // Sends elsewhere: a client that blocks in a send while the server does the same would wait for ever.
        let sender = DispatchQueue(label: "sender")
        func send(
            _ command: UInt16, flags: UInt16 = 0, cookie: UInt64, offset: Int = 0, length: Int = 0, data: [UInt8] = []
        ) {
            sender.async {
                client.request(
                    command, flags: flags, cookie: cookie, offset: UInt64(offset), length: UInt32(length), data: data)
            }
        }
        var random = SeededRandom(seed: UInt64(depth) * 2 + (delays ? 1 : 0))
        let noise = (0..<300_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        var model = [UInt8](repeating: 0, count: Self.size)
        var underWay: [UInt64: (range: Range<Int>, expected: [UInt8]?)] = [:]
        func finishOne() throws {
            let reply = try client.reply()
            let found = underWay.removeValue(forKey: reply.cookie)
            let request = try #require(found)
            #expect(reply.error == 0)
            if let expected = request.expected { #expect(reply.data == expected) }
        }
        for cookie in 0..<UInt64(1000) {
            let limit: UInt64 = random.chance(perMille: 50) ? 200_000 : 9_000
            let length = 1 + Int(random.below(limit))
            let offset = Int(random.below(UInt64(Self.size - length)))
            let range = offset..<offset + length
            while underWay.count >= depth || underWay.values.contains(where: { $0.range.overlaps(range) }) {
                try finishOne()
            }
            let flags: UInt16 = random.chance(perMille: 100) ? 1 : 0
            switch random.below(8) {
            case 0..<3:
                let start = Int(random.below(UInt64(noise.count - length)))
                let data = Array(noise[start..<start + length])
                model.replaceSubrange(range, with: data)
                send(1, flags: flags, cookie: cookie, offset: offset, length: length, data: data)
                underWay[cookie] = (range, nil)
            case 3:
                model.replaceSubrange(range, with: repeatElement(0, count: length))
                let command: UInt16 = random.chance(perMille: 500) ? 4 : 6
                send(command, flags: flags, cookie: cookie, offset: offset, length: length)
                underWay[cookie] = (range, nil)
            case 4:
                send(3, cookie: cookie)
                underWay[cookie] = (0..<0, nil)
            default:
                send(0, cookie: cookie, offset: offset, length: length)
                underWay[cookie] = (range, Array(model[range]))
            }
        }
        while !underWay.isEmpty { try finishOne() }
        #expect(export.device.contents == model)
    }

    @Test func `also the largest request, beside small ones`() throws {
        let size = 40 << 20
        let export = try TestExport(size: size)
        let client = try ExportClient.ready(export.socketPath)
        let data = [UInt8](unsafeUninitializedCapacity: 32 << 20) { buffer, count in
            let words = UnsafeMutableRawBufferPointer(buffer).assumingMemoryBound(to: UInt64.self)
            for position in words.indices { words[position] = UInt64(position) &* 0x9E37_79B9_7F4A_7C15 }
            count = 32 << 20
        }
        let sender = Thread {
            client.request(1, cookie: 1, offset: 1, length: 9, data: [UInt8](repeating: 1, count: 9))
            client.request(1, cookie: 2, offset: 3, length: 32 << 20, data: data)
            client.request(1, cookie: 3, offset: 4, length: 1, data: [77])
        }
        sender.start()
        for cookie in 1...3 { #expect(try client.reply() == .init(cookie: UInt64(cookie))) }
        let reply = try client.call(0, offset: 3, length: 32 << 20)
        #expect(reply.data[1] == 77)
        #expect(Array(reply.data[2...]) == Array(data[2...]))
        #expect(export.device.contents[2] == 1)
    }

    /// A reply may come between the chunks of another one. (doc/proto.md, "Structured reply chunk message")
    @Test(arguments: [true, false])
    func `also when another reply comes between the parts of a read`(fromAnotherThread: Bool) throws {
        let export = try TestExport(size: Self.size, delays: true)
        let device = export.device
        let client = try ExportClient.ready(export.socketPath)
        let data = [UInt8](repeating: 5, count: 8192)
        #expect(try client.call(1, offset: 65536, length: 8192, data: data).error == 0)
        // The read is answered with a hole, data and a hole; the device is asked for the data after the first hole.
        device.hold(true)
        client.request(1, cookie: 1, offset: 500_000, length: 1, data: [9])
        while device.waitingCount < 1 { sched_yield() }
        device.beforeNextRead {
            guard fromAnotherThread else { return device.completeHeld() }
            let done = DispatchSemaphore(value: 0)
            Thread {
                device.completeHeld()
                done.signal()
            }.start()
            done.wait()
        }
        client.request(0, cookie: 2, length: 262_144)
        #expect(try client.reply() == .init(cookie: 1))
        let read = try client.reply()
        #expect(read.cookie == 2 && read.chunkTypes == [2, 1, 2])
        #expect(read.data == Array(device.contents[..<262_144]))
        #expect(client.arrivals.suffix(4) == [2, 1, 2, 2])
    }

    @Test func `to every connection, as soon as the write was answered`() throws {
        let export = try TestExport(delays: true)
        let clients = try (0..<4).map { _ in try ExportClient.ready(export.socketPath) }
        for round in 0..<200 {
            let data = [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: 700)
            let writer = clients[round % 4]
            #expect(try writer.call(1, offset: UInt64(round), length: 700, data: data).error == 0)
            for client in clients {
                #expect(try client.call(0, offset: UInt64(round), length: 700).data == data)
            }
        }
    }
}

@Suite(.timeLimit(.minutes(20))) struct `An export survives any client` {
    /// After whatever happened, a well-behaved client is served and the data is untouched.
    private func expectHealthy(_ export: TestExport) throws {
        let client = try ExportClient.ready(export.socketPath)
        #expect(try client.call(0, length: 4096).data == Array(export.device.contents[..<4096]))
    }

    @Test func `that sends random bytes instead of a handshake`() throws {
        let export = try TestExport()
        var random = SeededRandom(seed: 1)
        for _ in 0..<300 {
            let client = try ExportClient(export.socketPath)
            client.send((0..<random.below(200)).map { _ in UInt8(truncatingIfNeeded: random.next()) })
            client.stopSending()
            #expect(client.receiveUntilClosed() >= 18)
        }
        try self.expectHealthy(export)
        while export.log.count < 300 { sched_yield() }
        #expect(export.log.allSatisfy { $0.contains("dropped a client") })
    }

    @Test func `that sends well-formed options with random contents`() throws {
        let export = try TestExport()
        var random = SeededRandom(seed: 2)
        for _ in 0..<300 {
            let client = try ExportClient(export.socketPath)
            var bytes = Bytes().u32(3)
            for _ in 0..<random.below(12) {
                let option = UInt32(random.below(13))
                var data: [UInt8] = (0..<random.below(60)).map { _ in
                    UInt8(truncatingIfNeeded: random.chance(perMille: 600) ? 0 : random.next())
                }
                if random.chance(perMille: 500) { data = Bytes().text("pgdata").bytes + data }
                bytes = bytes.raw(Array("IHAVEOPT".utf8)).u32(option).u32(UInt32(data.count)).raw(data)
            }
            client.send(bytes.bytes)
            client.stopSending()
            _ = client.receiveUntilClosed()
        }
        try self.expectHealthy(export)
    }

    @Test func `that leaves at any byte of the handshake or of a request`() throws {
        let export = try TestExport()
        let name = Bytes().text("").u16(0).bytes
        let start = Bytes().u32(3).raw(Array("IHAVEOPT".utf8)).u32(8).u32(0)
            .raw(Array("IHAVEOPT".utf8)).u32(7).u32(UInt32(name.count)).raw(name)
        let write = start.u32(0x2560_9513).u16(0).u16(1).u64(1).u64(8192).u32(40)
            .raw([UInt8](repeating: 1, count: 40))
        for length in 0..<write.bytes.count {
            let client = try ExportClient(export.socketPath)
            client.send(Array(write.bytes[..<length]))
            client.stopSending()
            _ = client.receiveUntilClosed()
        }
        #expect(export.device.contents.allSatisfy { $0 == 0 })
        try self.expectHealthy(export)
    }

    @Test func `that sends random requests`() throws {
        let export = try TestExport()
        var random = SeededRandom(seed: 3)
        for _ in 0..<100 {
            let client = try ExportClient.ready(export.socketPath, contexts: true)
            for _ in 0..<20 {
                let bits = random.next()
                let command = UInt16(bits & 15)
                let length = UInt32(random.below(random.chance(perMille: 100) ? 1 << 32 : 1 << 12))
                let data = command == 1 ? Int(min(length, 10_000)) : 0
                client.request(
                    command, flags: random.chance(perMille: 300) ? UInt16(bits >> 8 & 31) : 0, cookie: bits,
                    offset: random.below(random.chance(perMille: 100) ? .max : 1 << 21), length: length,
                    data: [UInt8](repeating: 3, count: data))
            }
            client.stopSending()
            _ = client.receiveUntilClosed()
        }
        try self.expectHealthy(export)
    }

    @Test func `that says nothing at all`() throws {
        var limits = NBDLimits()
        limits.handshakeTimeout = .milliseconds(30)
        let export = try TestExport(limits: limits)
        #expect(try ExportClient(export.socketPath).receiveUntilClosed() == 18)
        while export.log.isEmpty { sched_yield() }
        #expect(export.log[0].contains("in time"))
    }

    @Test func `that loses its place among the requests`() throws {
        let export = try TestExport()
        let client = try ExportClient.ready(export.socketPath)
        client.send([UInt8](repeating: 0, count: 28))
        #expect(client.receiveUntilClosed() == 0)
        while export.log.isEmpty { sched_yield() }
        #expect(export.log[0].contains("wrong magic"))
        try self.expectHealthy(export)
    }
}
