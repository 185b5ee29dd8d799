import Basis
import Host

/// A disk in memory that may lose or tear whatever was not synchronized, and fails on command.
///
/// Names and contents are kept twice: as a process sees them, and as a power cut would leave them. Directories
/// themselves are durable at once. Used by one thread at a time, like everything in a simulation.
public final class SimulatedDisk: Disk, @unchecked Sendable {
    /// An order to fail.
    public struct Fault: Equatable, Sendable {
        /// Fails only this operation; nil for every operation that changes something.
        public var operation: DiskOperation?
        /// Fails only paths that contain this text.
        public var path: String
        /// How many matching operations succeed before.
        public var skipping: Int
        /// How many fail then.
        public var count: Int
        /// The error they fail with.
        public var code: DiskErrorCode
        /// All fields.
        public init(
            _ operation: DiskOperation?, path: String = "", skipping: Int = 0, count: Int = 1, code: DiskErrorCode
        ) {
            self.operation = operation
            self.path = path
            self.skipping = skipping
            self.count = count
            self.code = code
        }
    }

    /// One atomic change of names in a directory: each path's new file, nil for none.
    fileprivate struct NameChange {
        var directory: String
        var paths: [(path: String, inode: Int?)]
    }

    private static let sector = 512
    private var inodes: [Int: Inode] = [:]
    private var nextInode = 1
    private var durableNames: [String: Int] = [:]
    private var names: [String: Int] = [:]
    private var pendingNames: [NameChange] = []
    private var directories: Set<String> = ["/"]
    private var openFiles: [Int32: Int] = [:]
    private var locked: [Int32: String] = [:]
    private var nextFile: Int32 = 1
    private var faults: [Fault] = []
    private var hasPower = true
    /// It has power; without, everything fails.
    package var isPowered: Bool { self.hasPower }
    /// What copies of volumes lie in, by path.
    package var blocks: [String: SimulatedBlocks] = [:]

    /// Operations that changed something or were to make it durable, counted from the start.
    public private(set) var operations = 0
    /// The power fails during the operation with this number; nil for never. See `crash`.
    public var powerFailsAt: Int?
    /// Bytes that fit on the disk; a write beyond them is cut short with `noSpace`.
    public var capacity = Int.max

    /// An empty disk.
    public init() {}

    /// A copy that goes its own way, without open files and faults.
    public func fork() -> SimulatedDisk {
        let copy = SimulatedDisk()
        copy.inodes = self.inodes
        copy.nextInode = self.nextInode
        copy.durableNames = self.durableNames
        copy.names = self.names
        copy.pendingNames = self.pendingNames
        copy.directories = self.directories
        return copy
    }

    /// All of a disk at one moment, open files included.
    package struct Moment {
        fileprivate var inodes: [Int: Inode]
        fileprivate var nextInode: Int
        fileprivate var durableNames: [String: Int]
        fileprivate var names: [String: Int]
        fileprivate var pendingNames: [NameChange]
        fileprivate var directories: Set<String>
        fileprivate var openFiles: [Int32: Int]
        fileprivate var locked: [Int32: String]
        fileprivate var nextFile: Int32
    }

    /// What `bringBack` needs. (Rule E4)
    package var moment: Moment {
        Moment(
            inodes: self.inodes, nextInode: self.nextInode, durableNames: self.durableNames, names: self.names,
            pendingNames: self.pendingNames, directories: self.directories, openFiles: self.openFiles,
            locked: self.locked, nextFile: self.nextFile)
    }

    /// The machine is taken back to that moment, and its disk with it.
    package func bringBack(_ moment: Moment) {
        self.restartProcess()
        self.inodes = moment.inodes
        self.nextInode = moment.nextInode
        self.durableNames = moment.durableNames
        self.names = moment.names
        self.pendingNames = moment.pendingNames
        self.directories = moment.directories
        self.openFiles = moment.openFiles
        self.locked = moment.locked
        // Whoever still has a later file closes no other one.
        self.nextFile = max(self.nextFile, moment.nextFile)
    }

    // MARK: Faults

    /// Makes operations fail from now on.
    public func inject(_ fault: Fault) { self.faults.append(fault) }
    /// Ends all injected faults.
    public func heal() { self.faults = [] }

    /// Changes one byte of some file of a directory, durably, behind everyone's back.
    public func damageLog(_ directory: String, _ random: inout SeededRandom) {
        let files = self.names.keys.filter { Self.directory(of: $0) == directory && !$0.hasSuffix("/lock") }.sorted()
        guard !files.isEmpty else { return }
        let path = files[Int(random.below(UInt64(files.count)))]
        let length = self.names[path].flatMap { self.inodes[$0]?.current.count } ?? 0
        guard length > 0 else { return }
        self.corrupt(path, at: Int(random.below(UInt64(length))), mask: UInt8(1 + random.below(255)))
    }

    /// Removes every file, durably: the directories stay. The disk was exchanged, or somebody cleaned up.
    public func emptyLog() {
        self.names = [:]
        self.durableNames = [:]
        self.pendingNames = []
        self.inodes = [:]
        self.restartProcess()
    }

    /// Changes one byte of a file, durably, behind everyone's back.
    public func corrupt(_ path: String, at offset: Int, mask: UInt8 = 0xFF) {
        guard let number = self.names[path], var inode = self.inodes[number] else {
            preconditionFailure("no file \(path) to corrupt")
        }
        inode.durable = inode.current
        inode.pending = []
        inode.durable[offset] ^= mask
        self.inodes[number] = inode
    }

    /// Forgets all that was not synchronized, or keeps some of it, as `random` decides; closes all files.
    ///
    /// Of each unsynced change of names all or nothing is kept. Of the unsynced writes to a file: nothing, everything,
    /// a prefix, or any of the 512-byte sectors, where a missing sector is stale, or zero if it is new.
    public func crash(random: inout SeededRandom) {
        for change in self.pendingNames where random.chance(perMille: 500) {
            Self.apply(change, to: &self.durableNames)
        }
        self.pendingNames = []
        self.names = self.durableNames
        for number in self.inodes.keys.sorted() {
            guard var inode = self.inodes[number], !inode.pending.isEmpty else { continue }
            inode.durable = Self.torn(inode.durable, inode.current, &random)
            inode.pending = []
            self.inodes[number] = inode
        }
        let reachable = Set(self.names.values)
        for number in self.inodes.keys.sorted() where !reachable.contains(number) { self.inodes[number] = nil }
        self.restartProcess()
    }

    /// Kills the process but not the machine: files are closed, what was written is still read back.
    public func restartProcess() {
        self.openFiles = [:]
        self.locked = [:]
        self.faults = []
        self.hasPower = true
        self.powerFailsAt = nil
    }

    private static func torn(_ durable: [UInt8], _ current: [UInt8], _ random: inout SeededRandom) -> [UInt8] {
        switch random.below(4) {
        case 0: return durable
        case 1: return current
        case 2:
            let kept = Int(random.below(UInt64(current.count + 1)))
            return Array(current[..<kept]) + durable[min(kept, durable.count)...]
        default:
            var result = durable
            let length = random.chance(perMille: 700) ? max(current.count, durable.count) : durable.count
            result += repeatElement(0, count: length - durable.count)
            for start in stride(from: 0, to: min(length, current.count), by: Self.sector) {
                if random.chance(perMille: 500) { continue }
                let range = start..<min(start + Self.sector, length, current.count)
                result.replaceSubrange(range, with: current[range])
            }
            return result
        }
    }

    private static func apply(_ change: NameChange, to names: inout [String: Int]) {
        for (path, inode) in change.paths { names[path] = inode }
    }

    /// Counts an operation and lets it fail. A power cut comes after the effect, which is unsynced then.
    private func perform(
        _ operation: DiskOperation, _ path: String, _ effect: () -> Void
    ) throws(DiskError) {
        guard self.hasPower else { throw DiskError(operation, path, .inputOutput) }
        self.operations += 1
        for position in self.faults.indices {
            let fault = self.faults[position]
            guard fault.operation == nil || fault.operation == operation, path.contains(fault.path), fault.count > 0
            else { continue }
            if fault.skipping > 0 {
                self.faults[position].skipping -= 1
            } else {
                self.faults[position].count -= 1
                throw DiskError(operation, path, fault.code)
            }
        }
        let cut = self.powerFailsAt == self.operations
        if !cut || (operation != .synchronize && operation != .synchronizeDirectory) { effect() }
        if cut {
            self.hasPower = false
            throw DiskError(operation, path, .inputOutput)
        }
    }

    private func rename(paths: [(path: String, inode: Int?)]) {
        let change = NameChange(directory: Self.directory(of: paths[0].path), paths: paths)
        Self.apply(change, to: &self.names)
        self.pendingNames.append(change)
    }

    private static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    }

    // MARK: Disk

    /// See `Disk.createDirectory`.
    public func createDirectory(_ path: String) throws(DiskError) {
        if self.directories.contains(path) { return }
        try self.perform(.createDirectory, path) { self.directories.insert(path) }
    }

    /// See `Disk.list`.
    public func list(_ directory: String) throws(DiskError) -> [String] {
        guard self.hasPower else { throw DiskError(.list, directory, .inputOutput) }
        guard self.directories.contains(directory) else { throw DiskError(.list, directory, .notFound) }
        return self.names.keys.filter { Self.directory(of: $0) == directory }
            .map { String($0.dropFirst(directory.count + 1)) }.sorted()
    }

    /// See `Disk.read`.
    public func read(_ path: String) throws(DiskError) -> [UInt8] {
        guard self.hasPower else { throw DiskError(.read, path, .inputOutput) }
        guard let number = self.names[path], let inode = self.inodes[number] else {
            throw DiskError(.read, path, .notFound)
        }
        return inode.current
    }

    /// See `Disk.create`.
    public func create(_ path: String) throws(DiskError) -> DiskFile {
        let file = DiskFile(self.nextFile, path: path)
        self.nextFile += 1
        let number = self.nextInode
        try self.perform(.create, path) {
            self.nextInode += 1
            self.inodes[number] = Inode()
            self.rename(paths: [(path, number)])
        }
        self.openFiles[file.rawValue] = number
        return file
    }

    /// See `Disk.open`.
    public func open(_ path: String) throws(DiskError) -> DiskFile {
        guard self.hasPower else { throw DiskError(.open, path, .inputOutput) }
        guard let number = self.names[path] else { throw DiskError(.open, path, .notFound) }
        let file = DiskFile(self.nextFile, path: path)
        self.nextFile += 1
        self.openFiles[file.rawValue] = number
        return file
    }

    /// See `Disk.write`.
    public func write(_ bytes: [UInt8], to file: DiskFile, at offset: UInt64) throws(DiskError) {
        guard let number = self.openFiles[file.rawValue] else { throw DiskError(.write, file.path, .inputOutput) }
        let free = self.capacity == .max ? Int.max : max(0, self.capacity - self.used)
        let fits = min(bytes.count, free)
        try self.perform(.write, file.path) {
            let part = fits == bytes.count ? bytes : Array(bytes[..<fits])
            self.inodes[number]?.add(Write(offset: Int(offset), bytes: part))
        }
        if fits < bytes.count { throw DiskError(.write, file.path, .noSpace) }
    }

    /// Bytes that all files have.
    package var used: Int { Set(self.names.values).sorted().reduce(0) { $0 + (self.inodes[$1]?.current.count ?? 0) } }

    /// See `Disk.synchronize`.
    public func synchronize(_ file: DiskFile) throws(DiskError) {
        guard let number = self.openFiles[file.rawValue], var inode = self.inodes[number] else {
            throw DiskError(.synchronize, file.path, .inputOutput)
        }
        self.inodes[number] = nil
        defer { self.inodes[number] = inode }
        do throws(DiskError) {
            try self.perform(.synchronize, file.path) {
                for write in inode.pending where !write.abandoned { Self.apply(write, to: &inode.durable) }
                inode.pending.removeAll { !$0.abandoned }
            }
        } catch {
            if self.hasPower {
                for position in inode.pending.indices { inode.pending[position].abandoned = true }
            }
            throw error
        }
    }

    /// See `Disk.close`.
    public func close(_ file: DiskFile) {
        self.openFiles[file.rawValue] = nil
        self.locked[file.rawValue] = nil
    }

    /// See `Disk.rename`.
    public func rename(_ path: String, to newPath: String) throws(DiskError) {
        guard let number = self.names[path] else { throw DiskError(.rename, path, .notFound) }
        try self.perform(.rename, path) { self.rename(paths: [(newPath, number), (path, nil)]) }
    }

    /// See `Disk.remove`.
    public func remove(_ path: String) throws(DiskError) {
        guard self.names[path] != nil else { throw DiskError(.remove, path, .notFound) }
        try self.perform(.remove, path) { self.rename(paths: [(path, nil)]) }
    }

    /// See `Disk.synchronizeDirectory`.
    public func synchronizeDirectory(_ path: String) throws(DiskError) {
        try self.perform(.synchronizeDirectory, path) {
            for change in self.pendingNames where change.directory == path {
                Self.apply(change, to: &self.durableNames)
            }
            self.pendingNames.removeAll { $0.directory == path }
        }
    }

    /// See `Disk.lock`.
    public func lock(_ path: String) throws(DiskError) -> DiskFile {
        guard !self.locked.values.contains(path) else { throw DiskError(.lock, path, .wouldBlock) }
        let file = DiskFile(self.nextFile, path: path)
        self.nextFile += 1
        try self.perform(.lock, path) {
            if self.names[path] != nil { return }
            self.inodes[self.nextInode] = Inode()
            self.rename(paths: [(path, self.nextInode)])
            self.nextInode += 1
        }
        self.locked[file.rawValue] = path
        return file
    }
}
