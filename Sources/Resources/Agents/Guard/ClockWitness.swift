import Basis
import CLinux
import Host

/// Compares boot clock and hardware clock on the page that guard, daemon and volume servers share. Both guard and daemon look;
/// the first that finds them parted writes the doubt down, and from then on all see it. (Rule L20)
///
/// A machine without a hardware clock is never in doubt by this.
package struct ClockWitness: Sendable {
    private let page: LeasePage
    private let clock: Int32
    private var nextLook = Tick.zero

    /// Looks at the clock at `path`, or at the machine's own: a device, or a file that holds seconds.
    package init(page: LeasePage, path: String?) {
        self.page = page
        let places = path.map { [$0] } ?? ["/dev/rtc0", "/sys/class/rtc/rtc0/since_epoch"]
        self.clock = places.lazy.map { holdfast_rtc_open($0) }.first { $0 >= 0 } ?? -1
    }

    /// Whether the lease counts as none, because the clocks have parted and no renewal sent since was answered. Compares the
    /// clocks when that is due, or at once if `atOnce`.
    package mutating func isInDoubt(at now: Tick, atOnce: Bool = false) -> Bool {
        if self.clock >= 0, atOnce || now >= self.nextLook {
            self.nextLook = now + ClockComparison.interval
            self.compare(at: now)
        }
        return self.page.isInDoubt
    }

    private func compare(at now: Tick) {
        let seconds = holdfast_rtc_seconds(self.clock)
        guard seconds >= 0 else { return }
        let known = self.page.aheadNanoseconds
        var comparison = ClockComparison(ahead: known == 0 ? nil : known)
        // The doubt first: nobody may see the new difference without it.
        if comparison.look(boot: now, hardwareSeconds: seconds) {
            self.page.partedAt = now
        }
        self.page.aheadNanoseconds = comparison.ahead ?? 0
    }
}
