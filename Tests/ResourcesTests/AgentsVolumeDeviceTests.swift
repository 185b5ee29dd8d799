import Basis
import Foundation
import Glibc
import Host
import Testing

@testable import Agents
@testable import Resources

/// A volume attached through `holdfast volume-device` while its server dies and comes back. (Rule V3.1)
@Suite(.serialized, .enabled(if: RealMachine.canAttachVolumes)) struct `A volume's device` {
    /// A server that can be killed: its data is a file, so that what it had written outlives it, as a volume server's does.
    private struct Server {
        let bench: Workbench
        let resource: ResourcePolicy
        let image: String

        init(_ bench: Workbench, mebibytes: Int = 64) async throws {
            let directory = bench.directory + "/volumes/pgdata"
            try Files.makeDirectory(directory)
            self.bench = bench
            self.image = bench.directory + "/image"
            self.resource = bench.resource(
                "server", "exec",
                [
                    "command": "rm -f \(directory)/nbd; exec nbdkit -f -U \(directory)/nbd file \(self.image)",
                    "check": "test -S \(directory)/nbd",
                ])
            try Workbench.tool("truncate", "-s", "\(mebibytes)M", self.image)
            try await self.start()
        }

        func start() async throws {
            let outcome = await self.bench.call(.start, self.resource, group: "servers")
            #expect(outcome == .success)
        }

        func kill() async throws {
            let process = try #require(self.bench.record(self.resource, group: "servers"))
            #expect(Glibc.kill(process.pid, SIGKILL) == 0)
            while Files.exists("/proc/\(process.pid)") { await Task.yield() }
            _ = await self.bench.call(.stop, self.resource, group: "servers")
        }
    }

    private func attachment(_ bench: Workbench) throws -> VolumeAttachment {
        let holding = try #require(bench.runner.records.holding(.devices, GroupName("orders"), ResourceName("disk")))
        return try #require(VolumeAttachment(holding))
    }

    private func end(of arguments: [String], _ bench: Workbench) async throws -> CommandResult {
        try #require(try await bench.onWorker { try? Self.result(of: arguments) })
    }

    private static func result(of arguments: [String]) throws -> CommandResult {
        var command = try RunningCommand(
            SpawnRequest(
                arguments: ["/bin/sh", "-c", "exec \"$@\"", "sh"] + arguments,
                environment: CallContext.toolEnvironment))
        let clock = { MachineClock.now }
        _ = command.collect(until: clock() + .seconds(60), cancel: CancelSignal(), clock: clock)
        _ = command.close(clock: clock)
        return command.result
    }

    /// Requests that the device has and has not answered.
    private func inFlight(_ device: String) -> Int {
        let text = Files.text("/sys/block/\(device.dropFirst("/dev/".count))/inflight") ?? ""
        return text.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }.reduce(0, +)
    }

    /// Writes that the device has answered since it is there.
    private func written(_ device: String) -> Int {
        let text = Files.text("/sys/block/\(device.dropFirst("/dev/".count))/stat") ?? ""
        let fields = text.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        return fields.count > 4 ? fields[4] : 0
    }

    /// A writer that has ended before, or never began, fails the test; it is not waited for.
    private func awaitWrites(_ device: String) async throws {
        let end = MachineClock.now + .seconds(60)
        let before = self.written(device)
        while self.inFlight(device) == 0, self.written(device) == before {
            try #require(MachineClock.now < end, "nothing is written any more")
            await Task.yield()
        }
    }

    @Test func `a server killed under writes is waited for, and nothing that was written is lost`() async throws {
        let bench = try Workbench()
        let server = try await Server(bench)
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        #expect(await bench.call(.start, volume) == .success)
        let device = try self.attachment(bench).device
        async let writer = self.end(
            of: [
                "fio", "--name=w", "--filename=\(device)", "--rw=randwrite", "--bs=4k-128k", "--size=48M", "--direct=1",
                "--ioengine=libaio", "--iodepth=16", "--fdatasync=32", "--rate=4m", "--verify=crc32c", "--do_verify=1",
                "--verify_fatal=1",
            ], bench)
        for _ in 0..<3 {
            try await self.awaitWrites(device)
            try await server.kill()
            try await self.awaitWrites(device)
            try await server.start()
        }
        let result = try await writer
        #expect(result.end == .exited(0), "\(result.output) \(result.reason)")
        #expect(await bench.call(.monitor, volume) == .success)
        // The same is on the server's disk.
        try Workbench.tool("blockdev", "--flushbufs", device)
        try Workbench.tool("cmp", device, server.image)
        #expect(await bench.call(.stop, volume) == .success)
    }

    @Test func `a volume that has grown makes its device larger, under its users`() async throws {
        let bench = try Workbench()
        let server = try await Server(bench)
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        #expect(await bench.call(.start, volume) == .success)
        let attachment = try self.attachment(bench)
        #expect(try attachment.takeUpSize() == 64 << 20)
        #expect(try Workbench.tool("blockdev", "--getss", attachment.device) == "512\n", "as with the kernel's nbd")
        let user = open(attachment.device, O_RDWR | O_CLOEXEC)
        try await server.kill()
        try Workbench.tool("truncate", "-s", "96M", server.image)
        try await server.start()
        while try attachment.takeUpSize() == 64 << 20 { await Task.yield() }
        #expect(try Workbench.tool("blockdev", "--getsize64", attachment.device) == "\(96 << 20)\n")
        #expect(pwrite(user, "end", 3, (96 << 20) - 3) == 3 && fsync(user) == 0)
        #expect(try Workbench.tool("tail", "-c", "3", server.image) == "end")
        close(user)
        #expect(await bench.call(.stop, volume) == .success)
        #expect(throws: VolumeAttachmentError.self) { try attachment.takeUpSize() }
    }

    @Test func `a volume that comes back smaller is not taken`() async throws {
        let bench = try Workbench(volumeDeadTime: .seconds(1))
        let server = try await Server(bench)
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        #expect(await bench.call(.start, volume) == .success)
        let attachment = try self.attachment(bench)
        try await server.kill()
        try Workbench.tool("truncate", "-s", "32M", server.image)
        try await server.start()
        let write = ["dd", "if=/dev/zero", "of=\(attachment.device)", "bs=4k", "count=1", "oflag=direct"]
        let result = try await self.end(of: write, bench)
        #expect(result.end == .exited(1))
        #expect(try attachment.takeUpSize() == 64 << 20)
        #expect(await bench.call(.stop, volume) == .success)
    }

    @Test func `without a server for the dead time its users get errors, and it can be taken down`() async throws {
        let bench = try Workbench(volumeDeadTime: .seconds(1))
        let server = try await Server(bench)
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        #expect(await bench.call(.start, volume) == .success)
        let device = try self.attachment(bench).device
        try await server.kill()
        let write = ["dd", "if=/dev/zero", "of=\(device)", "bs=4k", "count=1", "oflag=direct"]
        let clock = bench.environment.clock
        let before = clock()
        #expect(try await self.end(of: write, bench).end == .exited(1))
        // It waits from the moment when the server went.
        #expect(clock() < before + .seconds(20))
        #expect(try await self.end(of: write, bench).end == .exited(1))
        try await server.start()
        var result = try await self.end(of: write, bench)
        while result.end != .exited(0) { result = try await self.end(of: write, bench) }
        try await server.kill()
        #expect(await bench.call(.stop, volume) == .success)
        #expect(bench.runner.facts(for: GroupName("orders")).isAbsent)
    }

    @Test func `when its process is killed its users get errors, and it can be taken down`() async throws {
        let bench = try Workbench()
        let server = try await Server(bench)
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        #expect(await bench.call(.start, volume) == .success)
        let attachment = try self.attachment(bench)
        // One request waits for the server, and nobody but the device's process could answer it.
        try await server.kill()
        let write = ["dd", "if=/dev/zero", "of=\(attachment.device)", "bs=4k", "count=1", "oflag=direct"]
        async let writer = self.end(of: write, bench)
        try await self.awaitWrites(attachment.device)
        Glibc.kill(try #require(bench.record(volume)).pid, SIGKILL)
        #expect(try await writer.end == .exited(1))
        while let exit = await bench.exits.first(), exit != "orders/disk@7: was killed by SIGKILL" {}
        #expect(await bench.call(.stop, volume) == .success)
        #expect(!attachment.isOurs)
        #expect(bench.runner.facts(for: GroupName("orders")).isAbsent)
    }

    @Test func `asked to end it unmounts and is gone`() async throws {
        let bench = try Workbench()
        _ = try await Server(bench)
        let mount = bench.directory + "/shown"
        let ready = bench.directory + "/ready"
        try Files.makeDirectory(mount)
        let shown = bench.resource(
            "shown", "exec",
            [
                "command": "exec \(RealMachine.program) volume-device --socket \(bench.directory)/volumes/pgdata/nbd "
                    + "--mount \(mount) --ready \(ready) --dead-time 30s", "check": "test -e \(ready)",
            ])
        #expect(await bench.call(.start, shown) == .success)
        let pid = try #require(bench.record(shown)).pid
        #expect(Files.text(ready) == "\(pid) \(mount)/nbd\n")
        #expect(try Workbench.tool("stat", "-c", "%s %a", mount + "/nbd") == "\(64 << 20) 600\n")
        #expect(Files.text("/proc/\(pid)/comm") == "volume-device\n")
        let status = Files.text("/proc/\(pid)/status") ?? ""
        #expect(!status.contains("VmLck:\t       0 kB"), "its memory may be swapped out")
        #expect(await bench.call(.stop, shown) == .success)
        #expect(MountTable().mounted(at: mount).isEmpty && !Files.exists(ready))
    }
}
