import Basis

/// When a node has something to do.
public struct Schedule: Sendable {
    /// The next moment at which `tick` does something.
    public internal(set) var deadline: Tick
    /// The part of it that does not depend on consensus.
    var own = Tick.zero
    /// From when on the node's own work is done early, because a message makes it step anyway. Never after `own`.
    var occasion = Tick.zero
    /// An input changed what the node's own decisions depend on, so they are made again. Most messages do not.
    var isUnsettled = true

    init(at now: Tick) { self.deadline = now }
}
