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

/// How a process ended.
enum ProcessEnd: Equatable, CustomStringConvertible {
    case exited(Int32)
    case killed(Int32)
    /// It was the child of an earlier daemon, so its code went elsewhere.
    case unknown

    var description: String {
        switch self {
        case .exited(let code): "ended with exit code \(code)"
        case .killed(let signal): "was killed by \(SystemText.signal(signal))"
        case .unknown: "ended (with what code is unknown: it was started before the daemon was)"
        }
    }
}

enum Spawn {
    /// Starts a process.
    static func start(_ request: SpawnRequest) throws(AgentError) -> SpawnedProcess {
        guard let path = request.arguments.first else { preconditionFailure("a spawn needs a path") }
        let cgroup: Int32 = try request.cgroup?.openDirectory() ?? -1
        defer { if cgroup >= 0 { close(cgroup) } }
        let arguments = CStrings(request.arguments)
        let environment = CStrings(request.environment.map { "\($0.key)=\($0.value)" }.sorted())
        let texts = CStrings([path, request.directory ?? "/"])
        let groups = request.user?.groups ?? []
        var pid: pid_t = -1
        var descriptor: Int32 = -1
        var stage: Int32 = 0
        let code = groups.withUnsafeBufferPointer { groups in
            var raw = holdfast_spawn_request()
            raw.path = UnsafePointer(texts.pointers[0])
            raw.arguments = UnsafePointer(arguments.pointers)
            raw.environment = UnsafePointer(environment.pointers)
            raw.directory = UnsafePointer(texts.pointers[1])
            if let user = request.user {
                raw.change_user = 1
                raw.user = user.user
                raw.group = user.group
                raw.groups = groups.baseAddress
                raw.group_count = groups.count
            }
            raw.input = request.input ?? -1
            raw.output = request.output ?? -1
            raw.error = request.error ?? -1
            raw.cgroup = cgroup
            return holdfast_spawn(&raw, &pid, &descriptor, &stage)
        }
        guard code == 0 else { throw .spawn(path: path, stage: self.name(stage), code: code) }
        return SpawnedProcess(pid: pid, descriptor: descriptor)
    }

    /// The end of a child, or of somebody else's process whose descriptor is readable; nil while it runs.
    static func reap(_ descriptor: Int32) -> ProcessEnd? {
        var ended: Int32 = 0
        var killed: Int32 = 0
        var code: Int32 = 0
        let result = holdfast_pidfd_reap(descriptor, &ended, &killed, &code)
        if result == 0 { return ended == 0 ? nil : (killed == 1 ? .killed(code) : .exited(code)) }
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&request, 1, 0) > 0 ? .unknown : nil
    }

    private static func name(_ stage: Int32) -> String {
        switch stage {
        case HOLDFAST_SPAWN_CGROUP: "joining its cgroup"
        case HOLDFAST_SPAWN_FILES: "opening its standard files"
        case HOLDFAST_SPAWN_USER: "becoming its user"
        case HOLDFAST_SPAWN_DIRECTORY: "entering its directory"
        case HOLDFAST_SPAWN_EXECUTE: "executing it"
        default: "creating the process"
        }
    }
}

/// A null-terminated array of C strings.
private final class CStrings {
    let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        self.count = strings.count
        self.pointers = .allocate(capacity: strings.count + 1)
        for (position, string) in strings.enumerated() { self.pointers[position] = strdup(string) }
        self.pointers[strings.count] = nil
    }

    deinit {
        for position in 0..<self.count { free(self.pointers[position]) }
        self.pointers.deallocate()
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
