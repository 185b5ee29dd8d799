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
}
