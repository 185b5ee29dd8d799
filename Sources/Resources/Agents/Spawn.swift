import Basis
import CLinux
import Glibc
import Host

/// A process to start; see `holdfast_spawn` for what every process gets.
struct SpawnRequest: Sendable {
    /// Absolute path and arguments; the first is what is executed.
    var arguments: [String]
    /// The whole environment; nothing is inherited.
    var environment: [String: String] = [:]
    var directory: String?
    var user: UserIdentity?
    var cgroup: ControlGroup?
    /// Descriptors for standard input, output and error; nil means /dev/null.
    var input: Int32?
    var output: Int32?
    var error: Int32?
}

/// A user as the kernel knows one.
struct UserIdentity: Equatable, Sendable {
    let name: String
    let user: uid_t
    let group: gid_t
    let groups: [gid_t]
    let home: String

    /// Looks a user up by name.
    init(name: String) throws(AgentError) {
        var user: uid_t = 0
        var group: gid_t = 0
        var groups = [gid_t](repeating: 0, count: 256)
        var count: Int32 = 0
        var home = [CChar](repeating: 0, count: 1024)
        let code = holdfast_user_lookup(
            name, &user, &group, &groups, Int32(groups.count), &count, &home, Int32(home.count))
        guard code == 0 else { throw .unknownUser(name: name, code: code) }
        self.name = name
        self.user = user
        self.group = group
        self.groups = Array(groups[..<Int(count)])
        self.home = String(decoding: home.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// A child of this process.
struct SpawnedProcess: Sendable {
    let pid: Int32
    /// Readable when the process ended; belongs to the holder of this value.
    let descriptor: Int32
}

enum Spawn {
    /// Starts a process.
    static func start(_ request: SpawnRequest) throws(AgentError) -> SpawnedProcess {
        let cgroup = try request.cgroup?.openDirectory()
        defer { if let cgroup { close(cgroup) } }
        var start = ProcessStart(request.arguments)
        start.environment = request.environment.map { "\($0.key)=\($0.value)" }.sorted()
        start.directory = request.directory ?? "/"
        start.user = request.user.map { ProcessStart.User(user: $0.user, group: $0.group, groups: $0.groups) }
        start.cgroup = cgroup
        (start.input, start.output, start.error) = (request.input, request.output, request.error)
        do throws(ProcessStart.Failure) {
            let (pid, descriptor) = try start.start()
            return SpawnedProcess(pid: pid, descriptor: descriptor)
        } catch {
            throw .spawn(path: request.arguments.first ?? "", stage: error.stage, code: error.code)
        }
    }
}

/// A process as nobody can confuse it: a pid is used again, a pid with its start time is not.
public struct ProcessIdentity: Equatable, Sendable {
    /// The process id.
    public let pid: Int32
    /// Field 22 of `/proc/PID/stat`: clock ticks from boot to its start.
    public let startTime: UInt64

    /// Names a process.
    public init(pid: Int32, startTime: UInt64) {
        self.pid = pid
        self.startTime = startTime
    }

    /// The process that has this pid now; nil when there is none or no thread of it lives.
    ///
    /// The state in `stat` is that of the main thread alone: a process whose main thread has ended is shown as a zombie
    /// while its other threads run on.
    public init?(pid: Int32) {
        guard let text = Files.text("/proc/\(pid)/stat"), let name = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: name)...].split(separator: " ")
        guard fields.count > 19, let start = UInt64(fields[19]), let threads = Int(fields[17]) else { return nil }
        let isMainThreadOver = fields[0] == "Z" || fields[0] == "X"
        if isMainThreadOver, threads < 2 { return nil }
        self.init(pid: pid, startTime: start)
    }

    /// It still runs.
    public var isAlive: Bool { ProcessIdentity(pid: self.pid) == self }

    /// Sends a signal to this process and to no other that may have got its pid.
    func signal(_ number: Int32) {
        let descriptor = holdfast_pidfd_open(self.pid)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        if self.isAlive { _ = holdfast_pidfd_signal(descriptor, number) }
    }
}
