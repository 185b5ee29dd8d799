import Basis

/// Which log directory: 128 random bits, drawn when it is created. (Rule E2)
public struct DirectoryID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The upper 64 bits.
    public var high: UInt64
    /// The lower 64 bits.
    public var low: UInt64
    /// Combines both halves.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }
    /// No directory: what was never written.
    public static let none = DirectoryID(high: 0, low: 0)
    /// An order without meaning, so that lists can be sorted.
    public static func < (left: DirectoryID, right: DirectoryID) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
    /// The first 32 bits, which tell two directories apart for people.
    public var description: String { (self.high >> 32).hexadecimal(digits: 8) }
}

/// One start of one log directory. Who holds a promise of it asks later whether it is still remembered. (Rule E2)
public struct StartMark: Hashable, Sendable, CustomStringConvertible {
    /// The directory.
    public var directory: DirectoryID
    /// Counts the starts of this directory; only orders them, for a copy that was brought back counts the same again.
    public var start: UInt64
    /// Zero for the mark of the start itself, one more for each that was drawn since. (Rule E2.3)
    public var draw: UInt32
    /// Random, and above that the boot of the machine. (`nonce(_:ofBoot:)`)
    public var nonce: UInt64
    /// All fields.
    public init(directory: DirectoryID, start: UInt64, draw: UInt32 = 0, nonce: UInt64) {
        self.directory = directory
        self.start = start
        self.draw = draw
        self.nonce = nonce
    }
    /// No start of any directory.
    public static let none = StartMark(directory: .none, start: 0, nonce: 0)
    /// So many lower bits of a nonce are random; those above tell one boot of the machine from another.
    private static let randomBits: UInt64 = 40
    /// What a start draws in this boot of the machine. Every mark shows it, also one that was noted long ago or comes through a
    /// third node; a release that knows nothing of it draws at random, and makes each start look like another boot. (Rule E2.9)
    public static func nonce(_ random: UInt64, ofBoot bootID: String) -> UInt64 {
        // FNV-1a, folded.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bootID.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        hash ^= hash >> 32
        return hash << self.randomBits | random & (1 << self.randomBits - 1)
    }
    /// What `draw` makes of random bits: the boot stays.
    func nonceDrawn(_ random: UInt64) -> UInt64 {
        let mask: UInt64 = 1 << Self.randomBits - 1
        return self.nonce & ~mask | random & mask
    }
    /// Whether both were surely made in one boot of a machine, but for one case in 16 million.
    public func isSameBoot(as other: StartMark) -> Bool {
        self.nonce >> Self.randomBits == other.nonce >> Self.randomBits
    }
    /// Whether this is surely an earlier mark of the same directory than the other one.
    public func isBefore(_ other: StartMark) -> Bool {
        self.directory == other.directory && (self.start, self.draw) < (other.start, other.draw)
    }
    /// Whether both are marks of one start.
    public func isSameStart(as other: StartMark) -> Bool {
        self.directory == other.directory && self.start == other.start
    }
    /// The run of the daemon that made this start, whichever mark it goes on under.
    public var run: RunID {
        var mixed = self.directory.high &* 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ self.directory.low) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ self.start ^ mixed >> 31) &* 0x94D0_49BB_1331_11EB
        return RunID(self == .none ? 0 : (mixed ^ mixed >> 29) | 1)
    }
    /// `start 4 of 1f2e3d4c`, or `start 4.2 of 1f2e3d4c` for the second mark drawn since.
    public var description: String {
        "start \(self.start)\(self.draw == 0 ? "" : ".\(self.draw)") of \(self.directory)"
    }

    /// Appends directory, start, draw and nonce.
    public func encode(into writer: inout ByteWriter) {
        writer.uint64(self.directory.high)
        writer.uint64(self.directory.low)
        writer.uint64(self.start)
        writer.uint32(self.draw)
        writer.uint64(self.nonce)
    }
    /// Takes what `encode` appended.
    public static func decode(from reader: inout ByteReader) throws(CodecError) -> StartMark {
        StartMark(
            directory: DirectoryID(high: try reader.uint64(), low: try reader.uint64()), start: try reader.uint64(),
            draw: try reader.uint32(), nonce: try reader.uint64())
    }
}

/// A node's mark as another one wrote it down, before it counted any promise made under it. (Rule E2.1)
public struct NotedMark: Hashable, Sendable {
    /// Whose.
    public var node: NodeID
    /// The mark.
    public var mark: StartMark
    /// The log entry that let this directory in; zero for one that no entry known here did. Orders directories.
    public var admittedAt: LogIndex
    /// All fields.
    public init(node: NodeID, mark: StartMark, admittedAt: LogIndex) {
        self.node = node
        self.mark = mark
        self.admittedAt = admittedAt
    }

    /// Whether it says more than what is noted: a later mark, the entry that let its directory in, or a directory that was
    /// let in later.
    public func raises(_ noted: NotedMark?) -> Bool {
        guard let noted else { return self.mark != .none }
        return self.admittedAt > noted.admittedAt
            || self.mark.directory == noted.mark.directory && noted.mark.isBefore(self.mark)
    }

    /// What is noted once this one is too. The log's own record names the mark of a start and the entry that let the directory
    /// in; what was heard since may be a later mark of that start: each is taken by itself.
    func joined(with noted: NotedMark) -> NotedMark {
        guard self.mark.directory == noted.mark.directory else { return self }
        return NotedMark(
            node: self.node, mark: noted.mark.isBefore(self.mark) ? self.mark : noted.mark,
            admittedAt: max(self.admittedAt, noted.admittedAt))
    }

    func encode(into writer: inout ByteWriter) {
        writer.uint32(self.node.rawValue)
        self.mark.encode(into: &writer)
        writer.uint64(self.admittedAt.rawValue)
    }
    static func decode(from reader: inout ByteReader) throws(CodecError) -> NotedMark {
        NotedMark(
            node: NodeID(try reader.uint32()), mark: try StartMark.decode(from: &reader),
            admittedAt: LogIndex(try reader.uint64()))
    }
}

/// What a log directory knows of itself: its identity and its marks. (Rules E2, E2.3)
public struct LogMemory: Equatable, Sendable {
    /// So many marks are kept. Of older ones nothing can be told.
    public static let capacity = 1024
    private struct Mark: Equatable, Sendable {
        var start: UInt64
        var draw: UInt32
        var nonce: UInt64
    }

    /// The directory.
    public let directory: DirectoryID
    /// Those of its starts, and those drawn in between (rule E2.3). Ascending, the present one last.
    private var marks: [Mark] = []

    /// A directory without a start.
    public init(directory: DirectoryID) { self.directory = directory }

    /// The mark in use; `none` before the first start.
    public var present: StartMark {
        guard let last = self.marks.last else { return .none }
        return StartMark(directory: self.directory, start: last.start, draw: last.draw, nonce: last.nonce)
    }

    /// Adds the mark of a new start.
    public mutating func begin(nonce: UInt64) { self.add(Mark(start: self.present.start + 1, draw: 0, nonce: nonce)) }

    /// Adds another mark of the present start. (Rule E2.3)
    public mutating func draw(nonce: UInt64) {
        let mark = self.next(nonce: nonce)
        self.add(Mark(start: mark.start, draw: mark.draw, nonce: mark.nonce))
    }

    /// What `draw` makes of a nonce.
    public func next(nonce: UInt64) -> StartMark {
        let present = self.present
        return StartMark(
            directory: self.directory, start: present.start, draw: present.draw &+ 1,
            nonce: present.nonceDrawn(nonce))
    }

    private mutating func add(_ mark: Mark) {
        self.marks.append(mark)
        if self.marks.count > Self.capacity { self.marks.removeFirst(self.marks.count - Self.capacity) }
    }

    /// Whether the list goes back to that mark, so that it can be told whether it is remembered.
    public func reachesBack(to mark: StartMark) -> Bool {
        guard mark.directory == self.directory, let first = self.marks.first else { return true }
        return (mark.start, mark.draw) >= (first.start, first.draw)
    }

    /// Whether this directory made that start: all that was promised under it is still here. (Rule E2.1)
    public func remembers(_ mark: StartMark) -> Bool {
        mark.directory == self.directory
            && self.marks.contains(Mark(start: mark.start, draw: mark.draw, nonce: mark.nonce))
    }

    package func encode(into writer: inout ByteWriter) {
        writer.uint64(self.directory.high)
        writer.uint64(self.directory.low)
        writer.list(self.marks) {
            $0.uint64($1.start)
            $0.uint32($1.draw)
            $0.uint64($1.nonce)
        }
    }
    package static func decode(from reader: inout ByteReader) throws(CodecError) -> LogMemory {
        var memory = LogMemory(directory: DirectoryID(high: try reader.uint64(), low: try reader.uint64()))
        memory.marks = try reader.list { (reader) throws(CodecError) in
            Mark(start: try reader.uint64(), draw: try reader.uint32(), nonce: try reader.uint64())
        }
        return memory
    }
}

/// Random numbers for one start of a log.
public struct StartDraw: Equatable, Sendable {
    /// The identity of the directory, should it be new.
    public var directory: DirectoryID
    /// The mark of this start.
    public var nonce: UInt64
    /// Of a start in this boot of the machine.
    public init(directory: DirectoryID, random: UInt64, bootID: String) {
        self.init(directory: directory, nonce: StartMark.nonce(random, ofBoot: bootID))
    }
    /// Combines both; they must come from a source that no other start shares.
    public init(directory: DirectoryID, nonce: UInt64) {
        self.directory = directory
        self.nonce = nonce
    }
}

/// How far a log has come under one mark; never less, while the machine runs. (Rule E2.4)
public struct LogProgress: Equatable, Sendable {
    /// The start.
    public var mark: StartMark
    /// Frames written and synced.
    public var frames: UInt64
    /// How often the state file was replaced.
    public var writes: UInt64
    /// All fields.
    public init(mark: StartMark, frames: UInt64, writes: UInt64) {
        self.mark = mark
        self.frames = frames
        self.writes = writes
    }
}
