import Agents
import Basis
import Cluster
import Glibc
import Host

/// Keeps a guard running. It is a process of its own, in a session of its own, and outlives the daemon. (Rule L12)
struct GuardKeeper {
    private static let silenceMaximum = Span.seconds(1)
    /// A guard looks at least this often, with some slack.
    private static let lookPause = Span.milliseconds(100)

    private let paths: NodePaths
    private let cgroupRoot: String
    private let queue: LoopQueue
    private let log: DriverLog
    /// The guards that were started here and have not ended, the latest last; all but the one with the lock leave soon.
    private var children: [Int32] = []
    /// What a thread of its own has started: a busy machine takes its time for that.
    private let launched = Locked<[Int32]>([])
    private var startedAt: Tick?
    /// A guard of an earlier daemon may have other options than this daemon's.
    private var isOldJudged = false
    private var endedAt: Tick?
    /// What was told of the guard that runs, and when it is looked at again.
    private var told: NodePrograms.Helper?
    private var nextLookAt = Tick.zero

    init(paths: NodePaths, cgroupRoot: String, queue: LoopQueue, log: DriverLog) {
        self.queue = queue
        self.paths = paths
        self.cgroupRoot = cgroupRoot
        self.log = log
    }

    /// Starts a guard when the last look of one is too long ago, or at once when the one started here has ended. A
    /// second one leaves by itself.
    mutating func look(lastSeen: Tick, at now: Tick) {
        self.children += self.launched.withLock { launched in
            defer { launched.removeAll() }
            return launched
        }
        self.tellProgram(at: now)
        if !self.isOldJudged {
            self.isOldJudged = true
            self.replaceOld()
        }
        let latest = self.children.last
        // Each is asked, and so reaped: one that was not needed must not stay as a zombie.
        self.children.removeAll { child in
            guard ProcessEnd.of(child) != nil else { return false }
            close(child)
            if child == latest { self.endedAt = now }
            return true
        }
        // One that ended because another one holds the lock is not missed.
        if let endedAt = self.endedAt, lastSeen > endedAt { self.endedAt = nil }
        let isGone = self.endedAt.map { now.since($0) >= Self.lookPause } ?? false
        let isAwake = lastSeen != .zero && now.since(lastSeen) < Self.silenceMaximum
        if isAwake, !isGone { return }
        if let startedAt = self.startedAt, now.since(startedAt) < Self.silenceMaximum { return }
        if isGone {
            self.log.warning("the guard ended; starting another one")
        } else if lastSeen != .zero {
            self.log.warning("the guard has not looked at the lease for a second; starting another one")
        }
        self.endedAt = nil
        self.startedAt = now
        self.launch()
    }

    /// Which program the guard is, when that is news.
    private mutating func tellProgram(at now: Tick) {
        guard now >= self.nextLookAt else { return }
        self.nextLookAt = now + Self.silenceMaximum
        let guardian = GuardNote.read(runDirectory: self.paths.run).flatMap { RunningProgram.guardian($0) }
        guard guardian != self.told else { return }
        self.told = guardian
        self.queue.change {
            $0.append(.input(.runs(.guardian, guardian, isRenewable: RunningProgram.isWhatWouldBeStarted)))
        }
    }

    /// Another guard looks, and then takes the place of the one that is there. (Rule L12.4)
    mutating func renew(at now: Tick) {
        self.startedAt = now
        self.nextLookAt = now
        self.launch(takesOver: true)
    }

    /// A watchdog that was configured since, or is no longer wanted, needs another guard. The new one is started as soon as the
    /// old one has gone.
    private mutating func replaceOld() {
        let watchdog = getenv("HOLDFAST_WATCHDOG").map { String(cString: $0) }
        let wanted = GuardNote(
            watchdog: watchdog?.isEmpty == false ? watchdog : nil, watchdogSeconds: 1, cgroupRoot: self.cgroupRoot)
        guard GuardNote.read(runDirectory: self.paths.run)?.makeRoom(for: wanted) == true else { return }
        self.log.info("the guard of an earlier daemon has other options; another one takes its place")
        self.launch()
    }

    private func launch(takesOver: Bool = false) {
        let (launched, log, cgroupRoot, run) = (self.launched, self.log, self.cgroupRoot, self.paths.run)
        SystemThread.start("guard start") {
            do {
                let started = try ChildProcess.start(
                    ["guard", "--run", run, "--cgroup", cgroupRoot] + (takesOver ? ["--takes-over", "yes"] : []),
                    in: ControlGroup(cgroupRoot).child("guard"),
                    output: run + "/guard.out", error: Journal.takesStandardError() ? STDERR_FILENO : nil)
                launched.withLock { $0.append(started.pidfd) }
            } catch {
                log.error("no guard: \(error); nothing will be started here without one")
            }
        }
    }
}
