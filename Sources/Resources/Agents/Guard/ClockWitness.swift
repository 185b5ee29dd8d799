import Basis
import CLinux
import Glibc

/// Compares boot clock and hardware clock on the page that guard, daemon and volume servers share. Both guard and daemon look;
/// the first that finds them parted writes the doubt down, and from then on all see it. (Rule L20)
///
/// A machine without a hardware clock is never in doubt by this.
public struct ClockWitness: @unchecked Sendable {
    private let page: UnsafeMutableRawPointer
    private let clock: Int32
    private var nextLook = Tick.zero

    /// Looks at the clock at `path`, or at the machine's own: a device, or a file that holds seconds.
    public init(page: UnsafeMutableRawPointer, path: String?) {
        self.page = page
        let places = path.map { [$0] } ?? ["/dev/rtc0", "/sys/class/rtc/rtc0/since_epoch"]
        self.clock = places.lazy.map { holdfast_rtc_open($0) }.first { $0 >= 0 } ?? -1
    }

    /// Whether the lease counts as none, because the clocks have parted and no renewal sent since was answered. Compares the
    /// clocks when that is due, or at once if `atOnce`.
    public mutating func isInDoubt(at now: Tick, atOnce: Bool = false) -> Bool {
        if self.clock >= 0, atOnce || now >= self.nextLook {
            self.nextLook = now + ClockComparison.interval
            self.compare(at: now)
        }
        return holdfast_lease_in_doubt(self.page) != 0
    }

    private func compare(at now: Tick) {
        let seconds = holdfast_rtc_seconds(self.clock)
        guard seconds >= 0 else { return }
        let known = Int64(bitPattern: holdfast_lease_load(self.page, HOLDFAST_LEASE_SLOT_AHEAD))
        var comparison = ClockComparison(ahead: known == 0 ? nil : known)
        // The doubt first: nobody may see the new difference without it.
        if comparison.look(boot: now, hardwareSeconds: seconds) {
            holdfast_lease_store(self.page, HOLDFAST_LEASE_SLOT_DOUBT, now.nanoseconds)
        }
        holdfast_lease_store(self.page, HOLDFAST_LEASE_SLOT_AHEAD, UInt64(bitPattern: comparison.ahead ?? 0))
    }
}
