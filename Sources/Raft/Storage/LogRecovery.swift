import Basis
import Host
import Raft

/// What a log directory holds, read and checked but not changed.
struct LogRecovery {
    /// A segment that is needed, and the last entry of the log before it.
    struct Place: Equatable {
        var name: String
        var lastBefore: LogIndex
    }

    /// The state file.
    var state: StateRecord
    /// The segments in order, the one to continue last; empty for a new log.
    var places: [Place] = []
    /// The segment to continue; nil for a new log.
    var tail: Segment?
    /// Which entries there are.
    var shape = LogShape()
    /// What the caller gets.
    var restored = RestoredState()
    /// Files that are left over from something that did not finish, or are not needed any more.
    var leftovers: [String] = []

    /// Compares with what the run directory of this boot knows: the log must hold at least that. (Rule E2.4)
    ///
    /// The run directory may be behind: a daemon may end between a new mark of its log and the word of it. So the log may be
    /// under a later mark, but it must remember the one that is written there.
    func check(against progress: LogProgress, directory: String) throws(StorageError) {
        let frames = (self.tail?.nextFrame ?? 1) - 1
        let present = self.state.memory.present
        let isSame = self.state.memory.remembers(progress.mark)
        guard isSame, frames >= progress.frames, self.state.writes >= progress.writes else {
            throw .forgotten(
                directory: directory,
                reason: isSame
                    ? "it ends at frame \(frames) and state \(self.state.writes), but frame \(progress.frames) and state "
                        + "\(progress.writes) were written since this machine started"
                    : "it shows \(present), but \(progress.mark) was in use since this machine started")
        }
    }

    /// Reads everything. Nothing is changed, whatever is found.
    init(
        directory: String, names: [String], disk: any Disk, identity: LogIdentity
    ) throws(StorageError) {
        let read = { (name: String) throws(StorageError) in
            try StorageError.wrap { () throws(DiskError) in try disk.read("\(directory)/\(name)") }
        }
        let segments = names.filter { LogNames.firstFrame(ofSegment: $0) != nil }.sorted()
        let snapshots = names.filter { LogNames.isSnapshot($0) }
        self.leftovers = names.filter { $0.hasSuffix(LogNames.temporarySuffix) }
        guard names.contains(LogNames.state) else {
            guard segments.isEmpty, snapshots.isEmpty else {
                throw .corrupt(
                    path: "\(directory)/\(LogNames.state)", offset: 0,
                    reason: "the file is missing, and with it this node's term and vote")
            }
            self.state = StateRecord()
            return
        }
        let statePath = "\(directory)/\(LogNames.state)"
        self.state = try StateRecord.decode(try read(LogNames.state), path: statePath, identity: identity)
        if self.state.startCounter == 0 {
            self.leftovers += segments + snapshots
            return
        }
        let chain = try Self.chain(segments, directory: directory, identity: identity, read: read)
        self.places = chain.map { Place(name: $0.name, lastBefore: $0.header.last.index) }
        self.tail = chain.last
        if let tail = chain.last, tail.nextFrame <= self.state.acknowledgedFrames {
            throw .corrupt(
                path: "\(directory)/\(tail.name)", offset: 0,
                reason:
                    "frame \(self.state.acknowledgedFrames) was acknowledged, it ends before frame \(tail.nextFrame)")
        }
        self.leftovers += segments.prefix { name in name != chain[0].name }
        try self.fold(chain, directory: directory)
        if self.shape.snapshot != .zero {
            let name = LogNames.snapshot(self.shape.snapshot)
            guard snapshots.contains(name) else {
                throw .corrupt(path: "\(directory)/\(name)", offset: 0, reason: "the snapshot is missing")
            }
            self.restored.snapshot = try Snapshot.decodeFile(
                try read(name), mark: self.shape.snapshot, path: "\(directory)/\(name)", identity: identity)
        }
        self.leftovers += snapshots.filter { $0 != LogNames.snapshot(self.shape.snapshot) }
    }

    /// The segments that are needed: from the newest one that was begun when the log ended at or before what is now the
    /// snapshot. Older ones may be gone or half removed; they are not even read.
    private static func chain(
        _ names: [String], directory: String, identity: LogIdentity,
        read: (String) throws(StorageError) -> [UInt8]
    ) throws(StorageError) -> [Segment] {
        var chain: [Segment] = []
        var covered = LogIndex.zero
        for name in names.reversed() {
            let path = "\(directory)/\(name)"
            let segment = try Segment(
                try read(name), name: name, path: path, identity: identity, isLast: chain.isEmpty)
            if let following = chain.last, segment.nextFrame != following.header.firstFrame {
                throw .corrupt(
                    path: path, offset: 0,
                    reason: "it ends before frame \(segment.nextFrame), \(following.name) begins with frame "
                        + "\(following.header.firstFrame)")
            }
            if chain.isEmpty {
                let mark = segment.frames.last { $0.snapshot != nil }?.snapshot ?? segment.header.snapshot
                covered = mark.index
            }
            chain.append(segment)
            if segment.header.last.index <= covered { return chain.reversed() }
        }
        throw .corrupt(
            path: directory, offset: 0,
            reason: chain.last.map { "the segment before \($0.name) is missing" } ?? "all segments are missing")
    }

    private mutating func fold(_ chain: [Segment], directory: String) throws(StorageError) {
        self.shape = LogShape(snapshot: chain[0].header.snapshot, last: chain[0].header.last)
        var entries: [Entry] = []
        var commit = max(self.state.hardState.commit, chain[0].header.commit)
        for segment in chain {
            let path = "\(directory)/\(segment.name)"
            guard segment.header.snapshot == self.shape.snapshot, segment.header.last == self.shape.last else {
                throw .corrupt(path: path, offset: 0, reason: "it does not continue the segment before it")
            }
            for frame in segment.frames {
                commit = max(commit, frame.commit)
                if let mark = frame.snapshot {
                    if frame.resets { entries = [] }
                    self.shape.take(snapshot: mark, resets: frame.resets)
                }
                for entry in frame.entries {
                    guard entry.mark.index <= self.shape.last.index.next, entry.mark.index > .zero else {
                        throw .corrupt(
                            path: path, offset: 0,
                            reason: "entry \(entry.mark) follows entry \(self.shape.last), those between are missing")
                    }
                    while let last = entries.last, last.mark.index >= entry.mark.index { entries.removeLast() }
                    entries.append(entry)
                    self.shape.append(entry.mark)
                }
            }
        }
        entries.removeAll { $0.mark.index <= self.shape.snapshot.index }
        try self.restore(entries, commit: max(commit, self.shape.snapshot.index), directory: directory)
    }

    private mutating func restore(
        _ entries: [Entry], commit: LogIndex, directory: String
    ) throws(StorageError) {
        if let first = entries.first, first.mark.index != self.shape.snapshot.index.next {
            throw .corrupt(
                path: directory, offset: 0,
                reason: "entry \(first.mark) follows snapshot \(self.shape.snapshot), those between are missing")
        }
        guard commit <= self.shape.last.index else {
            throw .corrupt(
                path: directory, offset: 0,
                reason: "entries up to \(commit) were committed, the log ends at \(self.shape.last.index)")
        }
        self.restored.entries = entries
        self.restored.hardState = self.state.hardState
        self.restored.hardState.commit = commit
        // Entries are durable before the hard state of the same request: a crash between leaves the older term, in
        // which this node can have voted; in the newer one it cannot.
        if self.shape.last.term > self.state.hardState.term {
            self.restored.hardState.term = self.shape.last.term
            self.restored.hardState.votedFor = nil
        }
    }
}

extension StorageError {
    /// Runs a disk operation and reports its failure as one of the store.
    static func wrap<Result>(_ body: () throws(DiskError) -> Result) throws(StorageError) -> Result {
        do throws(DiskError) { return try body() } catch { throw .disk(error) }
    }
}
