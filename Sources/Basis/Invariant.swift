/// A value that is as it can never be.
public struct BrokenInvariant: Error, Equatable, CustomStringConvertible {
    /// Which value, and what about it.
    public let description: String
    /// A sentence that begins with the value's name.
    public init(_ description: String) { self.description = description }
}

/// A value that can say whether it is as it must always be between two steps.
///
/// Each step of a core ends with `assertInvariants`, in debug builds; the simulator calls `checkInvariants` in release builds too.
public protocol InvariantChecking {
    /// Throws the first invariant that does not hold.
    func checkInvariants() throws(BrokenInvariant)
}

extension InvariantChecking {
    /// Ends the process where an invariant does not hold. Nothing in release builds.
    @inlinable
    public func assertInvariants() {
        #if DEBUG
            do { try self.checkInvariants() } catch { preconditionFailure("\(error)") }
        #endif
    }
}

/// Throws the sentence unless the condition holds.
@inlinable
public func invariant(_ condition: Bool, _ sentence: @autoclosure () -> String) throws(BrokenInvariant) {
    if !condition { throw BrokenInvariant(sentence()) }
}

extension Array {
    /// Whether each element's key is above the one before.
    @inlinable
    public func isAscending<Key: Comparable>(by keyOf: (Element) -> Key) -> Bool {
        var place = 1
        while place < self.count {
            if keyOf(self[place - 1]) >= keyOf(self[place]) { return false }
            place += 1
        }
        return true
    }
}
