import Basis
import Foundation
import Mirror
import Testing
import VolumeServer

@Suite(.timeLimit(.minutes(20))) struct `An export speaks NBD by the book` {
    private let unsupported: UInt32 = 1 << 31 | 1
    private let invalid: UInt32 = 1 << 31 | 3
    private let unknown: UInt32 = 1 << 31 | 6
    private let tooBig: UInt32 = 1 << 31 | 9

    @Test func `the socket is for its owner alone, and leaves with the server`() throws {
        let export = try TestExport()
        let attributes = try FileManager.default.attributesOfItem(atPath: export.socketPath)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        #expect(throws: NBDServerError.inUse(path: export.socketPath)) {
            try NBDServer(device: export.device, exportName: "x", socketPath: export.socketPath)
        }
        export.server.stop()
        #expect(!FileManager.default.fileExists(atPath: export.socketPath))
        let long = "/tmp/" + String(repeating: "x", count: 120)
        #expect(throws: NBDServerError.pathTooLong(path: long, maximum: 103)) {
            try NBDServer(device: export.device, exportName: "x", socketPath: long)
        }
        let nowhere = #expect(throws: NBDServerError.self) {
            try NBDServer(device: export.device, exportName: "x", socketPath: "/nowhere/nbd")
        }
        #expect(nowhere?.description.contains("No such file") == true)
    }

    @Test func `a socket left behind by a crash is replaced`() throws {
        let export = try TestExport()
        export.server.stop()
        _ = FileManager.default.createFile(atPath: export.socketPath, contents: Data())
        let server = try NBDServer(device: export.device, exportName: "x", socketPath: export.socketPath)
        server.start()
        _ = try ExportClient.ready(export.socketPath)
        server.stop()
    }

    @Test func `options are answered one by one, also those nobody knows`() throws {
        let export = try TestExport()
        let client = try ExportClient(export.socketPath)
        try client.greet()
        #expect(try client.option(99, [1, 2, 3])[0].type == self.unsupported)
        #expect(try client.option(5, [])[0].type == self.unsupported)
        #expect(try client.option(3, [1])[0].type == self.invalid)
        let list = try client.option(3, [])
        #expect(list.map(\.type) == [2, 1])
        #expect(list[0].data == Bytes().text("pgdata").bytes)
        #expect(try client.option(8, [1])[0].type == self.invalid)
        #expect(try client.option(10, Bytes().text("").u32(0).bytes)[0].type == self.invalid)
        #expect(try client.option(8, [])[0].type == 1)
        #expect(try client.option(6, Bytes().text("other").u16(0).bytes)[0].type == self.unknown)
        #expect(try client.option(6, Bytes().text("pgdata").u16(3).u16(1).bytes)[0].type == self.invalid)
        #expect(try client.option(6, Bytes().u32(.max).raw([1]).bytes)[0].type == self.invalid)
        #expect(try client.option(77, [UInt8](repeating: 1, count: 100_000))[0].type == self.tooBig)
        let info = try client.option(6, Bytes().text("pgdata").u16(2).u16(1).u16(2).bytes)
        #expect(info.map(\.type) == [3, 3, 3, 3, 1])
        #expect(info[0].data == Bytes().u16(0).u64(1 << 20).u16(0b1101_1110_1101).bytes)
        #expect(info[1].data == Bytes().u16(3).u32(1).u32(4096).u32(32 << 20).bytes)
        #expect(info[2].data == Bytes().u16(1).raw(Array("pgdata".utf8)).bytes)
        #expect(try client.option(2, [])[0].type == 1)
        #expect(client.receiveUntilClosed() == 0)
        #expect(export.log == [])
    }

    @Test func `metadata contexts are listed, chosen and dropped as asked`() throws {
        let export = try TestExport()
        let client = try ExportClient(export.socketPath)
        try client.greet()
        #expect(try client.option(8, [])[0].type == 1)
        let context = Array("base:allocation".utf8)
        for query in [[], ["base:"], ["other:x", "base:allocation"]] {
            var data = Bytes().text("").u32(UInt32(query.count))
            for text in query { data = data.text(text) }
            let replies = try client.option(9, data.bytes)
            #expect(replies == [.init(type: 4, data: [0, 0, 0, 0] + context), .init(type: 1, data: [])])
        }
        #expect(try client.option(9, Bytes().text("").u32(1).text("qemu:").bytes).map(\.type) == [1])
        #expect(try client.option(10, Bytes().text("").u32(1).text("base:").bytes).map(\.type) == [1])
        #expect(try client.option(10, Bytes().text("").u32(.max).bytes)[0].type == self.invalid)
        #expect(try client.option(10, Bytes().text("nope").u32(0).bytes)[0].type == self.unknown)
        let set = try client.option(10, Bytes().text("").u32(1).text("base:allocation").bytes)
        #expect(set == [.init(type: 4, data: [0, 0, 0, 1] + context), .init(type: 1, data: [])])
        // Chosen for the default name, so it does not hold for the other name of the same export.
        #expect(try client.option(7, Bytes().text("pgdata").u16(0).bytes).last?.type == 1)
        #expect(try client.call(7, length: 4096).error == BlockError.invalid)
    }

    @Test(arguments: [UInt32(1), 3]) func `an old client that names the export is served`(flags: UInt32) throws {
        let export = try TestExport()
        let client = try ExportClient(export.socketPath)
        try client.greet(flags: flags)
        client.send(Bytes().raw(Array("IHAVEOPT".utf8)).u32(1).text("pgdata").bytes)
        #expect(try client.receive(8) == Bytes().u64(1 << 20).bytes)
        #expect(try client.receive(2) == Bytes().u16(0b1101_0110_1101).bytes)
        if flags == 1 { #expect(try client.receive(124) == [UInt8](repeating: 0, count: 124)) }
        #expect(try client.call(1, offset: 5, length: 3, data: [1, 2, 3]).error == 0)
        #expect(try client.call(0, offset: 4, length: 5).data == [0, 1, 2, 3, 0])
        client.request(2)
        #expect(client.receiveUntilClosed() == 0)
        #expect(export.log == [])
    }

    @Test(arguments: [true, false]) func `requests that make no sense fail and the next one works`(
        structured: Bool
    ) throws {
        var limits = NBDLimits()
        limits.maximumPayload = 64 * 1024
        let export = try TestExport(limits: limits)
        let client = try ExportClient.ready(export.socketPath, structured: structured)
        let size = UInt64(1 << 20)
        func expect(
            _ error: UInt32, _ command: UInt16, flags: UInt16 = 0, offset: UInt64 = 0, length: UInt32 = 0,
            data: Int = 0, _ location: SourceLocation = #_sourceLocation
        ) throws {
            let payload = [UInt8](repeating: 9, count: data)
            let reply = try client.call(command, flags: flags, offset: offset, length: length, data: payload)
            #expect(reply.error == error, sourceLocation: location)
            #expect(try client.call(0, length: 1).data == [0], sourceLocation: location)
        }
        let invalid = BlockError.invalid
        try expect(invalid, 0, offset: size, length: 1)
        try expect(invalid, 0, offset: size - 1, length: 2)
        try expect(invalid, 0, offset: .max, length: 2)
        try expect(invalid, 0, length: 0)
        try expect(invalid, 0, length: 64 * 1024 + 1)
        try expect(structured ? BlockError.overflow : invalid, 0, flags: 4, length: 64 * 1024 + 1)
        try expect(structured ? 0 : invalid, 0, flags: 4, length: 1)
        try expect(invalid, 0, flags: 1 << 9, length: 1)
        try expect(BlockError.noSpace, 1, offset: size - 1, length: 2, data: 2)
        try expect(BlockError.noSpace, 1, offset: .max, length: 2, data: 2)
        try expect(invalid, 1, length: 3_000_000, data: 3_000_000)
        try expect(invalid, 1, flags: 4, length: 2, data: 2)
        try expect(invalid, 1, length: 0)
        try expect(invalid, 4, offset: size, length: 1)
        try expect(invalid, 5, offset: size, length: 1)
        try expect(BlockError.noSpace, 6, offset: size, length: 1)
        try expect(BlockError.notSupported, 6, flags: 16, length: 1)
        try expect(invalid, 7, length: 1)
        try expect(invalid, 42)
        #expect(export.device.contents.allSatisfy { $0 == 0 })
        #expect(export.log == [])
    }

    @Test func `FUA reaches the device on every command that writes`() throws {
        let export = try TestExport()
        let client = try ExportClient.ready(export.socketPath)
        #expect(try client.call(1, flags: 1, length: 1, data: [1]).error == 0)
        #expect(try client.call(4, flags: 1, length: 1).error == 0)
        #expect(try client.call(6, flags: 1, length: 1).error == 0)
        #expect(try client.call(6, flags: 1 | 2, length: 1).error == 0)
        for command: UInt16 in [0, 3, 5] { #expect(try client.call(command, flags: 1, length: 1).error == 0) }
        let counts = export.device.counts
        #expect(counts == .init(flushes: 1, durableWrites: 1, durableZeroes: 3, trims: 2, zeroes: 1))
    }

    @Test func `a device error reaches the client as it is`() throws {
        let export = try TestExport()
        let client = try ExportClient.ready(export.socketPath, contexts: true)
        export.device.fail(with: BlockError.inputOutput)
        for command: UInt16 in [0, 3, 4, 6] { #expect(try client.call(command, length: 512).error == 5) }
        #expect(try client.call(1, length: 1, data: [1]).error == 5)
        #expect(try client.call(0, length: 200_000).error == 5)
        export.device.fail(with: 0)
        #expect(try client.call(3).error == 0)
    }

    @Test func `holes are told instead of sent, and a read that must not be split is not`() throws {
        let export = try TestExport()
        let client = try ExportClient.ready(export.socketPath, contexts: true)
        let data = [UInt8](repeating: 5, count: 8192)
        #expect(try client.call(1, offset: 65536, length: 8192, data: data).error == 0)
        let split = try client.call(0, length: 262_144)
        #expect(split.chunkTypes == [2, 1, 2])
        #expect(split.data == Array(export.device.contents[..<262_144]))
        let whole = try client.call(0, flags: 4, length: 262_144)
        #expect(whole.chunkTypes == [1])
        #expect(whole.data == split.data)
        #expect(try client.call(0, offset: 500_000, length: 262_144).chunkTypes == [2])
        let status = try client.call(7, length: 262_144)
        let first = Bytes().u32(1).u32(65536).u32(3)
        #expect(status.payload == first.u32(8192).u32(0).u32(188_416).u32(3).bytes)
        #expect(try client.call(7, flags: 8, length: 262_144).payload == first.bytes)
        #expect(try client.call(7, offset: 70_000, length: 100).payload == Bytes().u32(1).u32(100).u32(0).bytes)
    }

    @Test func `a disconnect waits for what is under way`() throws {
        let export = try TestExport(delays: true)
        let client = try ExportClient.ready(export.socketPath)
        export.device.hold(true)
        for cookie in 0..<20 { client.request(1, cookie: UInt64(cookie), length: 1, data: [1]) }
        client.request(2)
        while export.device.waitingCount < 20 { sched_yield() }
        export.device.hold(false)
        var cookies: Set<UInt64> = []
        for _ in 0..<20 { cookies.insert(try client.reply().cookie) }
        #expect(cookies.count == 20)
        #expect(client.receiveUntilClosed() == 0)
    }

    @Test func `stopping drops what the device holds, and a late completion does no harm`() throws {
        let export = try TestExport(delays: true)
        let client = try ExportClient.ready(export.socketPath)
        export.device.hold(true)
        for cookie in 0..<20 { client.request(1, cookie: UInt64(cookie), length: 1, data: [1]) }
        while export.device.waitingCount < 20 { sched_yield() }
        export.server.stop()
        export.server.stop()
        #expect(client.receiveUntilClosed() == 0)
        export.device.hold(false)
        while export.device.waitingCount > 0 { sched_yield() }
        #expect(export.server.connectionCount == 0)
    }

    @Test func `a client that never reads its replies holds up only itself`() throws {
        var limits = NBDLimits()
        limits.maximumInFlight = 64
        let export = try TestExport(delays: true, limits: limits)
        let stuck = try ExportClient.ready(export.socketPath)
        let sender = Thread {
            for cookie in 0..<400_000 { stuck.request(3, cookie: UInt64(cookie)) }
        }
        sender.start()
        let other = try ExportClient.ready(export.socketPath)
        for cookie in 0..<200 { #expect(try other.call(1, cookie: UInt64(cookie), length: 1, data: [1]).error == 0) }
        export.server.stop()
    }

    @Test func `more clients than allowed are turned away, and one that leaves makes room`() throws {
        var limits = NBDLimits()
        limits.maximumConnections = 2
        let export = try TestExport(limits: limits)
        let first = try ExportClient.ready(export.socketPath)
        var second: ExportClient? = try ExportClient.ready(export.socketPath)
        #expect(try ExportClient(export.socketPath).receiveUntilClosed() == 0)
        #expect(export.log.count == 1)
        second?.request(2)
        #expect(second?.receiveUntilClosed() == 0)
        second = nil
        while export.server.connectionCount > 1 { sched_yield() }
        _ = try ExportClient.ready(export.socketPath)
        #expect(try first.call(3).error == 0)
    }
}
