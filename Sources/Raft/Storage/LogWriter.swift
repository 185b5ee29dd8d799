import Basis
import Host
import Raft

/// The writing half of a `LogStore`.
struct LogWriter: Sendable {
    let disk: any Disk
    let directory: String
    let identity: LogIdentity
    private let lock: DiskFile
    private let segmentBytes: Int
    private(set) var state: StateRecord
    private(set) var poison: StorageError?
    private var shape: LogShape
    private var places: [LogRecovery.Place]
    private var nextFrame: UInt64 = 1
    private var file: DiskFile
    private var salt: UInt32
    private var size: Int
    private var isClosed = false
    /// The snapshot whose file is on disk, and that no frame names yet; its data are left out.
    private var kept: Snapshot?
    /// Reused by every request.
    private var buffer: [UInt8] = []

    /// Takes over a directory: continues its last segment in a fresh copy, draws a mark, removes leftovers.
    init(
        continuing recovery: LogRecovery, directory: String, disk: any Disk, identity: LogIdentity, draw: StartDraw,
        lock: DiskFile, segmentBytes: Int
    ) throws(DiskError) {
        self.disk = disk
        self.directory = directory
        self.identity = identity
        self.lock = lock
        self.segmentBytes = segmentBytes
        self.shape = recovery.shape
        self.places = recovery.places
        let isNew = recovery.state.startCounter == 0
        self.state = recovery.state
        self.state.startCounter += 1
        self.state.hardState = recovery.restored.hardState
        if isNew { self.state.memory = LogMemory(directory: draw.directory) }
        self.state.memory.begin(nonce: draw.nonce)
        if isNew {
            let unfinished = try disk.replace(
                directory: directory, name: LogNames.state, with: StateRecord().encoded(identity))
            disk.close(unfinished)
        }
        var header = SegmentHeader(
            startCounter: self.state.startCounter, firstFrame: 1, snapshot: .zero, last: .zero, commit: .zero)
        if let tail = recovery.tail {
            header = tail.header
            header.startCounter = self.state.startCounter
            self.nextFrame = tail.nextFrame
        } else {
            self.places = [LogRecovery.Place(name: LogNames.segment(firstFrame: 1), lastBefore: .zero)]
        }
        (self.buffer, self.salt) = header.sealed(identity)
        for (position, body) in (recovery.tail?.bodies ?? []).enumerated() {
            Frame.append(body, number: header.firstFrame + UInt64(position), salt: self.salt, to: &self.buffer)
        }
        self.size = self.buffer.count
        self.file = try disk.replace(
            directory: directory, name: LogNames.segment(firstFrame: header.firstFrame), with: self.buffer)
        do throws(DiskError) {
            try self.writeState()
            // Only now: what makes them superfluous may have been in the page cache alone until the copy was synced.
            let written = [LogNames.state, LogNames.segment(firstFrame: header.firstFrame)]
            let replaced = written + written.map { $0 + LogNames.temporarySuffix }
            for name in recovery.leftovers.sorted() where !replaced.contains(name) {
                try disk.remove("\(directory)/\(name)")
            }
        } catch {
            disk.close(self.file)
            throw error
        }
    }

    /// See `LogStore.persist`.
    mutating func persist(_ request: PersistRequest) throws(StorageError) {
        if let poison = self.poison { throw poison }
        do throws(DiskError) {
            try self.write(request)
        } catch {
            self.poison = .poisoned(cause: error.description)
            throw .disk(error)
        }
    }

    /// See `LogStore.seal`.
    mutating func seal() throws(StorageError) {
        if let poison = self.poison { throw poison }
        guard self.state.acknowledgedFrames < self.nextFrame - 1 else { return }
        do throws(DiskError) {
            try self.writeState()
        } catch {
            self.poison = .poisoned(cause: error.description)
            throw .disk(error)
        }
    }

    /// See `LogStore.progress`.
    var progress: LogProgress {
        LogProgress(mark: self.state.memory.present, frames: self.nextFrame - 1, writes: self.state.writes)
    }

    /// Closes the files; the store is poisoned from then on.
    mutating func close() {
        if self.isClosed { return }
        self.isClosed = true
        self.poison = self.poison ?? .poisoned(cause: "the log was closed")
        self.disk.close(self.file)
        self.disk.close(self.lock)
    }

    private mutating func write(_ request: PersistRequest) throws(DiskError) {
        let before = self.shape
        let resets = request.snapshot.map { !before.holds($0.mark) } ?? false
        if let snapshot = request.snapshot {
            precondition(snapshot.mark.index >= before.snapshot.index, "a snapshot older than the one in force")
            precondition(!resets || snapshot.mark.index >= self.state.hardState.commit, "a snapshot undoes a commit")
            if !self.holds(snapshot) { try Self.write(snapshot, of: self.identity, in: self.directory, on: self.disk) }
            self.shape.take(snapshot: snapshot.mark, resets: resets)
        }
        let entries = self.take(request.entries)
        let wanted = request.hardState ?? self.state.hardState
        let commit = min(max(wanted.commit, self.shape.snapshot.index), self.shape.last.index)
        if request.snapshot != nil || !entries.isEmpty {
            if self.size >= self.segmentBytes { try self.startSegment(after: before) }
            let frame = Frame(
                number: self.nextFrame, commit: commit, snapshot: request.snapshot?.mark, resets: resets,
                entries: entries)
            try self.append(frame)
        }
        let old = self.state.hardState
        self.state.hardState = HardState(
            term: wanted.term, votedFor: wanted.votedFor, commit: commit, noted: wanted.noted)
        if let drawn = request.drawn {
            precondition(self.state.memory.present.isBefore(drawn), "\(drawn) does not follow what this log knows")
            self.state.memory.draw(nonce: drawn.nonce)
        }
        if wanted.term != old.term || wanted.votedFor != old.votedFor || wanted.noted != old.noted
            || request.drawn != nil
        {
            try self.writeState()
        }
        if request.snapshot != nil { try self.removeCovered(previous: before.snapshot) }
    }

    /// Adds entries to the shape; returns those that the snapshot does not cover.
    private mutating func take(_ entries: [Entry]) -> [Entry] {
        let covered = self.shape.snapshot.index
        let needed =
            entries.first.map { $0.mark.index > covered } ?? true
            ? entries : entries.filter { $0.mark.index > covered }
        for (position, entry) in needed.enumerated() {
            precondition(entry.mark.index > self.state.hardState.commit, "an entry that is committed already")
            precondition(entry.mark.index <= self.shape.last.index.next, "an entry after a gap")
            precondition(position == 0 || entry.mark.index == self.shape.last.index.next, "entries out of order")
            self.shape.append(entry.mark)
        }
        return needed
    }

    private mutating func append(_ frame: Frame) throws(DiskError) {
        self.buffer.removeAll(keepingCapacity: true)
        let body = frame.encodedBody(reserving: self.buffer.capacity)
        Frame.append(body, number: frame.number, salt: self.salt, to: &self.buffer)
        try self.disk.write(self.buffer, to: self.file, at: UInt64(self.size))
        try self.disk.synchronize(self.file)
        self.size += self.buffer.count
        self.nextFrame += 1
    }

    private mutating func startSegment(after shape: LogShape) throws(DiskError) {
        let header = SegmentHeader(
            startCounter: self.state.startCounter, firstFrame: self.nextFrame, snapshot: shape.snapshot,
            last: shape.last, commit: self.state.hardState.commit)
        let name = LogNames.segment(firstFrame: self.nextFrame)
        let (bytes, checksum) = header.sealed(self.identity)
        let file = try self.disk.replace(directory: self.directory, name: name, with: bytes)
        self.disk.close(self.file)
        self.file = file
        self.salt = checksum
        self.size = bytes.count
        self.places.append(LogRecovery.Place(name: name, lastBefore: shape.last.index))
    }

    /// Removes what the snapshot replaces; `LogRecovery` needs none of it.
    private mutating func removeCovered(previous: LogMark) throws(DiskError) {
        let first = self.places.lastIndex { $0.lastBefore <= self.shape.snapshot.index } ?? 0
        for index in self.places[..<first] { try self.disk.remove("\(self.directory)/\(index.name)") }
        self.places.removeFirst(first)
        if previous != .zero, previous != self.shape.snapshot {
            try self.disk.remove("\(self.directory)/\(LogNames.snapshot(previous))")
        }
        if let kept = self.kept, kept.mark.index <= self.shape.snapshot.index {
            self.kept = nil
            if kept.mark != self.shape.snapshot, kept.mark != previous { try self.removeSnapshot(kept.mark) }
        }
    }

    private func removeSnapshot(_ mark: LogMark) throws(DiskError) {
        try self.disk.remove("\(self.directory)/\(LogNames.snapshot(mark))")
    }

    // MARK: Snapshots beside the log

    /// What is written between two synchronizations of a snapshot: a frame waits for no more of it than that.
    private static let snapshotPace = 1 << 20

    /// Makes the file of a snapshot durable; no frame names it yet.
    static func write(
        _ snapshot: Snapshot, of identity: LogIdentity, in directory: String, on disk: any Disk,
        goesOn: () throws(DiskError) -> Void = { () throws(DiskError) in }
    ) throws(DiskError) {
        let name = LogNames.snapshot(snapshot.mark)
        do throws(DiskError) {
            disk.close(
                try disk.replace(
                    directory: directory, name: name, with: snapshot.encodedFile(identity), pace: Self.snapshotPace,
                    goesOn: goesOn))
        } catch {
            // Room for the log; what is left of it after a crash goes at the next start.
            try? disk.remove("\(directory)/\(name)\(LogNames.temporarySuffix)")
            throw error
        }
    }

    /// Whether a snapshot could still be put in force.
    func wants(_ mark: LogMark) -> Bool { mark.index > self.shape.snapshot.index }

    /// The file of this snapshot is durable.
    mutating func keep(_ snapshot: Snapshot) {
        // What cannot be removed goes at the next start.
        guard self.wants(snapshot.mark) else {
            // The log went on without it.
            if snapshot.mark != self.shape.snapshot { try? self.removeSnapshot(snapshot.mark) }
            return
        }
        let former = self.kept
        self.kept = snapshot
        self.kept?.data = []
        if let former, former.mark != snapshot.mark { try? self.removeSnapshot(former.mark) }
    }

    private func holds(_ snapshot: Snapshot) -> Bool {
        guard let kept = self.kept else { return false }
        return kept.mark == snapshot.mark && kept.membership == snapshot.membership
            && kept.membershipIndex == snapshot.membershipIndex
    }

    private mutating func writeState() throws(DiskError) {
        self.state.acknowledgedFrames = self.nextFrame - 1
        self.state.writes += 1
        try self.replace(LogNames.state, with: self.state.encoded(self.identity))
    }

    private func replace(_ name: String, with bytes: [UInt8]) throws(DiskError) {
        self.disk.close(try self.disk.replace(directory: self.directory, name: name, with: bytes))
    }
}
