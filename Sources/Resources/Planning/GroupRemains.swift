import Basis

/// What a node could not take down of a group that must not run there.
public struct GroupRemains: Equatable, Sendable {
    /// Why it is still there.
    public enum Kind: UInt8, Sendable {
        /// It survives every kill: processes that hang in the kernel, an address or a mount that the kernel keeps. It does
        /// nothing of its own any more, and ends when the kernel lets it.
        case unkilled = 0
        /// A kill does not end it, and its agent's `stop` failed: it may be in full use. A person or a fence must end it.
        case unstopped = 1
    }
    /// Why it is still there; the graver of two.
    public var kind: Kind
    /// What, in words that go on after the name of the node: `still has processes [444]`.
    public var reason: String

    /// Remains from their parts; the reason becomes one line.
    public init(kind: Kind, reason: String) {
        self.kind = kind
        self.reason = ForeignText.line(reason, limit: 400)
    }
}
