import Agents
import CLinux
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
        let path = self.program
        var pid: pid_t = -1
        var pidfd: Int32 = -1
        var stage: Int32 = 0
        let code = self.withStrings([path] + arguments) { words in
            self.withStrings(self.environment) { environment in
                path.withCString { path in
                    var request = holdfast_spawn_request()
                    request.path = path
                    request.arguments = UnsafePointer(words)
                    request.environment = UnsafePointer(environment)
                    request.input = -1
                    request.output = log
                    request.error = error ?? log
                    request.cgroup = directory
                    return holdfast_spawn(&request, &pid, &pidfd, &stage)
                }
            }
        }
        guard code == 0 else {
            throw DriverError.file(
                path: path, reason: "it cannot be started (\(SystemText.error(code)))",
                remedy: "check the limits of this machine")
        }
        return (pid, pidfd)
    }

    /// The file that this process runs; `/proc/self/exe` itself when its name is gone, as after an upgrade.
    static var program: String {
        var target = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &target, target.count)
        guard count > 0 else { return "/proc/self/exe" }
        let path = String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
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

    private static func withStrings<Result>(
        _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        let pointers = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: strings.count + 1)
        for (place, string) in strings.enumerated() { pointers[place] = strdup(string) }
        pointers[strings.count] = nil
        defer {
            for place in strings.indices { free(pointers[place]) }
            pointers.deallocate()
        }
        return body(pointers)
    }

    /// How a process ended.
    enum End: CustomStringConvertible {
        case exited(Int32)
        case killed(Int32)
        case unknown

        /// A clause after its name.
        var description: String {
            switch self {
            case .exited(let code): "ended with exit code \(code)"
            case .killed(let signal): "was killed by signal \(signal)"
            case .unknown: "ended"
            }
        }
    }

    /// How the process behind a descriptor ended; nil while it runs.
    static func end(_ pidfd: Int32) -> End? {
        var ended: Int32 = 0
        var killed: Int32 = 0
        var code: Int32 = 0
        if holdfast_pidfd_reap(pidfd, &ended, &killed, &code) == 0 {
            guard ended != 0 else { return nil }
            return killed != 0 ? .killed(code) : .exited(code)
        }
        return self.hasEnded(pidfd) ? .unknown : nil
    }

    /// Whether the process behind a descriptor has ended; takes its exit code from the kernel if it is a child.
    static func hasEnded(_ pidfd: Int32) -> Bool {
        var ended: Int32 = 0
        var killed: Int32 = 0
        var code: Int32 = 0
        if holdfast_pidfd_reap(pidfd, &ended, &killed, &code) == 0 { return ended != 0 }
        var request = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        return poll(&request, 1, 0) > 0
    }
}
