import Basis

/// First in, first out; memory is kept while it is short.
struct Line<Element> {
    private var elements: [Element?] = []
    private var first = 0

    mutating func add(_ element: consuming Element) { self.elements.append(element) }

    var count: Int { self.elements.count - self.first }

    mutating func take() -> Element? {
        guard self.first < self.elements.count else { return nil }
        let element = self.elements[self.first].take()
        self.first += 1
        if self.first == self.elements.count {
            self.elements.drop()
            self.first = 0
        }
        return element
    }
}

/// A few elements by number: looking through them is faster than hashing.
struct Numbered<Element> {
    private var elements: [(number: UInt64, element: Element)] = []

    private func place(of number: UInt64) -> Int? {
        for place in self.elements.indices where self.elements[place].number == number { return place }
        return nil
    }

    subscript(number: UInt64) -> Element? {
        guard let place = self.place(of: number) else { return nil }
        return self.elements[place].element
    }

    /// Takes the place of an earlier one of the same number.
    mutating func put(_ element: Element, at number: UInt64) {
        if let place = self.place(of: number) {
            self.elements[place].element = element
        } else {
            self.elements.append((number, element))
        }
    }

    @discardableResult
    mutating func take(_ number: UInt64) -> Element? {
        guard let place = self.place(of: number) else { return nil }
        return self.elements.remove(at: place).element
    }

    mutating func removeAll() { self.elements.drop() }

    /// Takes those that satisfy `condition`, in the order of their numbers.
    mutating func takeAll(where condition: (Element) -> Bool) -> [Element] {
        let taken = self.elements.filter { condition($0.element) }.sorted { $0.number < $1.number }
        self.elements.removeAll { condition($0.element) }
        return taken.map(\.element)
    }
}

/// The last lines of a run.
struct TraceRing {
    private var ring: [String] = []
    private var next = 0
    private static let size = 400

    mutating func add(_ line: String) {
        if self.ring.count < Self.size {
            self.ring.append(line)
        } else {
            self.ring[self.next] = line
            self.next = (self.next + 1) % Self.size
        }
    }

    var lines: [String] { Array(self.ring[self.next...] + self.ring[..<self.next]) }
}
