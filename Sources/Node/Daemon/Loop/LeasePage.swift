import Agents
import Basis
import CLinux
import Glibc
import Host

/// The lease file that daemon, guard and volume servers share. (Rule L12)
final class LeasePage: @unchecked Sendable {
    private let page: UnsafeMutableRawPointer
    private var witness: ClockWitness

    /// Maps the file, creating it when it is missing.
    init(path: String, hardwareClock: String? = nil) throws(DriverError) {
        guard let page = holdfast_lease_map(path) else {
            if errno == EPROTONOSUPPORT {
                throw .file(
                    path: path, reason: "another release made it, in a version that this one does not know",
                    remedy: "install that release, or stop what runs here, or reboot")
            }
            throw .file(
                path: path, reason: "it cannot be mapped (\(SystemText.error(errno)))",
                remedy: "check the run directory and that the daemon runs as root")
        }
        self.page = page
        self.witness = ClockWitness(page: page, path: hardwareClock)
    }

    /// Since when the lease counts as none, because boot clock and hardware clock have parted; nil in no doubt. Only for the
    /// loop's thread. (Rule L20)
    func doubt(at now: Tick, atOnce: Bool = false) -> Tick? {
        guard self.witness.isInDoubt(at: now, atOnce: atOnce) else { return nil }
        return Tick(nanoseconds: holdfast_lease_load(self.page, HOLDFAST_LEASE_SLOT_DOUBT))
    }

    /// When boot clock and hardware clock were last found to have parted, whatever became of the doubt; zero if they never were.
    var partedAt: Tick { Tick(nanoseconds: holdfast_lease_load(self.page, HOLDFAST_LEASE_SLOT_DOUBT)) }

    /// A lease holds, and no doubt is about. For any thread.
    func isUsable(at now: Tick) -> Bool { self.end > now && holdfast_lease_in_doubt(self.page) == 0 }

    /// When the lease ends; zero without one.
    var end: Tick { Tick(nanoseconds: holdfast_lease_load(self.page, HOLDFAST_LEASE_SLOT_END)) }
    /// The life that holds it.
    var incarnation: Incarnation { Incarnation(holdfast_lease_load(self.page, HOLDFAST_LEASE_SLOT_INCARNATION)) }
    /// When the guard last looked.
    var guardSeen: Tick { Tick(nanoseconds: holdfast_lease_load(self.page, HOLDFAST_LEASE_SLOT_GUARD)) }

    /// Since when the guard has been killing what does not die; zero when nothing is left. (Rule L12.3)
    var undeadSince: Tick { Tick(nanoseconds: holdfast_lease_load(self.page, HOLDFAST_LEASE_SLOT_UNDEAD)) }

    /// Publishes a lease; the end comes last.
    /// A daemon that adopts a lease does not know what it rests on; what the page says of that only grows.
    func publish(end: Tick, _ incarnation: Incarnation, grace: Span, sentAt: Tick = .zero) {
        let known = holdfast_lease_load(self.page, HOLDFAST_LEASE_SLOT_SENT)
        holdfast_lease_store(self.page, HOLDFAST_LEASE_SLOT_SENT, max(known, sentAt.nanoseconds))
        holdfast_lease_store(self.page, HOLDFAST_LEASE_SLOT_GRACE, grace.nanoseconds)
        holdfast_lease_store(self.page, HOLDFAST_LEASE_SLOT_INCARNATION, incarnation.rawValue)
        holdfast_lease_store(self.page, HOLDFAST_LEASE_SLOT_END, end.nanoseconds)
    }
}
