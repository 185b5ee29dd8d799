import Basis
import FoundationEssentials
import Glibc
import Host
import Raft
import RaftStorage

/// A log directory that must not be continued, kept for people to look at. (Rule E2.2)
enum ForgottenLog {
    /// Gives a log directory another name beside it, durably; returns the new path, or nil when there is none.
    static func setAside(_ directory: String) throws -> String? {
        guard FileManager.default.fileExists(atPath: directory) else { return nil }
        let aside = "\(directory).forgotten-\(MachineClock.wallMilliseconds)"
        let disk = RealDisk()
        try disk.rename(directory, to: aside)
        try disk.synchronizeDirectory(URL(filePath: directory).deletingLastPathComponent().path())
        return aside
    }

    /// Opens the log. One that is damaged, or not what it was earlier on this boot, is kept aside: the node starts with an
    /// empty one, and learns the log anew from the others. Where no other node is known, it is refused.
    static func open(
        _ paths: NodePaths, _ file: NodeFile, _ page: ProgressPage, bootID: String, log: DriverLog
    ) throws -> (LogStore, RestoredState) {
        let identity = LogIdentity(cluster: file.clusterID, node: file.id)
        let draw = try Founding.startDraw(bootID: bootID)
        let failure: StorageError
        do throws(StorageError) {
            return try LogStore.open(
                directory: paths.log, on: RealDisk(), identity: identity, draw: draw,
                resuming: page.read(bootID: bootID))
        } catch {
            failure = error
        }
        switch failure {
        case .corrupt, .forgotten: break
        case .disk, .locked, .otherCluster, .otherNode, .newerFormat, .poisoned: throw failure
        }
        guard !file.seeds.isEmpty else {
            log.error(
                "no other node is known here that could have what this log held: nothing was changed; restore "
                    + "\(paths.log) from a backup")
            throw failure
        }
        let aside = try self.setAside(paths.log)
        page.remove()
        log.error(
            "\(failure.description). \(aside.map { "It is kept as \($0)" } ?? "There is nothing to keep"): this node starts "
                + "with an empty log, counts nowhere until its known life is over, and learns the log anew (E2)")
        return try LogStore.open(directory: paths.log, on: RealDisk(), identity: identity, draw: draw)
    }
}

/// What the run directory knows of the log: a copy that was brought back while the machine runs lacks some of it.
/// (Rule E2.4)
///
/// It lies on a file system that a reboot empties and is not synced.
final class ProgressPage: Sendable {
    private let path: String
    /// Of the file, once it was written; -1 before.
    private let descriptor = Locked(Int32(-1))

    init(path: String) { self.path = path }

    deinit { self.descriptor.withLock { Self.close(&$0) } }

    /// What an earlier daemon of this boot wrote; nil when none did.
    func read(bootID: String) -> LogProgress? {
        guard let data = FileManager.default.contents(atPath: self.path) else { return nil }
        var reader = ByteReader(Array(data))
        guard let length = try? reader.uint32(), let checksum = try? reader.uint32(),
            let body = try? reader.raw(Int(min(length, 4096))), Checksum.crc32c(body) == checksum
        else { return nil }
        var inner = ByteReader(body)
        guard let boot = try? inner.string(), boot == bootID, let mark = try? StartMark.decode(from: &inner),
            let frames = try? inner.uint64(), let writes = try? inner.uint64()
        else { return nil }
        return LogProgress(mark: mark, frames: frames, writes: writes)
    }

    /// Replaces what is there, by one write.
    func write(_ progress: LogProgress, bootID: String) {
        var body = ByteWriter(reserving: 128)
        body.string(bootID)
        progress.mark.encode(into: &body)
        body.uint64(progress.frames)
        body.uint64(progress.writes)
        var page = ByteWriter(reserving: 160)
        page.uint32(UInt32(body.bytes.count))
        page.uint32(Checksum.crc32c(body.bytes))
        page.raw(body.bytes)
        // A page that cannot be written stays behind the log, which only makes it notice less.
        self.descriptor.withLock { descriptor in
            if descriptor < 0 { descriptor = Glibc.open(self.path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600) }
            _ = page.bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
        }
    }

    /// Forgets everything: the log it speaks of is kept aside.
    func remove() {
        unlink(self.path)
        self.descriptor.withLock { Self.close(&$0) }
    }

    private static func close(_ descriptor: inout Int32) {
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
    }
}
