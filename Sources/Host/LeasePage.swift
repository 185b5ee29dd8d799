import Basis
import CLinux
import Glibc

/// The lease file that daemon, guard and volume servers share: one page, on which each sees at once what another wrote. Every
/// field may be read and written by any thread of any process. Times are of the boot clock. (Rule L12)
///
/// Unchecked: the page is mapped in `init` and unmapped in `deinit`, and its fields are atomic.
package final class LeasePage: @unchecked Sendable {
    private let page: UnsafeMutableRawPointer

    /// Maps the file, creating it at mode 0600 when it is missing. Refuses, with EPROTONOSUPPORT, a page whose layout it does not
    /// know.
    package init(path: String) throws(Errno) {
        guard let page = holdfast_lease_map(path) else { throw Errno(errno) }
        self.page = page
    }

    deinit { munmap(self.page, 4096) }

    /// Why a page cannot be mapped, and for another release's what to do. (docs/formats.md)
    package static func reason(_ error: Errno) -> String {
        error.code == EPROTONOSUPPORT
            ? "another release made it, in a version that this one does not know: install that release, or stop what runs "
                + "here, or reboot" : SystemText.error(error.code)
    }

    private subscript(slot: Int32) -> UInt64 {
        get { holdfast_lease_load(self.page, slot) }
        set { holdfast_lease_store(self.page, slot, newValue) }
    }

    /// When the lease ends; zero without one.
    package var end: Tick { Tick(nanoseconds: self[HOLDFAST_LEASE_SLOT_END]) }
    /// The end for whoever answers clients or starts something: zero in doubt. (Rules L12, L20)
    package var usableEnd: Tick { Tick(nanoseconds: holdfast_lease_usable_end(self.page)) }
    /// The life that holds it.
    package var incarnation: Incarnation { Incarnation(self[HOLDFAST_LEASE_SLOT_INCARNATION]) }
    /// Readers must be dead or closed within this after the end.
    package var grace: Span { Span(nanoseconds: self[HOLDFAST_LEASE_SLOT_GRACE]) }

    /// Publishes a lease; the end comes last. A daemon that adopts a lease does not know what it rests on; what the page says of
    /// that only grows.
    package func publish(end: Tick, _ incarnation: Incarnation, grace: Span, sentAt: Tick = .zero) {
        self[HOLDFAST_LEASE_SLOT_SENT] = max(self[HOLDFAST_LEASE_SLOT_SENT], sentAt.nanoseconds)
        self[HOLDFAST_LEASE_SLOT_GRACE] = grace.nanoseconds
        self[HOLDFAST_LEASE_SLOT_INCARNATION] = incarnation.rawValue
        self[HOLDFAST_LEASE_SLOT_END] = end.nanoseconds
    }

    /// When the guard last looked. The daemon starts nothing when that is long ago.
    package var guardSeen: Tick {
        get { Tick(nanoseconds: self[HOLDFAST_LEASE_SLOT_GUARD]) }
        set { self[HOLDFAST_LEASE_SLOT_GUARD] = newValue.nanoseconds }
    }

    /// Since when the guard has been killing what does not die; zero when nothing is left. (Rule L12.3)
    package var undeadSince: Tick {
        get { Tick(nanoseconds: self[HOLDFAST_LEASE_SLOT_UNDEAD]) }
        set { self[HOLDFAST_LEASE_SLOT_UNDEAD] = newValue.nanoseconds }
    }

    /// A lease holds, and no doubt is about.
    package func isUsable(at now: Tick) -> Bool { self.end > now && !self.isInDoubt }

    /// Whether the clocks have parted, and no renewal sent since was answered. (Rule L20)
    package var isInDoubt: Bool { holdfast_lease_in_doubt(self.page) != 0 }

    /// When boot clock and hardware clock were last found to have parted, whatever became of the doubt; zero if they never were.
    package var partedAt: Tick {
        get { Tick(nanoseconds: self[HOLDFAST_LEASE_SLOT_DOUBT]) }
        set { self[HOLDFAST_LEASE_SLOT_DOUBT] = newValue.nanoseconds }
    }

    /// By how many nanoseconds the hardware clock is ahead of the boot clock, as last agreed; zero if unknown.
    package var aheadNanoseconds: Int64 {
        get { Int64(bitPattern: self[HOLDFAST_LEASE_SLOT_AHEAD]) }
        set { self[HOLDFAST_LEASE_SLOT_AHEAD] = UInt64(bitPattern: newValue) }
    }
}
