import Basis
import CLinux
import Glibc
import Host
import Synchronization

/// Looks at the services' logs again and again and cuts those that grew too large. The services write into them without
/// anybody in between, so that they survive the daemon; a log that grows fast is looked at often.
final class ServiceLogKeeper: Sendable {
    private static let usualPause = Span.milliseconds(250)
    private static let hurriedPause = Span.milliseconds(10)

    private let directory: String
    private let isRunning = Mutex(false)

    /// Nothing runs before `start`.
    init(runDirectory: String) { self.directory = runDirectory + "/services" }

    /// Starts looking, once.
    func start() {
        let isFirst = self.isRunning.withLock { isRunning in
            defer { isRunning = true }
            return !isRunning
        }
        guard isFirst else { return }
        let directory = self.directory
        SystemThread.demand("agent") {
            var sizes: [String: off_t] = [:]
            while true {
                let isHurried = Self.look(directory, &sizes)
                SystemThread.sleep(isHurried ? Self.hurriedPause : Self.usualPause)
            }
        }
    }

    /// One look; true when a log grew so much since the last that the next look must come soon.
    static func look(_ directory: String, _ sizes: inout [String: off_t]) -> Bool {
        var isHurried = false
        var seen: [String: off_t] = [:]
        for name in Files.list(directory) where name.hasSuffix(".log") {
            let log = ServiceLog(directory + "/" + name)
            let size = log.sizeBytes
            if size - min(size, sizes[name] ?? size) > ServiceLog.limitBytes / 8 { isHurried = true }
            log.bound()
            seen[name] = log.sizeBytes
        }
        sizes = seen
        return isHurried
    }
}

extension AgentEnvironment {
    /// What to add to the reason why a service ended, when the run directory is full; empty otherwise.
    var spaceHint: String {
        var total: UInt64 = 0
        var available: UInt64 = 0
        guard holdfast_space(self.runDirectory, &total, &available) == 0, total > 0, available < 256 << 10 else {
            return ""
        }
        return "; there is no space left in \(self.runDirectory)"
    }
}
