import Basis
import Glibc
import Host

/// Which guard watches a run directory, and with what options, in a file there: a guard outlives the daemon that started it, and
/// must not outlive a change of what the next daemon wants.
public struct GuardNote: Equatable, Sendable {
    /// The watchdog device that it was told to arm; nil for none.
    public var watchdog: String?
    /// The timeout to ask of it, in seconds.
    public var watchdogSeconds: Int32
    /// The cgroup root that it kills in.
    public var cgroupRoot: String
    /// The version that it is; nil from a build that does not say it.
    public var version: String?
    /// Its process; nil for what a guard would be started with.
    public var pid: Int32?

    /// All fields.
    public init(
        watchdog: String?, watchdogSeconds: Int32, cgroupRoot: String, version: String? = nil, pid: Int32? = nil
    ) {
        self.version = version
        self.watchdog = watchdog
        self.watchdogSeconds = watchdogSeconds
        self.cgroupRoot = cgroupRoot
        self.pid = pid
    }

    private static func path(_ runDirectory: String) -> String { runDirectory + "/guard.options" }

    /// The note of the guard that was started last; nil when there is none.
    public static func read(runDirectory: String) -> GuardNote? {
        guard let content = Files.text(self.path(runDirectory)) else { return nil }
        let lines = content.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        guard lines.count >= 4, let pid = Int32(lines[0]), let seconds = Int32(lines[2]) else { return nil }
        return GuardNote(
            watchdog: lines[1].isEmpty ? nil : lines[1], watchdogSeconds: seconds, cgroupRoot: lines[3],
            version: lines.count > 5 && !lines[4].isEmpty ? lines[4] : nil, pid: pid)
    }

    func write(runDirectory: String) {
        try? Files.replace(
            Self.path(runDirectory),
            "\(self.pid ?? 0)\n\(self.watchdog ?? "")\n\(self.watchdogSeconds)\n\(self.cgroupRoot)\n"
                + "\(self.version ?? "")\n")
    }

    /// Its process, if it is alive and a guard still.
    public var livingPid: Int32? { self.pid.flatMap { $0 > 1 && Self.isGuard($0) ? $0 : nil } }

    /// Tells that guard to make room for one with these options; false when it has them already, or is not there.
    public func makeRoom(for wanted: GuardNote) -> Bool {
        guard let pid = self.livingPid else { return false }
        var other = self
        (other.pid, other.version) = (nil, wanted.version)
        guard other != wanted else { return false }
        return kill(pid, SIGHUP) == 0
    }

    /// The number may be another process's by now.
    private static func isGuard(_ pid: Int32) -> Bool {
        guard let words = Files.text("/proc/\(pid)/cmdline")?.split(separator: "\0") else { return false }
        return words.count > 1 && words[1] == "guard"
    }
}

extension Guard.Options {
    /// What this guard says of itself.
    var note: GuardNote {
        GuardNote(
            watchdog: self.watchdog, watchdogSeconds: self.watchdogSeconds, cgroupRoot: self.cgroupRoot,
            version: Release.present.version, pid: getpid())
    }
}
