import Basis

/// How a node goes: in order, with its lease given back, and with its leadership handed over before. (Rule L21)
struct Departure: Sendable {
    /// Since when this daemon shuts its node down in order.
    var since: Tick?
    /// Nothing runs here any more, and the lease of this life was given back.
    var hasResigned = false
    /// When a drained or departing leader tries again to hand leadership over; the next leadership keeps to it too.
    var nextHandoverAt = Tick.zero
}
