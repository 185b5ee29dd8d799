import Basis

/// What was asked for, here or of others, and is not done yet.
struct Requests: Sendable {
    /// A command that was handed to the leader and is not applied yet.
    struct Pending: Equatable, Sendable {
        var sequence: UInt64
        var command: Command
        var client: UInt64?
        var sentAt: Tick
        var deadline: Tick
    }

    /// A client that waits for another node's answers.
    struct Inspection: Equatable, Sendable {
        var id: UInt64
        var client: UInt64
        var node: NodeID
        var until: Tick
    }

    /// Sorted by sequence.
    var pending: [Pending] = []
    var nextSequence: UInt64 = 1
    var inspections: [Inspection] = []
}
