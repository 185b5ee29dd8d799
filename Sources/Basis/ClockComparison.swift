/// Whether a machine's boot clock and its hardware clock have parted: a hypervisor stopped the machine, brought it back to an
/// earlier moment, or somebody set the hardware clock. Pure; the shells read the clocks. (Rule L20)
public struct ClockComparison: Equatable, Sendable {
    /// The hardware clock counts whole seconds; two of them are more than its grain.
    public static let tolerance: Int64 = 2_000_000_000
    /// The two are compared this often, and before anything starts.
    public static let interval = Span.milliseconds(250)
    /// How far the agreed difference follows at each look: crystals drift, by far less than this.
    private static let drift: Int64 = 1_000_000

    /// By how many nanoseconds the hardware clock is ahead, as last agreed; nil before the first look.
    public private(set) var ahead: Int64?

    /// Begins with what was agreed before, if anything was.
    public init(ahead: Int64? = nil) { self.ahead = ahead }

    /// Compares. True when they have parted, in either direction; the new difference is what is agreed from then on.
    public mutating func look(boot: Tick, hardwareSeconds: Int64) -> Bool {
        let now = hardwareSeconds &* 1_000_000_000 &- Int64(truncatingIfNeeded: boot.nanoseconds)
        guard let before = self.ahead else {
            self.ahead = now
            return false
        }
        let difference = now &- before
        if difference >= Self.tolerance || difference <= -Self.tolerance {
            self.ahead = now
            return true
        }
        self.ahead = before + max(-Self.drift, min(Self.drift, difference))
        return false
    }
}
