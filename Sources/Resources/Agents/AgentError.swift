import Glibc
import Host

/// Why the machinery under the agents could not do its work; agents turn it into the reason of a failed call.
public enum AgentError: Error, Equatable, CustomStringConvertible {
    /// No cgroup v2 file system where one is needed.
    case noControlGroups(path: String)
    /// A cgroup operation failed.
    case controlGroup(path: String, action: String, code: Int32)
    /// A process could not be started; `stage` is what was being done.
    case spawn(path: String, stage: String, code: Int32)
    /// A file below the run directory could not be read or written.
    case file(path: String, action: String, code: Int32)
    /// There is no such user on this machine.
    case unknownUser(name: String, code: Int32)

    /// What happened, where, and what to do next.
    public var description: String {
        switch self {
        case .noControlGroups(let path):
            "there is no cgroup v2 at \(path): mount it (mount -t cgroup2 none \(path)) or set HOLDFAST_CGROUP to a "
                + "directory on a cgroup2 file system; without it nothing can be stopped for certain"
        case .controlGroup(let path, let action, let code):
            "could not \(action) the cgroup \(path): \(SystemText.error(code)); check that the daemon runs as root and "
                + "that nothing else manages this directory"
        case .spawn(let path, let stage, let code):
            "could not start \(path) (\(stage)): \(SystemText.error(code))"
        case .file(let path, let action, let code):
            "could not \(action) \(path): \(SystemText.error(code)); check space and permissions of the run directory"
        case .unknownUser(let name, let code):
            code == ENOENT
                ? "there is no user \(name) on this node: create it, or change the resource's `user`"
                : "could not look up the user \(name): \(SystemText.error(code))"
        }
    }
}
