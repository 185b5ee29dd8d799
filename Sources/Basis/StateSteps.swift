/// A state with a table of the steps that it may take. The table is checked at each step in debug builds, and printed into
/// docs/states.md.
public protocol SteppedState: Sendable {
    /// What tells the states apart, without what they carry.
    associatedtype Name: RawRepresentable<String>, CaseIterable, Hashable, Sendable
    /// Which it is.
    var name: Name { get }
    /// All steps, in the order in which they are explained.
    static var steps: [StateStep<Name>] { get }
}

/// One step that a state may take.
public struct StateStep<Name: Hashable & Sendable>: Sendable {
    /// The state before.
    public let from: Name
    /// The state after.
    public let to: Name
    /// What leads to it.
    public let cause: String

    /// A step and its cause.
    public init(_ from: Name, _ to: Name, _ cause: String) {
        self.from = from
        self.to = to
        self.cause = cause
    }
}

extension SteppedState {
    /// Whether a state may follow another; staying is no step.
    public static func isAllowed(from: Name, to: Name) -> Bool {
        from == to || self.steps.contains { $0.from == from && $0.to == to }
    }

    /// Ends the process at a step that the table lacks. Nothing in release builds.
    @inlinable
    public static func assertStep(from: Self, to: Self) {
        #if DEBUG
            precondition(
                Self.isAllowed(from: from.name, to: to.name),
                "\(Self.self) must not go from \(from.name.rawValue) to \(to.name.rawValue)")
        #endif
    }
}
