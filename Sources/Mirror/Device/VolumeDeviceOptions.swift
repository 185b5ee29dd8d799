import Basis
import Glibc

/// What a volume's device process is told.
public struct VolumeDeviceOptions: Sendable {
    /// The volume server's export.
    public var socket: String
    /// The directory that becomes the mount with the file `nbd`.
    public var mount: String
    /// Gets this process's id once the file is there.
    public var ready: String
    /// How long requests wait while there is no volume server.
    public var deadTime: Span

    /// All fields.
    public init(socket: String, mount: String, ready: String, deadTime: Span) {
        self.socket = socket
        self.mount = mount
        self.ready = ready
        self.deadTime = deadTime
    }
}

/// Why a volume's file cannot be shown.
public enum VolumeDeviceError: Error, CustomStringConvertible {
    /// The mount failed.
    case mount(directory: String, errno: Int32)
    /// The system refused something that the process cannot do without.
    case system(what: String, errno: Int32)
    /// The readiness file could not be written.
    case ready(path: String, errno: Int32)
    /// There never was a volume server.
    case noServer(socket: String, Span, last: String)

    /// What happened and what to do.
    public var description: String {
        switch self {
        case .mount(let directory, let code):
            "cannot mount \(directory): \(String(cString: strerror(code))); look that the module fuse is loaded and "
                + "that this runs as root"
        case .system(let what, let code): "\(what): \(String(cString: strerror(code)))"
        case .ready(let path, let code): "cannot write \(path): \(String(cString: strerror(code)))"
        case .noServer(let socket, let span, let last):
            "no volume server answered on \(socket) within \(span): \(last); look that it runs"
        }
    }
}
