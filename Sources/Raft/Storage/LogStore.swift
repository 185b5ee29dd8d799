import Basis
import Host
import Raft
import Synchronization

/// The durable log of one node: Raft's persistent state (Raft Figure 2) and snapshots (Raft §7) in one directory.
///
///     lock                      held by flock(2) while a daemon runs
///     state                     identity and marks, term, vote, marks of others, commit hint; replaced as a whole
///     log-FRAME                 segments, named by the number of their first frame
///     snapshot-INDEX-TERM       one snapshot, the one that the newest frame with a snapshot names
///     *.tmp                     something that did not finish; removed at the next open
///
/// All integers are little-endian. Every file starts with a `SealedBlock` that holds the `LogIdentity`.
///
/// **One request, one frame, one write, one fdatasync.** (Rule C8) A segment is a header and frames; a frame holds the entries of
/// one `PersistRequest`, the mark of its snapshot and a commit hint, under one checksum. Entries replace whatever the
/// log held from their first index on, so cutting a conflicting suffix and appending the new one is a single atomic
/// step: no crash leaves half of it, and nothing that was written is ever overwritten or truncated in place.
///
/// **Order of a request**, each step durable before the next:
/// 1. the snapshot's file, unless `keep` has written it (beside, synced, renamed, directory synced). No frame names it yet: it has
///    no effect;
/// 2. the frame. From here on snapshot and entries count;
/// 3. the state file, when term, vote or a noted mark changed (replaced like the snapshot). A commit index alone is not synced: it
///    is only a hint, and travels with the next frame;
/// 4. segments and snapshots that nothing needs any more are removed. If a crash undoes this, the next open repeats it.
///
/// **Torn or corrupt.** A frame is written only after the one before is durable. So an invalid frame with nothing
/// behind it was never acknowledged and is dropped; an invalid frame with a later frame's header behind it, or in an
/// earlier segment, was acknowledged and has been damaged: `open` refuses and changes nothing. A frame's header is
/// checksummed with a seed from the segment's header, so bytes of other files and old copies never look like one.
/// Damage to the very last frame looks the same as a torn write, unless the state file says that it was acknowledged:
/// each replacement of it does, and `seal` once the log rests. State file and snapshots are only ever seen whole, so
/// any damage to them is refused.
///
/// **Open** copies the last segment into a new file before it continues it. After a failed fsync the page cache may
/// show what the disk does not hold; only bytes that were written and synced again by this start are believed. This
/// also leaves torn tails behind. Then the mark of this start joins the list in `state` (rule E2).
///
/// **After any failure** of a write, sync, rename or removal the store is poisoned for good.
public final class LogStore: Sendable {
    /// Where the files are.
    public let directory: String
    /// Whose log it is.
    public let identity: LogIdentity
    /// How many times this log was opened, this time included; durable before `open` returns.
    public var startCounter: UInt64 { self.writer.withLock { $0.state.startCounter } }
    /// How far this log has come, for the run directory: written there after each `persist` and before what rests on it
    /// leaves the node. (Rule E2.4)
    public var progress: LogProgress { self.writer.withLock { $0.progress } }
    /// Which directory this is, and the marks of its starts, this one included: durable before `open` returns. (Rule E2)
    public var memory: LogMemory { self.writer.withLock { $0.state.memory } }
    private let writer: Mutex<LogWriter>
    /// Held while a snapshot is written beside the log.
    private let keeping = Mutex<Void>(())
    private let disk: any Disk

    /// Opens the log, creating it in an empty or missing directory, and returns what it holds. A new log has
    /// `startCounter` 1. `draw` becomes its identity, if it is new, and the mark of this start. `resuming`: what the run
    /// directory of this boot says; a log that holds less, or is another, is refused. Segments end after the request that
    /// brings them to `segmentBytes`.
    public static func open(
        directory: String, on disk: some Disk, identity: LogIdentity, draw: StartDraw,
        resuming progress: LogProgress? = nil, segmentBytes: Int = 8 << 20
    ) throws(StorageError) -> (LogStore, RestoredState) {
        try StorageError.wrap { () throws(DiskError) in try disk.createDirectory(directory) }
        let lock: DiskFile
        do throws(DiskError) {
            lock = try disk.lock("\(directory)/\(LogNames.lock)")
        } catch {
            throw error.code == .wouldBlock ? .locked(directory: directory) : .disk(error)
        }
        do throws(StorageError) {
            let names = try StorageError.wrap { () throws(DiskError) in try disk.list(directory) }
            let recovery = try LogRecovery(directory: directory, names: names, disk: disk, identity: identity)
            if let progress { try recovery.check(against: progress, directory: directory) }
            let writer = try StorageError.wrap { () throws(DiskError) in
                try LogWriter(
                    continuing: recovery, directory: directory, disk: disk, identity: identity,
                    draw: draw, lock: lock, segmentBytes: segmentBytes)
            }
            return (LogStore(writer), recovery.restored)
        } catch {
            disk.close(lock)
            throw error
        }
    }

    private init(_ writer: LogWriter) {
        self.directory = writer.directory
        self.identity = writer.identity
        self.disk = writer.disk
        self.writer = Mutex(writer)
    }

    /// The writing half at one moment, for a simulator that brings a machine back with its memory. (Rule E4)
    public struct Moment: Sendable {
        fileprivate let writer: LogWriter
    }

    /// What `init(_:)` makes a store of once the disk is back at the same moment.
    public var moment: Moment { Moment(writer: self.writer.withLock { $0 }) }

    /// The store as it was; its files must be open as they were then, and no other store may use them.
    public convenience init(_ moment: Moment) { self.init(moment.writer) }

    deinit { self.writer.withLock { $0.close() } }

    /// Makes all of a request durable. When this throws, any part of the request may be durable or not, and every later
    /// call throws `poisoned`: the disk's state is unknown until the log is opened anew. Blocks while the disk does.
    ///
    /// Entries must be consecutive, leave no gap and replace nothing that is committed; those that the snapshot covers
    /// are left out. A snapshot must not be older than the one in force, nor end before the commit index unless the log
    /// holds its last entry. Anything else is a mistake of the caller and stops the process.
    public func persist(_ request: PersistRequest) throws(StorageError) {
        try self.writer.withLock { (writer) throws(StorageError) in try writer.persist(request) }
    }

    /// Makes the file of a snapshot durable, where it has no effect until a request names it: that one then costs no more than
    /// any other. May take long, and waits for a disk in small pieces; `persist` goes on meanwhile, on another thread. One at
    /// a time. (Rule C4)
    ///
    /// When this throws nothing of it counts, and the log is as sound as before: it may be tried again. A snapshot that is not
    /// newer than the one in force is passed over, and one that is never named is removed by the next one, or by the next open.
    public func keep(_ snapshot: Snapshot) throws(StorageError) {
        try self.keeping.withLock { (_) throws(StorageError) in
            guard try self.goesOn(with: snapshot.mark) else { return }
            try StorageError.wrap { () throws(DiskError) in
                try LogWriter.write(
                    snapshot, of: self.identity, in: self.directory, on: self.disk,
                    goesOn: { () throws(DiskError) in
                        if self.isPoisoned { throw DiskError(.write, self.directory, .inputOutput) }
                    })
            }
            try self.writer.withLock { (writer) throws(StorageError) in
                if let poison = writer.poison { throw poison }
                writer.keep(snapshot)
            }
        }
    }

    private var isPoisoned: Bool { self.writer.withLock { $0.poison != nil } }

    private func goesOn(with mark: LogMark) throws(StorageError) -> Bool {
        try self.writer.withLock { (writer) throws(StorageError) in
            if let poison = writer.poison { throw poison }
            return writer.wants(mark)
        }
    }

    /// Writes down, in a second place, that the frames so far were acknowledged: damage to the last one is then never
    /// taken for a write that did not finish. For when the log rests; does nothing if all is said already. Fails like
    /// `persist`.
    public func seal() throws(StorageError) {
        try self.writer.withLock { (writer) throws(StorageError) in try writer.seal() }
    }

    /// The error that ended this store's writing life; nil while it is sound. Waits for a `persist` that is under way.
    public var poison: StorageError? { self.writer.withLock { $0.poison } }

    /// Closes the files and lets go of the lock; every later `persist` throws `poisoned`. A `keep` under way ends first.
    public func close() {
        self.writer.withLock { $0.close() }
        self.keeping.withLock { _ in }
    }
}
