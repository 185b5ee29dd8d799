import Agents
import Glibc
import Host

/// A process that the daemon starts and that outlives it: the guard, a volume server.
enum ChildProcess {
    /// Starts this same program with other arguments, in a session and, if given, a cgroup of its own. What it says is appended
    /// to a file; its complaints too, unless there is a descriptor for those. Returns one that becomes readable when it ends.
    static func start(_ arguments: [String], in cgroup: ControlGroup?, output: String, error: Int32? = nil) throws -> (
        pid: Int32, pidfd: Int32
    ) {
        var directory: Int32 = -1
        if let cgroup {
            try cgroup.create()
            directory = open(cgroup.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        defer { if directory >= 0 { close(directory) } }
        let log = open(output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        defer { if log >= 0 { close(log) } }
        var start = ProcessStart([self.program] + arguments)
        start.environment = self.environment
        (start.output, start.error) = (log >= 0 ? log : nil, error ?? (log >= 0 ? log : nil))
        start.cgroup = directory >= 0 ? directory : nil
        do throws(ProcessStart.Failure) {
            let (pid, pidfd) = try start.start()
            return (pid, pidfd)
        } catch {
            throw DriverError.file(
                path: self.program,
                reason: "it cannot be started (\(SystemText.error(error.code)) while \(error.stage))",
                remedy: "check the limits of this machine")
        }
    }

    /// The file that this process runs; `/proc/self/exe` itself when its name is gone, as after an upgrade.
    static var program: String {
        guard let path = Files.link("/proc/self/exe"), !path.isEmpty else { return "/proc/self/exe" }
        let replaced = " (deleted)"
        return path.hasSuffix(replaced) ? String(path.dropLast(replaced.count)) : path
    }

    /// What a child needs of this process's environment.
    private static var environment: [String] {
        let kept: [String] = [
            "PATH", "HOME", "LANG", "HOLDFAST_DIRECTORY", "HOLDFAST_RUN", "HOLDFAST_CGROUP", "HOLDFAST_BOOT_ID",
            "HOLDFAST_WATCHDOG", "HOLDFAST_RTC", "JOURNAL_STREAM",
        ]
        return kept.compactMap { name in getenv(name).map { "\(name)=\(String(cString: $0))" } }
    }
}
