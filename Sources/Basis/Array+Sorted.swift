/// For lists that are kept sorted by a key that no two elements share: looked up in as many comparisons as the count
/// has binary digits.
extension Array {
    /// Where the element with this key lies, or nil. The list must be sorted by it.
    @inlinable
    public func place<Key: Comparable>(of key: Key, by keyOf: (Element) -> Key) -> Int? {
        let place = self.insertion(of: key, by: keyOf)
        return place < self.count && keyOf(self[place]) == key ? place : nil
    }

    /// Where an element with this key lies, or belongs. The list must be sorted by it.
    @inlinable
    public func insertion<Key: Comparable>(of key: Key, by keyOf: (Element) -> Key) -> Int {
        var low = 0
        var high = self.count
        while low < high {
            let middle = low + (high - low) / 2
            if keyOf(self[middle]) < key { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
