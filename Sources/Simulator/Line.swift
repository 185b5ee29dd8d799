/// First in, first out; memory is kept while it is short.
struct Line<Element> {
    private var elements: [Element] = []
    private var first = 0

    mutating func add(_ element: consuming Element) { self.elements.append(element) }

    mutating func take() -> Element? {
        guard self.first < self.elements.count else { return nil }
        if self.first == 0, self.elements.count == 1 { return self.elements.removeLast() }
        let element = self.elements[self.first]
        self.first += 1
        if self.first == self.elements.count {
            self.elements.removeAll(keepingCapacity: true)
            self.first = 0
        }
        return element
    }
}

extension Array {
    /// Removes everything and keeps the memory: for one or two elements several times faster than `removeAll`.
    mutating func drop() {
        while !self.isEmpty { self.removeLast() }
    }
}
