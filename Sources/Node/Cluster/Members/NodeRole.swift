/// What a node is in the cluster for. The numbers are those on disk and on the wire.
public enum NodeRole: UInt8, Equatable, Sendable, CaseIterable {
    /// Votes and runs groups.
    case member = 0
    /// Votes and runs nothing: the cheap third vote.
    case witness = 1
    /// Runs groups and never votes. (Rule J5)
    case observer = 2

    /// Whether groups may run on it, and operators' orders come from it.
    public var runsGroups: Bool { self != .witness }
    /// Whether it may vote.
    public var mayVote: Bool { self != .observer }
}
