import Basis
import CLinux
import Glibc
import Host

/// The process that outlives the daemon and ends what the daemon no longer can: at the end of the lease it kills every
/// cgroup of every group and drops their addresses, and it alone pats the watchdog. (Rule L12)
public enum Guard {
    /// What the guard is told at its start.
    public struct Options: Sendable {
        /// The run directory; the lease file, the lock and the log are in it.
        public var runDirectory: String
        /// The cgroup root, as the daemon has it.
        public var cgroupRoot: String
        /// The watchdog device; nil means none, and then a kernel that hangs is not reset.
        public var watchdog: String?
        /// The timeout to ask of the watchdog, in seconds.
        public var watchdogSeconds: Int32
        /// The hardware clock to compare with; nil means the machine's own. (Rule L20)
        public var hardwareClock: String?

        /// It takes the place of the guard that runs, if one does. (Rule L12.4)
        public var takesOver: Bool

        /// Options from their parts.
        public init(
            runDirectory: String, cgroupRoot: String, watchdog: String? = nil, watchdogSeconds: Int32 = 1,
            hardwareClock: String? = nil, takesOver: Bool = false
        ) {
            self.takesOver = takesOver
            self.runDirectory = runDirectory
            self.cgroupRoot = cgroupRoot
            self.watchdog = watchdog
            self.watchdogSeconds = watchdogSeconds
            self.hardwareClock = hardwareClock
        }
    }

    /// Runs until it is told to go (SIGTERM), and then until it may: exit code 0. On SIGHUP it goes at once, and disarms the
    /// watchdog: another guard takes its place. A second guard for the same run directory leaves with 4 unless it is to take over,
    /// one that cannot work with 1; the reason is on standard error.
    public static func run(_ options: Options) -> Never {
        let clock = { MachineClock.now }
        do { try Files.makeDirectory(options.runDirectory) } catch { self.leave("\(error)", code: 1) }
        let log = GuardLog(path: options.runDirectory + "/guard.log")
        setsid()
        chdir("/")
        // Its standard error may be the daemon's, and end with it.
        signal(SIGPIPE, SIG_IGN)
        let isFirst = self.lock(options.runDirectory)
        guard isFirst || options.takesOver else {
            self.leave("another guard runs for \(options.runDirectory); this one is not needed", code: 4)
        }
        let signals = holdfast_termination_signals()
        let lease: LeasePage
        do throws(Errno) {
            lease = try LeasePage(path: options.runDirectory + "/lease")
        } catch {
            self.leave("could not map \(options.runDirectory)/lease: \(LeasePage.reason(error))", code: 1)
        }
        self.becomeHardToKill(log)
        var loop = GuardLoop(
            runDirectory: options.runDirectory, cgroupRoot: options.cgroupRoot, lease: lease, watchdog: nil,
            hardwareClock: options.hardwareClock, log: { log.write($0, $1, at: clock()) })
        if !isFirst { self.succeed(&loop, options, log) }
        options.note.write(runDirectory: options.runDirectory)
        loop.arm(self.watchdog(options, log))
        log.write(
            .info, "watches the lease of \(options.runDirectory) and the groups in \(options.cgroupRoot)", at: clock())
        // Whoever ends a machine asks once: the word is remembered until the guard may go.
        var isToldToGo = false
        while true {
            let pause = loop.look(at: clock())
            if isToldToGo, loop.mayLeave(at: clock()) {
                log.write(.info, "told to go; no lease is held and nothing runs", at: clock())
                loop.disarm()
                exit(0)
            }
            var request = pollfd(fd: signals, events: Int16(POLLIN), revents: 0)
            // Rounded up, so that the look at the lease's end comes just after it and not just before.
            _ = poll(&request, 1, Int32(clamping: (pause.nanoseconds + 999_999) / 1_000_000))
            guard request.revents != 0 else { continue }
            let signal = holdfast_take_signal(signals)
            if signal == SIGHUP {
                log.write(.info, "another guard takes over", at: clock())
                loop.disarm()
                exit(0)
            }
            guard signal == SIGTERM else { continue }
            isToldToGo = true
            if !loop.mayLeave(at: clock()) {
                log.write(.info, "told to go: leaves once no lease is held and nothing runs", at: clock())
            }
        }
    }

    /// Looks beside the guard that runs until that one has gone. The watchdog is the other's meanwhile, and nobody's for the moment
    /// between its end and this one's next look. (Rule L12.4)
    private static func succeed(_ loop: inout GuardLoop, _ options: Options, _ log: GuardLog) {
        var succession = GuardSuccession(at: MachineClock.now)
        while true {
            let pause = loop.look(at: MachineClock.now)
            if self.lock(options.runDirectory) { return }
            switch succession.step(after: loop.phase, isHolding: loop.isHolding, at: MachineClock.now) {
            case .wait: break
            case .giveUp:
                log.write(.warning, "the guard before does not go; this one leaves", at: MachineClock.now)
                self.leave("the guard that runs for \(options.runDirectory) does not go", code: 4)
            case .ask:
                log.write(.info, "asks the guard before to go", at: MachineClock.now)
                if let pid = GuardNote.read(runDirectory: options.runDirectory)?.livingPid { kill(pid, SIGHUP) }
            }
            SystemThread.sleep(min(pause, .milliseconds(2)))
        }
    }

    private static func watchdog(_ options: Options, _ log: GuardLog) -> WatchdogDevice? {
        let now = MachineClock.now
        func tell(_ isArmed: Bool, _ text: String) {
            WatchdogNote(isArmed: isArmed, text: text).write(runDirectory: options.runDirectory)
        }
        guard let path = options.watchdog else {
            log.write(.info, "no watchdog: should this kernel hang, nobody resets it", at: now)
            let isThere = access("/dev/watchdog", F_OK) == 0
            tell(false, isThere ? "HOLDFAST_WATCHDOG is not set" : "there is no /dev/watchdog")
            return nil
        }
        do {
            let device = try WatchdogDevice(path: path, seconds: options.watchdogSeconds)
            log.write(.info, "armed the watchdog \(path), timeout \(device.seconds) s", at: now)
            tell(true, path)
            return device
        } catch {
            log.write(.warning, "no watchdog: \(error)", at: now)
            tell(false, "\(error)")
            return nil
        }
    }

    private static func becomeHardToKill(_ log: GuardLog) {
        let now = MachineClock.now
        let adjusted = Files.poke("/proc/self/oom_score_adj", "-1000")
        if adjusted != 0 {
            log.write(.warning, "may be killed when memory runs out: \(SystemText.error(adjusted))", at: now)
        }
        let locked = holdfast_lock_memory()
        if locked != 0 { log.write(.warning, "may be swapped out: \(SystemText.error(locked))", at: now) }
        let prompt = holdfast_run_promptly(1)
        if prompt != 0 { log.write(.warning, "runs without real-time priority: \(SystemText.error(prompt))", at: now) }
    }

    /// Whether this process is the guard of the run directory from here on.
    private static func lock(_ runDirectory: String) -> Bool {
        let descriptor = open(runDirectory + "/guard.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return false }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            return false
        }
        ftruncate(descriptor, 0)
        let text = Array("\(getpid())\n".utf8)
        _ = text.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        return true
    }

    private static func leave(_ reason: String, code: Int32) -> Never {
        let mark = Journal.takesStandardError() ? (code == 1 ? Journal.Priority.error : .info).mark : ""
        let text = Array("\(mark)guard: \(reason)\n".utf8)
        _ = text.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        exit(code)
    }
}
