import Basis

/// How a node goes: in order, with its lease given back, and with its leadership handed over before. (Rule L21)
struct Departure: Sendable {
    /// Since when this daemon shuts its node down in order.
    var since: Tick?
    /// Since when nothing runs here any more, where the log cannot be read. (Rule U2)
    var emptySince: Tick?
    /// The life of this node whose lease was given back; `.none` is that of a node that was not let in.
    var resignedLife: Incarnation?
    /// When a drained or departing leader tries again to hand leadership over; the next leadership keeps to it too.
    var nextHandoverAt = Tick.zero
    /// When a leader leaves its place to one in a better site. (Rule C11)
    var preference = LeaderPreference()
}
