import Basis

/// What a simulated run is made of. Everything else follows from the seed.
public struct SimulationOptions: Sendable {
    /// Replays the run.
    public var seed: UInt64
    /// How long it lasts, in simulated time; at most `longestMinutes`.
    public var length: Span
    /// After the faults: how long everything has to recover; zero skips the check.
    public var calm = Span.seconds(90)
    /// Faults happen.
    public var hasFaults = true
    /// An operator edits the configuration all the time.
    public var hasEdits = false
    /// Machines are shut down in order all the time.
    public var hasShutDowns = false
    /// How often a machine is taken back to an earlier moment, with its memory and its disk.
    public var reverts = Reverts.few
    /// What the world has beyond what every seed has.
    public var features = Features.none
    /// Three nodes or more, of which an odd last one may be a witness, and every second beyond the seventh is an observer; nil
    /// leaves it to the seed, which draws five at most. At most `mostNodes`.
    public var nodes: Int?
    /// Rules to leave out, by name, to see that the checkers notice: `L4`, `L6`, …. Empty in real runs.
    public var sabotage: String = ""
    /// Print every event and effect.
    public var isVerbose = false
    /// Keep the last lines, from the start; a run that fails without them is played once more with them.
    public var isTraced = false

    /// See `features`.
    public enum Features: Equatable, Sendable {
        /// Nothing: a seed means what it always meant.
        case none
        /// Each seed draws what there is, how often it strikes, and which of the common faults it leaves out.
        case drawn
        /// These, in every seed.
        case chosen([SimulationFeature])
    }

    /// See `reverts`.
    public enum Reverts: String, Sendable {
        /// Never.
        case none
        /// A few times in half an hour.
        case few
        /// All the time.
        case many
    }

    /// So many nodes leave as many ids for machines that come during a run.
    public static let mostNodes = SimulatedNetwork.idsMaximum / 2

    /// The longest run, in minutes: three days. The event queue counts nanoseconds in 48 bits.
    public static let longestMinutes: UInt64 = 72 * 60

    /// A run of this length.
    public init(seed: UInt64, length: Span) {
        self.seed = seed
        self.length = length
    }
}

/// How a run ended.
public struct SimulationResult: Sendable {
    /// The guarantee that broke, with the moment and the circumstances; nil when all held.
    public var violation: String?
    /// Simulated time.
    public var simulated: Span
    /// Events processed.
    public var events: UInt64
    /// A digest of everything that was applied: two runs of one seed must agree.
    public var digest: UInt64
    /// What was exercised, for people: takeovers, moves, crashes, writes.
    public var counts: [(String, UInt64)]
    /// The last lines before the end, when it failed.
    public var trace: [String]
}
