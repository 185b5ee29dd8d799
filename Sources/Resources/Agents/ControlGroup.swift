import Basis
import CLinux
import Glibc
import Host

/// One directory of the cgroup v2 tree: a set of processes that no fork escapes, and that can be killed as one.
public struct ControlGroup: Sendable, Equatable {
    /// The directory.
    public let path: String

    /// Names a directory; nothing is created.
    public init(_ path: String) { self.path = path }

    /// The root for this machine: HOLDFAST_CGROUP as `override`, else `holdfast` below the first cgroup2 mount of
    /// `/sys/fs/cgroup` and `/sys/fs/cgroup/unified`. Throws `noControlGroups` when there is none.
    public static func root(override: String?) throws(AgentError) -> ControlGroup {
        if let override, !override.isEmpty {
            // The directory itself need not exist yet; what it would be created in must be cgroup2.
            var parent = override
            while !Files.exists(parent), let slash = parent.lastIndex(of: "/"), slash > parent.startIndex {
                parent = String(parent[..<slash])
            }
            guard holdfast_is_cgroup2(parent) == 1 else { throw .noControlGroups(path: override) }
            return ControlGroup(override)
        }
        for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] where holdfast_is_cgroup2(mount) == 1 {
            return ControlGroup(mount + "/holdfast")
        }
        throw .noControlGroups(path: "/sys/fs/cgroup")
    }

    /// The cgroup of this name below; the name is made safe as a file name.
    public func child(_ name: String) -> ControlGroup { ControlGroup(self.path + "/" + Files.component(name)) }

    /// The directory exists.
    public var exists: Bool { Files.isDirectory(self.path) }

    /// Creates it and its parents; harmless when it exists.
    public func create() throws(AgentError) {
        if mkdir(self.path, 0o755) == 0 || (errno == EEXIST && self.exists) { return }
        guard errno == ENOENT, let slash = self.path.lastIndex(of: "/"), slash > self.path.startIndex else {
            throw .controlGroup(path: self.path, action: "create", code: errno)
        }
        try ControlGroup(String(self.path[..<slash])).create()
        guard mkdir(self.path, 0o755) == 0 || errno == EEXIST else {
            throw .controlGroup(path: self.path, action: "create", code: errno)
        }
        guard Files.exists(self.path + "/cgroup.procs") else { throw .noControlGroups(path: self.path) }
    }

    /// Has the kernel count memory and processes of each cgroup below, for `systemd-cgtop` and whoever limits them there
    /// (memory.max). Where the controllers belong to cgroup v1 they cannot, and nothing here needs it.
    func countChildren() {
        for controller in ["+memory", "+pids"] { _ = Files.poke(self.path + "/cgroup.subtree_control", controller) }
    }

    /// Some thread in it or below is alive; false when the directory does not exist. Zombies do not count.
    public func isPopulated() throws(AgentError) -> Bool {
        switch Files.bytes(self.path + "/cgroup.events") {
        case .success(let bytes):
            return !String(decoding: bytes, as: UTF8.self).split(separator: "\n").contains("populated 0")
        case .failure(let error) where error.code == ENOENT || error.code == ENODEV:
            return false
        case .failure(let error):
            throw .controlGroup(path: self.path, action: "read the state of", code: error.code)
        }
    }

    /// The processes in it and below, sorted.
    public func processes() -> [Int32] {
        var found = self.numbers("cgroup.procs")
        for child in self.children { found += child.processes() }
        return found.sorted()
    }

    /// The cgroups directly below, sorted by name.
    public var children: [ControlGroup] {
        Files.list(self.path).map { ControlGroup(self.path + "/" + $0) }.filter { $0.exists }
    }

    /// Sends SIGKILL to every process in it and below, by every means there is, without waiting: at once (cgroup.kill),
    /// and then one by one to all that is still listed, because Linux 6.18 passes over a process whose main thread has
    /// ended. Throws when the kernel refused the first, and what is listed was still signalled.
    public func kill() throws(AgentError) {
        let code = Files.poke(self.path + "/cgroup.kill", "1")
        guard self.exists else { return }
        if code == ENOENT || code == EOPNOTSUPP {
            // Before Linux 5.14: nothing forks while it is frozen, and SIGKILL reaches frozen processes.
            try? self.freeze()
            self.killListed()
            try? self.thaw()
            return
        }
        self.killListed()
        if code != 0 { throw .controlGroup(path: self.path, action: "kill", code: code) }
    }

    /// SIGKILL to each process and thread that the kernel lists, here and below.
    private func killListed() {
        let own = self.numbers("cgroup.procs")
        let held = own.map { (pid: $0, descriptor: holdfast_pidfd_open($0)) }
        // Listed again after the descriptor was opened: so it is the listed process, and not another that got its pid.
        let still = Set(self.numbers("cgroup.procs"))
        for (pid, descriptor) in held {
            guard descriptor >= 0 else {
                if still.contains(pid) { _ = Glibc.kill(pid, SIGKILL) }
                continue
            }
            if still.contains(pid), holdfast_pidfd_signal(descriptor, SIGKILL) != 0 { _ = Glibc.kill(pid, SIGKILL) }
            close(descriptor)
        }
        // A thread whose process is not listed: the signal goes to its whole process.
        for thread in self.numbers("cgroup.threads") where Self.process(ofThread: thread).map(still.contains) == false {
            _ = Glibc.kill(thread, SIGKILL)
        }
        for child in self.children { child.killListed() }
    }

    /// The process that a thread belongs to; nil when the thread is gone.
    private static func process(ofThread thread: Int32) -> Int32? {
        let lines = (Files.text("/proc/\(thread)/status") ?? "").split(separator: "\n")
        return lines.first { $0.hasPrefix("Tgid:") }.flatMap { Int32($0.dropFirst(5).drop { $0 == "\t" }) }
    }

    /// The numbers in one of its files; empty when it cannot be read.
    private func numbers(_ file: String) -> [Int32] {
        (Files.text(self.path + "/" + file) ?? "").split(separator: "\n").compactMap { Int32($0) }
    }

    /// Sends SIGKILL until nothing is left, at most until `deadline`; true when it is empty for certain.
    public func killAll(until deadline: Tick, clock: () -> Tick) -> Bool {
        while true {
            try? self.kill()
            let slice = min(clock() + .milliseconds(20), deadline)
            if self.waitUntilEmpty(until: slice, clock: clock) { return true }
            if clock() >= deadline { return false }
        }
    }

    /// Waits for the last process to end, at most until `deadline`; true when it is empty.
    public func waitUntilEmpty(until deadline: Tick, clock: () -> Tick) -> Bool {
        let events = open(self.path + "/cgroup.events", O_RDONLY | O_CLOEXEC)
        guard events >= 0 else { return (try? self.isPopulated()) == false }
        defer { close(events) }
        while true {
            var buffer = [UInt8](repeating: 0, count: 256)
            let count = pread(events, &buffer, buffer.count, 0)
            if count < 0 { return (try? self.isPopulated()) == false }
            let text = String(decoding: buffer[..<count], as: UTF8.self)
            if text.split(separator: "\n").contains("populated 0") { return true }
            let left = deadline.since(clock())
            if left == .zero { return false }
            var request = pollfd(fd: events, events: Int16(POLLPRI), revents: 0)
            _ = poll(&request, 1, Int32(clamping: left.milliseconds + 1))
        }
    }

    /// Stops every process in it from running.
    public func freeze() throws(AgentError) { try self.write("cgroup.freeze", "1", action: "freeze") }
    /// Lets frozen processes run again.
    public func thaw() throws(AgentError) { try self.write("cgroup.freeze", "0", action: "thaw") }

    /// Moves the processes directly in it to another cgroup; true when none is left.
    public func move(to other: ControlGroup) -> Bool {
        for _ in 0..<50 {
            let own = (Files.text(self.path + "/cgroup.procs") ?? "").split(separator: "\n")
            if own.isEmpty { return true }
            for process in own { _ = Files.poke(other.path + "/cgroup.procs", String(process)) }
        }
        return false
    }

    /// Removes it and what is below; false while a process is left in it.
    @discardableResult
    public func remove() -> Bool {
        for child in self.children { child.remove() }
        return rmdir(self.path) == 0 || errno == ENOENT
    }

    /// Opens the directory for a spawn; the caller closes it.
    func openDirectory() throws(AgentError) -> Int32 {
        let descriptor = open(self.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .controlGroup(path: self.path, action: "open", code: errno) }
        return descriptor
    }

    private func write(_ file: String, _ value: String, action: String) throws(AgentError) {
        let code = Files.poke(self.path + "/" + file, value)
        guard code == 0 else { throw .controlGroup(path: self.path, action: action, code: code) }
    }
}
