import Basis
import Host

/// Why a copy of a volume cannot be used.
public enum StoreError: Error, Equatable, CustomStringConvertible {
    /// A system call failed on this path.
    case failed(doing: String, path: String, errno: Int32)
    /// The backing has another size than the volume needs.
    case wrongSize(path: String, actual: UInt64, wanted: UInt64)
    /// Another process uses the backing.
    case inUse(path: String)
    /// The metadata belongs to another volume, node or size.
    case foreign(path: String, found: String, wanted: String)
    /// No slot of the metadata file is whole.
    case corrupt(path: String)
    /// The metadata has a version that this release does not read.
    case foreignVersion(path: String, found: UInt32)
    /// There is no copy that may be used.
    case noCopy(reason: String)

    /// What happened and what to do.
    public var description: String {
        switch self {
        case .failed(let doing, let path, let code):
            "cannot \(doing) \(path): \(SystemText.error(code))"
        case .wrongSize(let path, let actual, let wanted):
            "\(path) has \(actual) bytes, and \(wanted) are needed: a volume never shrinks, and a device needs 4096 bytes "
                + "more than its volume"
        case .inUse(let path):
            "\(path) is in use by another volume server: stop it first"
        case .foreign(let path, let found, let wanted):
            "\(path) describes \(found), not \(wanted): remove the file to have this copy rebuilt"
        case .foreignVersion(let path, let found):
            "\(path) is \(Format.copyMetadata.flaw(found)): install the release that wrote it; the copy is left as it is"
        case .noCopy(let reason): reason
        case .corrupt(let path):
            "\(path) is damaged: remove it, and this copy is compared as a whole and rebuilt from another replica"
        }
    }
}

extension StoreError {
    /// What failed below; `doing` says what for.
    init(_ error: DiskError, doing: String? = nil) {
        if error.code == .wouldBlock {
            self = .inUse(path: error.path)
        } else {
            self = .failed(
                doing: doing ?? error.operation.rawValue, path: error.path, errno: error.code.rawValue)
        }
    }
}
