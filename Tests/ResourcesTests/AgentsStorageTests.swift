import Basis
import CLinux
import Foundation
import Host
import Testing

@testable import Agents
@testable import Resources

/// A program that has a device open, until it is told to end.
private struct DeviceUser {
    private let fifo: String
    private var command: RunningCommand

    /// Returns once it has the device open.
    init(_ device: String, fifo: String) throws {
        self.fifo = fifo
        try Workbench.tool("mkfifo", fifo)
        self.command = try RunningCommand(
            SpawnRequest(
                arguments: [
                    "/bin/sh", "-c", #"{ echo open >"$1"; read line <"$1"; } 3<"$0" || echo failed >"$1""#, device,
                    fifo,
                ],
                environment: CallContext.toolEnvironment))
        let said = try FileHandle(forReadingAtPath: fifo)?.readToEnd()
        #expect(said == Data("open\n".utf8))
    }

    /// Returns once it has ended, and so closed the device.
    mutating func end() {
        #expect(throws: Never.self) {
            try FileHandle(forWritingAtPath: self.fifo)?.write(contentsOf: Data("end\n".utf8))
        }
        let clock = AgentEnvironment(runDirectory: "", cgroupRoot: "", nodeName: "", clusterName: "").clock
        #expect(self.command.collect(until: clock() + .seconds(30), cancel: CancelSignal(), clock: clock) == .finished)
        _ = self.command.close(clock: clock)
    }
}

/// A file as a block device, gone when the test ends.
final class TestDisk: Sendable {
    let path: String
    let file: String

    init(_ bench: Workbench, mebibytes: Int = 24) throws {
        self.file = bench.directory + "/disk-\(UUID().uuidString.prefix(6))"
        try Workbench.tool("truncate", "-s", "\(mebibytes)M", self.file)
        self.path = try Workbench.tool("losetup", "--find", "--show", self.file).trimmingCharacters(in: .newlines)
    }

    deinit { _ = try? Workbench.tool("losetup", "-d", self.path) }
}

@Suite(.serialized, .enabled(if: RealMachine.isAvailable)) struct `The filesystem agent` {
    @Test func `the kernel itself is asked to cut an nbd device off, and says that there is none`() {
        // Without nbd it knows no such family; with it no such device.
        #expect([ENOENT, EINVAL].contains(holdfast_nbd_disconnect(9999, 2000)))
    }

    @Test func `a blank device is formatted once, mounted, and keeps what was written`() async throws {
        let bench = try Workbench()
        let disk = try TestDisk(bench)
        let mount = bench.directory + "/mnt"
        let resource = bench.resource(
            "fs", "filesystem", ["device": disk.path, "mount": mount, "format": "if-blank"])
        #expect(await bench.call(.probe, resource) == .notRunning)
        #expect(await bench.call(.start, resource) == .success)
        #expect(await bench.call(.start, resource) == .success)
        try Workbench.tool("sh", "-c", "echo kept > \(mount)/file")
        #expect(await bench.call(.monitor, resource) == .success)
        #expect(await bench.call(.stop, resource) == .success)
        #expect(MountTable().mounted(at: mount).isEmpty)
        #expect(await bench.call(.monitor, resource) == .notRunning)
        #expect(await bench.call(.start, resource) == .success)
        #expect(Files.text(mount + "/file") == "kept\n")
        #expect(await bench.call(.stop, resource) == .success)
    }

    @Test func `a device with data that nobody knows is never formatted`() async throws {
        let bench = try Workbench()
        let disk = try TestDisk(bench)
        try Workbench.tool(
            "sh", "-c", "echo precious | dd of=\(disk.path) bs=1 seek=500000 conv=notrunc,fsync 2>/dev/null")
        let mount = bench.directory + "/mnt"
        for format in ["never", "if-blank"] {
            let resource = bench.resource(
                "fs", "filesystem", ["device": disk.path, "mount": mount, "format": format])
            guard case .failed(_, .hard) = await bench.call(.start, resource) else {
                Issue.record("it was mounted with format \(format)")
                continue
            }
        }
        #expect(try Workbench.tool("sh", "-c", "tail -c +500001 \(disk.file) | head -c 8") == "precious")
    }

    @Test func `a stop ends the group's processes that use the mount, and nobody else's`() async throws {
        let bench = try Workbench()
        let disk = try TestDisk(bench)
        let mount = bench.directory + "/mnt"
        let resource = bench.resource(
            "fs", "filesystem", ["device": disk.path, "mount": mount, "format": "if-blank"])
        #expect(await bench.call(.start, resource) == .success)
        let user = bench.resource("user", "exec", ["command": "sleep 1000", "directory": mount])
        #expect(await bench.call(.start, user) == .success)
        #expect(await bench.call(.stop, resource) == .success)
        #expect(MountTable().mounted(at: mount).isEmpty)
        #expect(await bench.call(.probe, user) == .notRunning)
    }

    @Test func `a mount that a foreign process holds is detached in the end`() async throws {
        let bench = try Workbench()
        let disk = try TestDisk(bench)
        let mount = bench.directory + "/mnt"
        let resource = bench.resource(
            "fs", "filesystem", ["device": disk.path, "mount": mount, "format": "if-blank"])
        #expect(await bench.call(.start, resource) == .success)
        let foreign = open(mount, O_RDONLY | O_DIRECTORY)
        #expect(await bench.call(.stop, resource, timeout: .seconds(6)) == .success)
        #expect(MountTable().mounted(at: mount).isEmpty)
        close(foreign)
    }

    @Test func `what is mounted there by others is left alone`() async throws {
        let bench = try Workbench()
        let disk = try TestDisk(bench)
        let mount = bench.directory + "/mnt"
        mkdir(mount, 0o755)
        try Workbench.tool("mount", "-t", "tmpfs", "none", mount)
        let resource = bench.resource(
            "fs", "filesystem", ["device": disk.path, "mount": mount, "format": "if-blank"])
        guard case .failed(let reason, .hard) = await bench.call(.start, resource) else {
            Issue.record("it was mounted over")
            return
        }
        #expect(reason.contains("not ours"))
        #expect(await bench.call(.stop, resource) == .success)
        #expect(MountTable().mounted(at: mount).map(\.type) == ["tmpfs"])
        try Workbench.tool("umount", mount)
    }
}

@Suite(.serialized, .enabled(if: RealMachine.canAttachVolumes)) struct `The volume agent` {
    /// A volume server of sorts: 32 MiB of memory behind the volume's socket.
    private func serve(_ bench: Workbench, _ volume: String) async throws -> ResourcePolicy {
        let directory = bench.directory + "/volumes/\(volume)"
        try Files.makeDirectory(directory)
        let server = bench.resource(
            "server", "exec",
            ["command": "nbdkit -f -U \(directory)/nbd memory 32M", "check": "test -S \(directory)/nbd"])
        #expect(await bench.call(.start, server, group: "servers") == .success)
        return server
    }

    /// The loop device of a started volume, and which attachment of it that is.
    private func attached(
        _ bench: Workbench, _ volume: ResourcePolicy
    ) throws -> (device: String, sequence: DiskSequence) {
        let holding = try #require(bench.runner.records.holding(.devices, GroupName("orders"), volume.name))
        let attachment = try #require(VolumeAttachment(holding))
        let sequence = try #require(DiskSequence(recorded: attachment.identity))
        #expect(attachment.isOurs)
        return (attachment.device, sequence)
    }

    /// Another node's volume: a loop device over another file that the kernel calls by the same path, as it does with a
    /// file of another mount namespace. (A namespace would keep the mounts of tests that run meanwhile.)
    private func foreignNode(_ bench: Workbench) throws -> (device: String, sequence: DiskSequence) {
        let fuse = bench.directory + "/volumes/pgdata/fuse"
        try Files.makeDirectory(fuse)
        try Workbench.tool("truncate", "-s", "1M", fuse + "/nbd")
        let device = try Workbench.tool("losetup", "--find", "--show", fuse + "/nbd").trimmingCharacters(in: .newlines)
        return (device, try #require(DiskSequence(device: device)))
    }

    @Test func `another node's device over a file of the same name is left alone`() async throws {
        let bench = try Workbench()
        _ = try await self.serve(bench, "pgdata")
        let foreign = try self.foreignNode(bench)
        defer { _ = try? Workbench.tool("losetup", "-d", foreign.device) }
        let name = String(foreign.device.dropFirst("/dev/".count))
        #expect(Files.text("/sys/block/\(name)/loop/backing_file") == bench.directory + "/volumes/pgdata/fuse/nbd\n")
        let untouched = {
            DiskSequence(device: foreign.device) == foreign.sequence
                && Files.text("/sys/block/\(name)/loop/autoclear") == "0\n"
        }
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        #expect(await bench.call(.start, volume) == .success)
        #expect(await bench.call(.monitor, volume) == .success)
        #expect(try self.attached(bench, volume).device != foreign.device)
        #expect(untouched())
        #expect(await bench.call(.stop, volume) == .success)
        #expect(untouched())
        #expect(await bench.call(.start, volume) == .success)
        #expect(bench.runner.killGroup(GroupName("orders"), deadline: bench.environment.clock() + .seconds(5)))
        #expect(untouched())
    }

    @Test(arguments: ["-", "", "another-boot:", "boot:1"])
    func `a record whose device is another's by now detaches nothing`(kept: String) async throws {
        let bench = try Workbench()
        let foreign = try self.foreignNode(bench)
        defer { _ = try? Workbench.tool("losetup", "-d", foreign.device) }
        let present = foreign.sequence
        let identity =
            switch kept {
            case "another-boot:": kept + "\(present.number)"
            case "boot:1": DiskSequence(number: present.number - 1).description
            default: kept
            }
        let words = ["pgdata", "loop", foreign.device, bench.directory + "/volumes/pgdata", identity]
        try bench.runner.records.write(
            .devices, RunRecords.Holding(group: "orders", resource: "disk", words: words))
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        guard case .failed = await bench.call(.monitor, volume) else {
            Issue.record("it passed the check")
            return
        }
        #expect(bench.runner.killGroup(GroupName("orders"), deadline: bench.environment.clock() + .seconds(5)))
        try bench.runner.records.write(
            .devices, RunRecords.Holding(group: "orders", resource: "disk", words: words))
        #expect(await bench.call(.stop, volume) == .success)
        #expect(bench.runner.facts(for: GroupName("orders")).isAbsent)
        #expect(DiskSequence(device: foreign.device) == present)
        #expect(holdfast_loop_detach(foreign.device, present.number - 1) == ESTALE)
        let autoclear = "/sys/block/\(foreign.device.dropFirst("/dev/".count))/loop/autoclear"
        #expect(Files.text(autoclear) == "0\n")
    }

    @Test func `a device that somebody still uses when it is cut off goes at its last close`() async throws {
        let bench = try Workbench()
        _ = try await self.serve(bench, "pgdata")
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        #expect(await bench.call(.start, volume) == .success)
        let attached = try self.attached(bench, volume)
        // A program of its own: a file that is open here is open too, for a moment, in whatever another test starts.
        var user = try DeviceUser(attached.device, fifo: bench.directory + "/user")
        #expect(await bench.call(.stop, volume) == .success)
        #expect(bench.runner.facts(for: GroupName("orders")).isAbsent)
        #expect(DiskSequence(device: attached.device) == attached.sequence)
        // What comes next gets a device of its own.
        #expect(await bench.call(.start, volume) == .success)
        #expect(try self.attached(bench, volume).sequence != attached.sequence)
        #expect(await bench.call(.stop, volume) == .success)
        user.end()
        #expect(DiskSequence(device: attached.device) != attached.sequence)
    }

    @Test func `nothing stays attached when all its processes die and nobody takes it down`() async throws {
        let bench = try Workbench()
        _ = try await self.serve(bench, "pgdata")
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        #expect(await bench.call(.start, volume) == .success)
        let attached = try self.attached(bench, volume)
        let clock = bench.environment.clock
        #expect(bench.cgroup(volume).killAll(until: clock() + .seconds(5), clock: clock))
        #expect(DiskSequence(device: attached.device) != attached.sequence)
        guard case .failed = await bench.call(.monitor, volume) else {
            Issue.record("a volume without its device passed the check")
            return
        }
        #expect(await bench.call(.stop, volume) == .success)
    }

    @Test func `a volume becomes a device that a file system lives on, and goes without a trace`() async throws {
        let bench = try Workbench()
        _ = try await self.serve(bench, "pgdata")
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        let mount = bench.directory + "/mnt"
        let filesystem = bench.resource(
            "fs", "filesystem", ["volume": "pgdata", "mount": mount, "format": "if-blank"])
        #expect(await bench.call(.probe, volume) == .notRunning)
        for _ in 0..<2 {
            #expect(await bench.call(.start, volume) == .success)
            #expect(await bench.call(.monitor, volume) == .success)
            #expect(await bench.call(.start, filesystem) == .success)
            try Workbench.tool("sh", "-c", "echo kept >> \(mount)/file; sync -f \(mount)")
            #expect(await bench.call(.monitor, filesystem) == .success)
            let attached = try self.attached(bench, volume)
            let facts = bench.runner.facts(for: GroupName("orders"))
            #expect(facts.mounts == [mount] && facts.devices.count == 1)
            #expect(await bench.call(.stop, filesystem) == .success)
            #expect(await bench.call(.stop, volume) == .success)
            #expect(bench.runner.facts(for: GroupName("orders")).isAbsent)
            #expect(DiskSequence(device: attached.device) != attached.sequence)
            #expect(MountTable().mounted(at: bench.directory + "/volumes/pgdata/fuse").isEmpty)
        }
        #expect(await bench.call(.start, volume) == .success)
        #expect(await bench.call(.start, filesystem) == .success)
        #expect(Files.text(mount + "/file") == "kept\nkept\n")
        #expect(bench.runner.killGroup(GroupName("orders"), deadline: bench.environment.clock() + .seconds(5)))
        #expect(bench.runner.facts(for: GroupName("orders")).isAbsent)
        #expect(MountTable().mounted(at: mount).isEmpty)
    }

    @Test func `leftovers of an interrupted run are cleared at the next start`() async throws {
        let bench = try Workbench()
        _ = try await self.serve(bench, "pgdata")
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        #expect(await bench.call(.start, volume) == .success)
        kill(try #require(bench.record(volume)).pid, SIGKILL)
        #expect(await bench.exits.first() == "orders/disk@7: was killed by SIGKILL")
        guard case .failed = await bench.call(.monitor, volume) else {
            Issue.record("a volume without its process passed the check")
            return
        }
        #expect(await bench.call(.start, volume, epoch: 9) == .success)
        #expect(await bench.call(.monitor, volume) == .success)
        #expect(await bench.call(.stop, volume) == .success)
    }

    @Test func `a server that answers nothing hangs neither the check nor the kill`() async throws {
        let bench = try Workbench()
        let server = try await self.serve(bench, "pgdata")
        let volume = bench.resource("disk", "volume", ["volume": "pgdata"])
        let mount = bench.directory + "/mnt"
        let filesystem = bench.resource(
            "fs", "filesystem", ["volume": "pgdata", "mount": mount, "format": "if-blank"])
        #expect(await bench.call(.start, volume) == .success)
        #expect(await bench.call(.start, filesystem) == .success)
        try bench.cgroup(server, group: "servers").freeze()
        let writer = bench.resource(
            "writer", "exec", ["command": "dd if=/dev/zero of=\(mount)/big bs=64k count=64 oflag=sync; sleep 1000"])
        #expect(await bench.call(.start, writer) == .success)
        #expect(bench.runner.killGroup(GroupName("orders"), deadline: bench.environment.clock() + .seconds(5)))
        #expect(bench.runner.facts(for: GroupName("orders")).isAbsent)
    }
}
