import CLinux
import Glibc

/// A process to start; see `holdfast_spawn` for what every process gets.
package struct ProcessStart: Sendable {
    /// The user that a process becomes.
    package struct User: Sendable {
        /// Its number.
        package var user: uid_t
        /// Its group.
        package var group: gid_t
        /// All its groups.
        package var groups: [gid_t]

        /// All fields.
        package init(user: uid_t, group: gid_t, groups: [gid_t]) {
            self.user = user
            self.group = group
            self.groups = groups
        }
    }

    /// Why there is no process.
    package struct Failure: Error {
        /// What was being done, as a clause after "while".
        package let stage: String
        /// The error.
        package let code: Int32
    }

    /// Absolute path and arguments; the first is what is executed.
    package var arguments: [String]
    /// The whole environment, `NAME=VALUE`; nothing is inherited.
    package var environment: [String] = []
    /// Where it runs.
    package var directory = "/"
    /// Whom it becomes; nil keeps the caller's user.
    package var user: User?
    /// The descriptor of a cgroup's directory; nil keeps the caller's cgroup.
    package var cgroup: Int32?
    /// Descriptors for standard input, output and error; nil means /dev/null.
    package var input: Int32?
    package var output: Int32?
    package var error: Int32?

    /// A process with neither environment nor standard files.
    package init(_ arguments: [String]) { self.arguments = arguments }

    /// Starts it. The descriptor becomes readable when the process ends, and is the caller's to close.
    package func start() throws(Failure) -> (pid: Int32, descriptor: Int32) {
        guard let path = self.arguments.first else { preconditionFailure("a process needs a path") }
        let arguments = CStrings(self.arguments)
        let environment = CStrings(self.environment)
        let texts = CStrings([path, self.directory])
        let groups = self.user?.groups ?? []
        var pid: pid_t = -1
        var descriptor: Int32 = -1
        var stage: Int32 = 0
        let code = groups.withUnsafeBufferPointer { groups in
            var raw = holdfast_spawn_request()
            raw.path = UnsafePointer(texts.pointers[0])
            raw.arguments = UnsafePointer(arguments.pointers)
            raw.environment = UnsafePointer(environment.pointers)
            raw.directory = UnsafePointer(texts.pointers[1])
            if let user = self.user {
                raw.change_user = 1
                raw.user = user.user
                raw.group = user.group
                raw.groups = groups.baseAddress
                raw.group_count = groups.count
            }
            raw.input = self.input ?? -1
            raw.output = self.output ?? -1
            raw.error = self.error ?? -1
            raw.cgroup = self.cgroup ?? -1
            return holdfast_spawn(&raw, &pid, &descriptor, &stage)
        }
        guard code == 0 else { throw Failure(stage: Self.name(stage), code: code) }
        return (pid, descriptor)
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

/// How a process ended.
package enum ProcessEnd: Equatable, Sendable, CustomStringConvertible {
    case exited(Int32)
    case killed(Int32)
    /// It was the child of an earlier daemon, so its code went elsewhere.
    case unknown

    /// A clause after its name.
    package var description: String {
        switch self {
        case .exited(let code): "ended with exit code \(code)"
        case .killed(let signal): "was killed by \(SystemText.signal(signal))"
        case .unknown: "ended (with what code is unknown: it was started before the daemon was)"
        }
    }

    /// The end of the process behind a descriptor, whose code is taken from the kernel if it is a child; nil while it runs.
    package static func of(_ descriptor: Int32) -> ProcessEnd? {
        var ended: Int32 = 0
        var killed: Int32 = 0
        var code: Int32 = 0
        let result = holdfast_pidfd_reap(descriptor, &ended, &killed, &code)
        if result == 0 { return ended == 0 ? nil : (killed == 1 ? .killed(code) : .exited(code)) }
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&request, 1, 0) > 0 ? .unknown : nil
    }
}

/// A null-terminated array of C strings.
private final class CStrings {
    let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        self.count = strings.count
        self.pointers = .allocate(capacity: strings.count + 1)
        for (index, string) in strings.enumerated() { self.pointers[index] = strdup(string) }
        self.pointers[strings.count] = nil
    }

    deinit {
        for index in 0..<self.count { free(self.pointers[index]) }
        self.pointers.deallocate()
    }
}
