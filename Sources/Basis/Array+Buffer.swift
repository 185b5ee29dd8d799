/// For arrays that are buffers: filled and emptied again and again, with one or two elements as a rule.
extension Array {
    /// Removes everything and keeps the memory: for few elements several times faster than `removeAll(keepingCapacity:)`.
    @inlinable
    public mutating func drop() {
        while !self.isEmpty { self.removeLast() }
    }

    /// Puts the last first, so that `popLast` takes them in order. Moves them, while `reverse` copies what holds
    /// references.
    @inlinable
    public mutating func turn() {
        if self.count > 1 { self.withUnsafeMutableBufferPointer { $0.reverse() } }
    }
}
