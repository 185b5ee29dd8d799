import Agents
import CLinux
import Cluster
import Glibc
import Host

/// Which program a process that outlives daemons runs.
enum RunningProgram {
    /// Where a process says which version it is: its number, a blank, the version.
    static func note(in directory: String) -> String { directory + "/release" }

    /// Says it of this process; should that fail, `status` knows no version.
    static func write(_ version: String, in directory: String) {
        try? Files.replace(
            self.note(in: directory), with: Array("\(getpid()) \(version)\n".utf8), mode: 0o644, isDurable: false)
    }

    /// What the guard is that wrote this note; nil when it is there no more.
    static func guardian(_ note: GuardNote) -> NodePrograms.Helper? {
        guard let pid = note.livingPid else { return nil }
        return .init(version: note.version, isPresent: self.isPresent(pid))
    }

    /// What the process at the other end of a socket is, which notes its version in `directory`.
    static func peer(of socket: Int32, notingIn directory: String) -> NodePrograms.Helper? {
        var (pid, user, group): (pid_t, uid_t, gid_t) = (0, 0, 0)
        guard holdfast_peer_credentials(socket, &pid, &user, &group) == 0, pid > 0 else { return nil }
        let words = Files.text(self.note(in: directory))?.split(whereSeparator: \.isWhitespace) ?? []
        let isItsOwn = words.count == 2 && words[0] == "\(pid)"
        return .init(version: isItsOwn ? String(words[1]) : nil, isPresent: self.isPresent(pid))
    }

    /// Whether what this process starts runs the very file that it runs itself: not once another one was put in its place.
    static var isWhatWouldBeStarted: Bool { self.isSameFile(ChildProcess.program) }

    /// Whether it runs the very file that this process runs: another file under the same name is another program.
    private static func isPresent(_ pid: pid_t) -> Bool { self.isSameFile("/proc/\(pid)/exe") }

    private static func isSameFile(_ path: String) -> Bool {
        var (other, own) = (stat(), stat())
        guard stat(path, &other) == 0, stat("/proc/self/exe", &own) == 0 else { return false }
        return other.st_dev == own.st_dev && other.st_ino == own.st_ino
    }
}
