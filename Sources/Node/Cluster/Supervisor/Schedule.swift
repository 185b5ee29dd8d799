import Basis

/// When a node has something to do.
public struct Schedule: Sendable {
    /// The next moment at which `tick` does something.
    public internal(set) var deadline: Tick
    /// The part of it that does not depend on consensus.
    var own = Tick.zero
    /// When a message that changes nothing is reason enough to do what is nearly due.
    var occasion = Tick.zero
    /// Something changed on which what this node does depends; most messages change nothing of the kind.
    var isUnsettled = true

    init(at now: Tick) { self.deadline = now }
}
