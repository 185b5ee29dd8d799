import CLinux
import Glibc

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

    /// The loop devices over a backing file, as `/dev/loopN`, sorted.
    static func loops(over backing: String) -> [String] {
        Files.list("/sys/block").filter { $0.hasPrefix("loop") }.filter { name in
            guard let text = Files.text("/sys/block/\(name)/loop/backing_file") else { return false }
            let file = text.hasSuffix("\n") ? String(text.dropLast()) : text
            return file == backing || file == backing + " (deleted)"
        }.map { "/dev/" + $0 }
    }

    /// The file under a loop device; nil when it is not attached.
    static func backing(_ loop: String) -> String? {
        let name = loop.split(separator: "/").last ?? ""
        return Files.text("/sys/block/\(name)/loop/backing_file").map {
            $0.hasSuffix("\n") ? String($0.dropLast()) : $0
        }
    }
}
