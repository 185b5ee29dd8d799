import Basis
import Glibc
import Host

/// What the guard does at each look at the lease. It kills; it never starts anything. (Rule L12)
struct GuardLoop {
    /// What a look found, and so what the guard is doing.
    enum Phase: Equatable {
        /// The lease is valid, whatever runs.
        case leased
        /// No lease, and nothing of ours runs.
        case idle
        /// No lease, and something of ours is not dead yet.
        case killing
    }

    /// ε: how late a timer may be, and how long a reset takes to silence the machine.
    private static let resetTime = Span.milliseconds(100)

    private let records: RunRecords
    private let groups: ControlGroup
    private let lease: LeasePage
    private var watchdog: (any Watchdog)?
    private let log: (Journal.Priority, String) -> Void
    private(set) var phase = Phase.idle
    private var witness: ClockWitness
    /// The groups are frozen and their addresses gone, because the clocks have parted.
    private(set) var isHolding = false
    /// When the present killing began; nil when nothing is being killed.
    private var began: Tick?
    private var complained: Tick?

    init(
        runDirectory: String, cgroupRoot: String, lease: LeasePage, watchdog: (any Watchdog)?,
        hardwareClock: String? = nil, log: @escaping (Journal.Priority, String) -> Void
    ) {
        self.records = RunRecords(directory: runDirectory)
        self.groups = ControlGroup(cgroupRoot).child("groups")
        self.lease = lease
        self.watchdog = watchdog
        self.witness = ClockWitness(page: lease, path: hardwareClock)
        self.log = log
        // What a guard before this one left there.
        lease.undeadSince = .zero
    }

    /// One look. Returns how long the next one may be put off, at most 20 ms.
    mutating func look(at now: Tick) -> Span {
        self.lease.guardSeen = now
        let end = self.end(at: now)
        if now < end {
            if let began = self.began {
                self.log(.info, "a lease is valid again, \(now.since(began)) after killing began")
            }
            self.settled()
            self.complained = nil
            self.phase = .leased
            self.patWhileLeased(until: end, at: now)
            return min(end.since(now), .milliseconds(20))
        }
        let left = self.remains()
        if left.isEmpty {
            if let began = self.began { self.log(.info, "everything is dead, \(now.since(began)) after killing began") }
            if self.isHolding { self.letGo(at: now) }
            self.settled()
            self.complained = nil
            self.phase = .idle
            self.watchdog?.pat()
            return .milliseconds(20)
        }
        self.phase = .killing
        if self.began == nil {
            self.began = now
            let age = end == .zero ? "there is no lease" : "the lease ended \(now.since(end)) ago"
            self.log(.critical, "\(age): kills \(left.joined(separator: ", "))")
            self.cutDevices()
        }
        self.kill()
        let settled = self.remains()
        if settled.isEmpty {
            self.log(.info, "everything is dead, at once")
            if self.isHolding { self.letGo(at: now) }
            self.settled()
            self.phase = .idle
            self.watchdog?.pat()
            return .milliseconds(20)
        }
        if let since = self.complained ?? self.began, now.since(since) >= .seconds(1) {
            self.complained = now
            self.cutDevices()
            // The daemon, if it lives, tells the other nodes. (Rule L12.3)
            self.lease.undeadSince = self.began ?? .zero
            self.log(.critical, "still not dead; the watchdog is not patted: \(settled.joined(separator: ", "))")
        }
        return Self.pause(killingFor: now.since(self.began ?? now))
    }

    /// The end of the lease. In doubt everything of ours stands still, and it ends at the grace, or earlier. (Rules L12, L20)
    private mutating func end(at now: Tick) -> Tick {
        let end = self.lease.end
        guard self.witness.isInDoubt(at: now) else {
            if self.isHolding { self.letGo(at: now) }
            return end
        }
        if !self.isHolding, now < end {
            self.isHolding = true
            self.log(
                .warning,
                "boot clock and hardware clock have parted: this machine may have stood still; all waits for a majority"
            )
            try? self.groups.freeze()
            for (address, interface, _) in self.addresses() { _ = address.drop(from: interface) }
        }
        return min(end, self.lease.partedAt + self.lease.grace)
    }

    private mutating func letGo(at now: Tick) {
        self.isHolding = false
        try? self.groups.thaw()
        self.log(.info, "a majority answered, or nothing is left: no doubt any more")
    }

    /// What dies does so within milliseconds. What does not (a process that hangs in the kernel) is looked at more and more
    /// seldom, so that a guard with real-time priority leaves the machine the time to help it die.
    static func pause(killingFor time: Span) -> Span {
        max(.milliseconds(2), min(.milliseconds(100), time / 10))
    }

    /// Nothing is being killed any more.
    private mutating func settled() {
        guard self.began != nil else { return }
        self.began = nil
        self.lease.undeadSince = .zero
    }

    /// Rule L12: w + ε ≤ G. Where the watchdog's timeout is longer than the grace, as most devices count whole seconds, the
    /// last pat comes so much before the end of the lease that a reset would still come within the grace. A lease that
    /// is being renewed is never so near its end.
    private func patWhileLeased(until end: Tick, at now: Tick) {
        guard let watchdog = self.watchdog else { return }
        let grace = self.lease.grace
        let needed = watchdog.timeout + Self.resetTime
        if needed <= grace || now + Span(nanoseconds: needed.nanoseconds - grace.nanoseconds) < end { watchdog.pat() }
    }

    /// From here on this guard pats the watchdog: no other has it.
    mutating func arm(_ watchdog: (any Watchdog)?) { self.watchdog = watchdog }

    /// The guard may go: no lease is held and nothing of ours runs.
    func mayLeave(at now: Tick) -> Bool {
        now >= self.lease.end && self.remains().isEmpty
    }

    /// Lets the watchdog go; the guard leaves.
    func disarm() { self.watchdog?.disarm() }

    /// What waits for a frozen nbd device dies of no signal before the device fails. On a thread of its own: this one waits for
    /// nobody. (Rule L12)
    private func cutDevices() {
        let attachments = self.records.attachments.filter { $0.kind == .nbd }
        guard !attachments.isEmpty else { return }
        SystemThread.demand("agent") {
            for attachment in attachments { attachment.cut(waitingAtMost: .seconds(1)) }
        }
    }

    private func kill() {
        // Addresses first: they cost microseconds, and others can see them.
        for (address, interface, _) in self.addresses() { _ = address.drop(from: interface) }
        // Should this fail, the groups stay alive, the watchdog is not patted, and `remains` says what is left.
        try? self.groups.kill()
    }

    /// What is not dead, in words. What cannot be found out counts as alive.
    private func remains() -> [String] {
        var found: [String] = []
        do {
            if try self.groups.isPopulated() {
                found.append("processes \(self.groups.processes().prefix(20)) in \(self.groups.path)")
            }
        } catch {
            found.append("\(error)")
        }
        for (address, interface, text) in self.addresses() {
            let holders = address.interfaces
            if interface == "*" ? !holders.isEmpty : holders.contains(interface) { found.append("address \(text)") }
        }
        return found
    }

    /// Read anew every time: the daemon may be adding one just now.
    private func addresses() -> [(InterfaceAddress, String, String)] {
        self.records.holdings(.addresses).compactMap { holding in
            guard holding.words.count >= 2, let address = InterfaceAddress(holding.words[0], bare: true) else {
                return nil
            }
            return (address, holding.words[1], holding.words.joined(separator: " on "))
        }
    }
}
