/// The file operations that logs and copies of volumes stand on; everything below them may lie only in the ways a
/// `SimulatedDisk` can.
///
/// Calls are synchronous. A written byte is durable after `synchronize`, a name after `synchronizeDirectory`.
public protocol Disk: Sendable {
    /// Creates the directory and its parents unless they exist; their names are durable on return.
    func createDirectory(_ path: String) throws(DiskError)
    /// The names in a directory, sorted.
    func list(_ directory: String) throws(DiskError) -> [String]
    /// All bytes of a file.
    func read(_ path: String) throws(DiskError) -> [UInt8]
    /// Opens an empty file for writing; content that was there is dropped.
    func create(_ path: String) throws(DiskError) -> DiskFile
    /// Opens a file that is there for writing, and changes nothing of it.
    func open(_ path: String) throws(DiskError) -> DiskFile
    /// Writes all bytes at an offset, which may be the end of the file.
    func write(_ bytes: [UInt8], to file: DiskFile, at offset: UInt64) throws(DiskError)
    /// Makes the file's content and length durable. After a failure nothing that was written since the last success
    /// may be believed, and a second call proves nothing.
    func synchronize(_ file: DiskFile) throws(DiskError)
    /// Closes the file and releases its lock. Never fails: what must be durable was synchronized before.
    func close(_ file: DiskFile)
    /// Gives a file another name in the same directory, replacing what had that name; a crash leaves one or the other.
    func rename(_ path: String, to newPath: String) throws(DiskError)
    /// Removes a name.
    func remove(_ path: String) throws(DiskError)
    /// Makes the names in a directory durable.
    func synchronizeDirectory(_ path: String) throws(DiskError)
    /// Opens a file, creating it if needed, and locks it for this opener alone until `close`; fails with `wouldBlock`.
    func lock(_ path: String) throws(DiskError) -> DiskFile
}

/// An open file of a `Disk`.
public struct DiskFile: Hashable, Sendable {
    /// The disk's own number for it.
    public let rawValue: Int32
    /// The name under which it was opened, for error texts.
    public let path: String
    /// Combines both parts.
    public init(_ rawValue: Int32, path: String) {
        self.rawValue = rawValue
        self.path = path
    }
}

/// What a `Disk` was asked to do.
public enum DiskOperation: String, Hashable, Sendable, CaseIterable {
    /// `createDirectory`.
    case createDirectory = "create the directory"
    /// `list`.
    case list = "list"
    /// `read`.
    case read = "read"
    /// `create`.
    case create = "create"
    /// `open`.
    case open = "open"
    /// `write`.
    case write = "write to"
    /// `synchronize`.
    case synchronize = "sync"
    /// `rename`.
    case rename = "rename"
    /// `remove`.
    case remove = "remove"
    /// `synchronizeDirectory`.
    case synchronizeDirectory = "sync the directory"
    /// `lock`.
    case lock = "lock"
}

/// A Linux error number, with what it means for the log. (errno(3))
public struct DiskErrorCode: Hashable, Sendable, CustomStringConvertible {
    /// The number.
    public let rawValue: Int32
    /// Wraps a number.
    public init(_ rawValue: Int32) { self.rawValue = rawValue }
    /// EPERM.
    public static let notPermitted = DiskErrorCode(1)
    /// ENOENT.
    public static let notFound = DiskErrorCode(2)
    /// EIO.
    public static let inputOutput = DiskErrorCode(5)
    /// EWOULDBLOCK.
    public static let wouldBlock = DiskErrorCode(11)
    /// EACCES.
    public static let accessDenied = DiskErrorCode(13)
    /// ENOTDIR.
    public static let notDirectory = DiskErrorCode(20)
    /// EMFILE.
    public static let tooManyFiles = DiskErrorCode(24)
    /// ENOSPC.
    public static let noSpace = DiskErrorCode(28)
    /// EROFS.
    public static let readOnly = DiskErrorCode(30)
    /// EDQUOT.
    public static let quota = DiskErrorCode(122)

    /// The meaning in words, and the number.
    public var description: String {
        switch self {
        case .notPermitted, .accessDenied: "permission denied (errno \(self.rawValue))"
        case .notFound: "no such file (ENOENT)"
        case .inputOutput: "the device failed (EIO)"
        case .wouldBlock: "another process holds it (EWOULDBLOCK)"
        case .notDirectory: "a part of the path is not a directory (ENOTDIR)"
        case .tooManyFiles: "too many open files (EMFILE)"
        case .noSpace: "the file system is full (ENOSPC)"
        case .readOnly: "the file system is read-only (EROFS)"
        case .quota: "the disk quota is used up (EDQUOT)"
        default: "errno \(self.rawValue)"
        }
    }

    /// What the operator can do about it.
    public var remedy: String {
        switch self {
        case .notPermitted, .accessDenied:
            "run the daemon as the owner of this directory, or correct its owner and mode"
        case .wouldBlock: "stop the other daemon, or give this one its own --directory"
        case .tooManyFiles: "raise the limit of open files (LimitNOFILE), then restart the daemon"
        case .noSpace, .quota: "free space on this file system, then restart the daemon"
        case .readOnly: "look for device errors (dmesg), repair and remount the file system, then restart the daemon"
        case .notFound, .notDirectory: "check --directory"
        default: "look for device errors (dmesg), replace the disk if there are any, then restart the daemon"
        }
    }
}

/// An operation on a `Disk` that failed.
public struct DiskError: Error, Equatable, CustomStringConvertible {
    /// What was tried.
    public let operation: DiskOperation
    /// On which file or directory.
    public let path: String
    /// Why it failed.
    public let code: DiskErrorCode
    /// All fields.
    public init(_ operation: DiskOperation, _ path: String, _ code: DiskErrorCode) {
        self.operation = operation
        self.path = path
        self.code = code
    }
    /// What happened, where, and what to do next.
    public var description: String {
        "cannot \(self.operation.rawValue) \(self.path): \(self.code.description); \(self.code.remedy)"
    }
}
