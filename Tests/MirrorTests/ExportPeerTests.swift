import Basis
import Foundation
import Mirror
import Testing

/// A program of another project that the export is tested against.
struct PeerTool {
    let name: String
    let package: String

    static let nbdinfo = PeerTool(name: "nbdinfo", package: "libnbd-bin")
    static let nbdcopy = PeerTool(name: "nbdcopy", package: "libnbd-bin")
    static let qemuIO = PeerTool(name: "qemu-io", package: "qemu-utils")
    static let qemuImg = PeerTool(name: "qemu-img", package: "qemu-utils")
    static let fio = PeerTool(name: "fio", package: "fio")

    var path: String? {
        ["/usr/bin/", "/usr/local/bin/", "/bin/"].map { $0 + self.name }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    var isInstalled: Bool { self.path != nil }
    var hint: Comment { "\(self.name) is missing: apt-get install \(self.package)" }

    /// Runs the tool; its output, standard error included.
    func run(_ arguments: [String], in directory: String) throws -> (status: Int32, output: String) {
        let path = try #require(self.path)
        let file = directory + "/\(self.name).out"
        _ = FileManager.default.createFile(atPath: file, contents: nil)
        let handle = try #require(FileHandle(forWritingAtPath: file))
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
        process.waitUntilExit()
        try handle.close()
        return (process.terminationStatus, try String(contentsOfFile: file, encoding: .utf8))
    }
}

@Suite(.timeLimit(.minutes(20))) struct `Other people's clients are content` {
    private static func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            withUnsafeBytes(of: random.next()) { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    /// 4 MiB with data in its first, third and last quarter-megabyte.
    private static func sparseImage() -> [UInt8] {
        var image = [UInt8](repeating: 0, count: 4 << 20)
        for start in [0, 512 << 10, (4 << 20) - (256 << 10)] {
            image.replaceSubrange(start..<start + (256 << 10), with: Self.noise(256 << 10, seed: UInt64(start)))
        }
        return image
    }

    @Test(.enabled(if: PeerTool.nbdinfo.isInstalled, PeerTool.nbdinfo.hint))
    func `nbdinfo sees every capability, the size and the map`() throws {
        let export = try TestExport(size: 4 << 20)
        export.device.fill(Self.sparseImage())
        let info = try PeerTool.nbdinfo.run(["--json", export.uri], in: export.directory)
        #expect(info.status == 0, "\(info.output)")
        let parsed = try JSONSerialization.jsonObject(with: Data(info.output.utf8)) as? [String: Any]
        #expect(parsed?["protocol"] as? String == "newstyle-fixed")
        #expect(parsed?["structured"] as? Bool == true)
        let exports = try #require(parsed?["exports"] as? [[String: Any]])
        #expect(exports[0]["contexts"] as? [String] == ["base:allocation"])
        #expect(exports[0]["export-size"] as? Int == 4 << 20)
        for name in ["flush", "fua", "multi_conn", "trim", "zero", "fast_zero", "cache", "df"] {
            #expect(exports[0]["can_\(name)"] as? Bool == true, "\(name)")
        }
        #expect(exports[0]["block_size_minimum"] as? Int == 1)
        #expect(exports[0]["block_size_preferred"] as? Int == 4096)
        #expect(exports[0]["block_size_maximum"] as? Int == 32 << 20)
        let list = try PeerTool.nbdinfo.run(["--list", export.uri], in: export.directory)
        #expect(list.status == 0 && list.output.contains("export=\"pgdata\""), "\(list.output)")
        let map = try PeerTool.nbdinfo.run(["--map", export.uri], in: export.directory)
        let rows = map.output.split(separator: "\n").map { $0.split(separator: " ").prefix(3).joined(separator: " ") }
        #expect(
            rows == [
                "0 262144 0", "262144 262144 3", "524288 262144 0", "786432 3145728 3", "3932160 262144 0",
            ], "\(map.output)")
    }

    @Test(.enabled(if: PeerTool.nbdcopy.isInstalled, PeerTool.nbdcopy.hint), arguments: [false, true])
    func `nbdcopy moves an image in and out over several connections`(delays: Bool) throws {
        let export = try TestExport(size: 4 << 20, delays: delays)
        let image = Self.sparseImage()
        let file = export.directory + "/image"
        try Data(image).write(to: URL(fileURLWithPath: file))
        let copied = try PeerTool.nbdcopy.run(
            ["--connections=4", "--requests=16", "--flush", file, export.uri], in: export.directory)
        #expect(copied.status == 0, "\(copied.output)")
        #expect(export.device.contents == image)
        #expect(export.device.counts.flushes > 0)
        let back = try PeerTool.nbdcopy.run(
            ["--connections=4", "--requests=16", export.uri, file + ".back"], in: export.directory)
        #expect(back.status == 0, "\(back.output)")
        #expect(try Data(contentsOf: URL(fileURLWithPath: file + ".back")) == Data(image))
    }

    @Test(.enabled(if: PeerTool.qemuIO.isInstalled, PeerTool.qemuIO.hint))
    func `qemu-io writes, zeroes, discards and reads patterns`() throws {
        let export = try TestExport(size: 4 << 20, delays: true)
        let commands = [
            "write -P 0x11 0 1M", "write -f -P 0x22 1000 4096", "read -P 0x11 0 1000", "read -P 0x22 1000 4096",
            "write -z 65536 65536", "write -z -u 131072 65536", "read -P 0 65536 131072", "discard 262144 65536",
            "aio_write -P 0x33 512k 64k", "aio_write -P 0x44 576k 64k", "aio_flush", "flush",
            "read -P 0x33 512k 64k", "read -P 0x44 576k 64k", "read -P 0x11 768k 256k", "map",
        ]
        let result = try PeerTool.qemuIO.run(
            ["-f", "raw"] + commands.flatMap { ["-c", $0] } + [export.uri], in: export.directory)
        #expect(result.status == 0, "\(result.output)")
        #expect(!result.output.contains("failed"), "\(result.output)")
        #expect(export.device.counts.durableWrites >= 1)
        #expect(export.device.contents[1000..<5096].allSatisfy { $0 == 0x22 })
    }

    @Test(.enabled(if: PeerTool.qemuImg.isInstalled, PeerTool.qemuImg.hint))
    func `qemu-img converts, compares and benches`() throws {
        let export = try TestExport(size: 4 << 20, delays: true)
        let file = export.directory + "/image"
        try Data(Self.sparseImage()).write(to: URL(fileURLWithPath: file))
        for arguments in [
            ["convert", "-n", "-f", "raw", "-O", "raw", "-W", "-m", "16", file, export.uri],
            ["compare", "-f", "raw", "-F", "raw", file, export.uri],
            ["convert", "-f", "raw", "-O", "qcow2", export.uri, file + ".qcow2"],
            ["compare", "-f", "qcow2", "-F", "raw", file + ".qcow2", export.uri],
            ["bench", "-f", "raw", "-w", "-c", "2000", "-d", "16", "-s", "4096", "--flush-interval=64", export.uri],
            ["bench", "-f", "raw", "-c", "2000", "-d", "16", "-s", "4096", export.uri],
        ] {
            let result = try PeerTool.qemuImg.run(arguments, in: export.directory)
            #expect(result.status == 0, "\(arguments): \(result.output)")
        }
    }

    @Test(.enabled(if: PeerTool.fio.isInstalled, PeerTool.fio.hint), arguments: [1, 2, 4, 16])
    func `fio verifies random writes at every depth`(depth: Int) throws {
        let export = try TestExport(size: 4 << 20, delays: depth != 2)
        let result = try PeerTool.fio.run(
            [
                "--name=verify", "--ioengine=nbd", "--uri=\(export.uri)", "--rw=randwrite", "--bsrange=512-64k",
                "--iodepth=\(depth)", "--size=4m", "--verify=crc32c", "--verify_fatal=1", "--fsync=32",
                "--randseed=\(depth)",
            ], in: export.directory)
        #expect(result.status == 0, "\(result.output)")
        #expect(result.output.contains("err= 0"), "\(result.output)")
    }
}
