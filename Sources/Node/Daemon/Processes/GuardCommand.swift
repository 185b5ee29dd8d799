import Agents
import Basis
import Glibc

extension Driver {
    /// Runs the guard and does not return, unless the words after `guard` make no sense. Call it before any thread was
    /// started: its signals must reach it. (Rule L12)
    public static func runGuard(_ words: [String]) throws {
        let options = try HelperOptions(
            words, of: "guard", startedBy: "the daemon",
            known: ["--run", "--cgroup", "--watchdog", "--watchdog-seconds", "--takes-over"])
        func variable(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        let cgroup = try ControlGroup.root(override: options["--cgroup"] ?? variable("HOLDFAST_CGROUP"))
        Guard.run(
            Guard.Options(
                runDirectory: options["--run"] ?? variable("HOLDFAST_RUN") ?? "/run/holdfast", cgroupRoot: cgroup.path,
                watchdog: options["--watchdog"] ?? variable("HOLDFAST_WATCHDOG"),
                watchdogSeconds: options["--watchdog-seconds"].flatMap { Int32($0) } ?? 1,
                hardwareClock: variable("HOLDFAST_RTC"), takesOver: options["--takes-over"] != nil))
    }
}
