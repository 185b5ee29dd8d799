import Basis
import Glibc
import Host

/// What a volume's device process is told.
public struct VolumeDeviceOptions: Sendable {
    /// How the volume is shown.
    public enum Carrier: Hashable, Sendable {
        /// As the file `nbd` in a directory, which becomes a mount of FUSE.
        case file(directory: String)
        /// As a block device of the kernel's nbd, which knows this process by the name given.
        case networkBlockDevice(backend: String)
    }

    /// The volume server's export.
    public var socket: String
    /// How it is shown.
    public var carrier: Carrier
    /// Gets this process's id and the path of the file or device, once that is there.
    public var ready: String
    /// How long requests wait while there is no volume server.
    public var deadTime: Span

    /// All fields.
    public init(socket: String, carrier: Carrier, ready: String, deadTime: Span) {
        self.socket = socket
        self.carrier = carrier
        self.ready = ready
        self.deadTime = deadTime
    }
}

/// Why a volume's file cannot be shown.
public enum VolumeDeviceError: Error, CustomStringConvertible {
    /// The mount failed.
    case mount(directory: String, errno: Int32)
    /// The kernel's nbd gave no device.
    case kernelDevice(errno: Int32)
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
            "cannot mount \(directory): \(SystemText.error(code)); look that the module fuse is loaded and "
                + "that this runs as root"
        case .kernelDevice(let code):
            "the kernel's nbd gives no device: \(SystemText.error(code)); look that the module nbd is loaded and that "
                + "this runs as root in the machine's own network namespace"
        case .system(let what, let code): "\(what): \(SystemText.error(code))"
        case .ready(let path, let code): "cannot write \(path): \(SystemText.error(code))"
        case .noServer(let socket, let span, let last):
            "no volume server answered on \(socket) within \(span): \(last); look that it runs"
        }
    }
}
