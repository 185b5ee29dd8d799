import Basis
import Glibc
import Resources

/// Keeps a guard running. It is a process of its own, in a session of its own, and outlives the daemon. (Rule L12)
struct GuardKeeper {
    private static let silenceMaximum = Span.seconds(1)

    private let paths: NodePaths
    private let cgroupRoot: String
    private let log: DriverLog
    private var child: Int32?
    private var startedAt: Tick?

    init(paths: NodePaths, cgroupRoot: String, log: DriverLog) {
        self.paths = paths
        self.cgroupRoot = cgroupRoot
        self.log = log
    }

    /// Starts a guard when the last look of one is too long ago. A second one leaves by itself.
    mutating func look(lastSeen: Tick, at now: Tick) {
        if let child = self.child, ChildProcess.hasEnded(child) {
            close(child)
            self.child = nil
        }
        if lastSeen != .zero, now.since(lastSeen) < Self.silenceMaximum { return }
        if let startedAt = self.startedAt, now.since(startedAt) < Self.silenceMaximum { return }
        if self.startedAt != nil {
            self.log.warning("the guard has not looked at the lease for a second: starting one")
        }
        self.startedAt = now
        do {
            let cgroup = ControlGroup(self.cgroupRoot).child("guard")
            let started = try ChildProcess.start(
                ["guard", "--run", self.paths.run, "--cgroup", self.cgroupRoot], in: cgroup,
                output: self.paths.run + "/guard.out")
            if let child = self.child { close(child) }
            self.child = started.pidfd
        } catch {
            self.log.error("no guard: \(error); nothing will be started here without one")
        }
    }
}
