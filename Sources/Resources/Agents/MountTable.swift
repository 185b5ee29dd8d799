import CLinux
import Glibc
import Host

/// What is mounted, from `/proc/self/mountinfo`; asking it never touches the file systems themselves.
struct MountTable {
    struct Entry: Equatable {
        /// `MAJOR:MINOR` of the device.
        var device: String
        var mountPoint: String
        var options: [Substring]
        var type: String
        var source: String
        var superOptions: [Substring]
    }

    let entries: [Entry]

    init() {
        guard case .success(let bytes) = Files.bytes("/proc/thread-self/mountinfo", limit: 16 << 20) else {
            self.entries = []
            return
        }
        self.entries = String(decoding: bytes, as: UTF8.self).split(separator: "\n").compactMap { line in
            let fields = line.split(separator: " ")
            guard let dash = fields.firstIndex(of: "-"), fields.count > dash + 2, dash > 5 else { return nil }
            return Entry(
                device: String(fields[2]), mountPoint: Self.unescape(fields[4]),
                options: fields[5].split(separator: ","), type: String(fields[dash + 1]),
                source: Self.unescape(fields[dash + 2]),
                superOptions: fields.count > dash + 3 ? fields[dash + 3].split(separator: ",") : [])
        }
    }

    /// What is mounted at a path, the topmost last.
    func mounted(at path: String) -> [Entry] { self.entries.filter { $0.mountPoint == path } }

    /// Detaches everything at a path, at once; true when nothing is mounted there any more.
    static func detach(_ path: String) -> Bool {
        for _ in 0..<16 {
            if MountTable().mounted(at: path).isEmpty { return true }
            if holdfast_unmount_lazily(path) != 0 { break }
        }
        return MountTable().mounted(at: path).isEmpty
    }

    /// A path without symbolic links and trailing slashes, as mountinfo has it; the path itself when it does not exist.
    static func canonical(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        // Only the parent is resolved: looking at the mount point would ask the file system, which may hang.
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex,
            let resolved = realpath(String(path[..<slash]), nil)
        else { return path }
        defer { free(resolved) }
        let parent = String(cString: resolved)
        return (parent == "/" ? "" : parent) + path[slash...]
    }

    /// Octal escapes of spaces and the like.
    private static func unescape(_ text: Substring) -> String {
        guard text.contains("\\") else { return String(text) }
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Block devices, asked through sysfs, which answers even when the device does not.
enum BlockDevice {
    /// `MAJOR:MINOR`; nil when the path is not a block device.
    static func number(_ path: String) -> String? {
        var major: UInt32 = 0
        var minor: UInt32 = 0
        return holdfast_block_device(path, &major, &minor) == 0 ? "\(major):\(minor)" : nil
    }

    /// Its size; nil when there is no such device. Nobody is asked but the kernel.
    static func sizeBytes(_ device: String) -> UInt64? {
        let name = device.split(separator: "/").last ?? "-"
        return Files.text("/sys/block/\(name)/size").flatMap { UInt64($0.prefix { !$0.isWhitespace }) }.map { $0 * 512 }
    }

    /// The process that the kernel names for an attached nbd device; nil when it is not attached.
    static func nbdOwner(_ device: String) -> String? {
        let name = device.split(separator: "/").last ?? "-"
        return Files.text("/sys/block/\(name)/pid").map { String($0.prefix { !$0.isWhitespace }) }
    }
}

/// One attachment of a loop device, as nobody can confuse it: the device's name is used again, and so are the numbers
/// of a FUSE file behind it; the kernel's disk sequence number is not. It is read without asking the file, which a dead
/// or frozen server would not answer.
struct DiskSequence: Equatable, CustomStringConvertible {
    let boot: String
    let number: UInt64

    /// A number of the present boot.
    init(number: UInt64) {
        self.boot = Files.text("/proc/sys/kernel/random/boot_id").map { String($0.prefix { !$0.isWhitespace }) } ?? ""
        self.number = number
    }

    /// What is attached to a device now; nil when nothing is.
    init?(device: String) {
        let name = device.split(separator: "/").last ?? "-"
        guard Files.exists("/sys/block/\(name)/loop/backing_file"),
            let number = Files.text("/sys/block/\(name)/diskseq").flatMap({ UInt64($0.prefix { !$0.isWhitespace }) })
        else { return nil }
        self.init(number: number)
    }

    /// As recorded; nil when it is none.
    init?(recorded: String) {
        let parts = recorded.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let number = UInt64(parts[1]) else { return nil }
        self.boot = String(parts[0])
        self.number = number
    }

    var description: String { "\(self.boot):\(self.number)" }
}
