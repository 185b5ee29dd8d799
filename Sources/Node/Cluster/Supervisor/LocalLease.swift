import Basis

/// This node's lease as those see it that run under it: what was published of it, whether the clocks can be believed, and
/// whether the guard looks. (Rules L1, L12, L20)
struct LocalLease: Sendable {
    /// The lease.
    var holder: LeaseHolder
    /// Whether it held when it was published last, and the end that was published.
    var wasValid = false
    var publishedEnd = Tick.zero
    /// When boot clock and hardware clock last parted; zero if they never did. (Rule L20)
    var doubtSince = Tick.zero
    var wasInDoubt = false
    /// The guard's last look. (Rule L12)
    var guardSeenAt = Tick.zero

    init(holder: LeaseHolder) { self.holder = holder }

    /// When it ends, if nothing renews it.
    var deadline: Tick { self.wasValid ? self.holder.end : .never }

    /// Whether groups of this life may run now. (Rule L1)
    func holds(for incarnation: Incarnation, grace: Span, at now: Tick) -> Bool {
        // Rule L20: a doubt that no majority has ended by then ends the lease.
        self.holder.isValid(for: incarnation, at: now) && !(self.isInDoubt && now >= self.doubtSince + grace)
    }

    /// The clocks have parted, and no renewal sent since was answered by a majority. (Rule L20)
    var isInDoubt: Bool { self.doubtSince != .zero && self.holder.sentAt <= self.doubtSince }

    /// The guard looked at the lease a moment ago. (Rule L12)
    func isGuarded(at now: Tick) -> Bool {
        self.guardSeenAt != .zero && now.since(self.guardSeenAt) < .milliseconds(500)
    }

    /// Whether a doubt began or ended since this was asked last; nil when neither.
    mutating func settleDoubt() -> Bool? {
        guard self.isInDoubt != self.wasInDoubt else { return nil }
        self.wasInDoubt = self.isInDoubt
        return self.wasInDoubt
    }

    /// The end that guard and volume servers are told, if it is news to them, and whether the lease began or ended.
    mutating func settle(isValid: Bool, at now: Tick) -> (told: Tick?, isChanged: Bool) {
        let end = isValid ? self.holder.end : Tick.zero
        var told: Tick?
        if end != self.publishedEnd {
            // An end that has passed is not withdrawn: the guard has seen it too. One that is taken back is. (Rules L12, L18)
            if isValid || self.publishedEnd > now { told = end }
            self.publishedEnd = end
        }
        defer { self.wasValid = isValid }
        return (told, isValid != self.wasValid)
    }
}
