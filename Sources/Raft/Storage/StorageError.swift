import Basis
import Host

/// Why a log could not be opened or written.
public enum StorageError: Error, Equatable, CustomStringConvertible {
    /// The disk refused an operation. In `persist` this is the moment the store becomes poisoned.
    case disk(DiskError)
    /// Another daemon has the directory open.
    case locked(directory: String)
    /// Bytes that were once durable are no longer what was written, at this offset of this file.
    case corrupt(path: String, offset: Int, reason: String)
    /// The file belongs to another cluster.
    case otherCluster(path: String, found: String, expected: String)
    /// The file belongs to another node of this cluster.
    case otherNode(path: String, found: NodeID, expected: NodeID)
    /// The file was written by a later release.
    case newerFormat(path: String, found: UInt32, supported: UInt32)
    /// The log lacks what it held earlier on this boot of the machine: it was emptied, exchanged or rolled back. (Rule E2.4)
    case forgotten(directory: String, reason: String)
    /// An earlier write failed, so it is unknown what the disk holds; nothing is written until the log is opened anew.
    case poisoned(cause: String)

    /// What happened, where, and what to do next.
    public var description: String {
        switch self {
        case .disk(let error):
            error.description
        case .locked(let directory):
            "\(directory) is in use by another daemon; stop that one, or give this one its own --directory"
        case .corrupt(let path, let offset, let reason):
            "\(path) is damaged at byte \(offset): \(reason)"
        case .otherCluster(let path, let found, let expected):
            "\(path) belongs to cluster \(found), this node to \(expected); check --directory, "
                + "or move the log directory away and rejoin this node"
        case .otherNode(let path, let found, let expected):
            "\(path) belongs to node \(found), this is node \(expected); two nodes must never share a log: "
                + "check --directory, or move the log directory away and rejoin this node"
        case .newerFormat(let path, let found, let supported):
            "\(path) has format \(found), this release reads up to \(supported); install the release that wrote it"
        case .forgotten(let directory, let reason):
            "\(directory) is not what it was: \(reason)"
        case .poisoned(let cause):
            "the log takes no more writes since one failed (\(cause)); restart the daemon once the cause is gone"
        }
    }
}
