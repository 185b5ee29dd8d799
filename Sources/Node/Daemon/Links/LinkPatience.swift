import Basis

/// When a link counts as stalled, and how a peer is dialled that is only slow: more attempts would be more work for a machine that
/// has no time, and none would ever get through.
struct LinkPatience {
    private static let stall = Span.milliseconds(600)
    private static let looksMinimum = 4

    /// Attempts in a row that ran out of time after the connection was there. One alone may have met the cut of a cable.
    private var slowAttempts = 0
    private var silentSince: Tick?
    private var badLooks = 0

    /// The peer takes connections and does not finish a handshake in time.
    var isSlow: Bool { self.slowAttempts >= 2 }
    /// How long one attempt may take.
    var connectTimeout: Span { self.isSlow ? .seconds(6) : .milliseconds(1500) }
    /// When the next attempt begins beside those under way.
    var dialInterval: Span { self.isSlow ? .seconds(3) : .milliseconds(300) }
    /// How many may be under way.
    var attemptsMaximum: Int { self.isSlow ? 2 : 5 }

    /// Another attempt failed; `isHandshake` if it ran out of time after the connection was there.
    mutating func failed(isHandshake: Bool) { self.slowAttempts = isHandshake ? self.slowAttempts + 1 : 0 }

    /// There is a connection.
    mutating func connected() {
        self.slowAttempts = 0
        self.silentSince = nil
        self.badLooks = 0
    }

    /// Whether the peer has acknowledged nothing for too long, in several looks. The kernel counts from the last acknowledgement,
    /// so also the time before there was anything to acknowledge: that is not counted here.
    mutating func isStalled(unacknowledged: Span, at now: Tick) -> Bool {
        guard unacknowledged > .zero else {
            self.silentSince = nil
            self.badLooks = 0
            return false
        }
        let since = self.silentSince ?? now
        self.silentSince = since
        let isBad = min(unacknowledged, now.since(since)) > Self.stall
        self.badLooks = isBad ? self.badLooks + 1 : 0
        return self.badLooks >= Self.looksMinimum
    }
}
