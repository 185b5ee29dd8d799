/// A run of bytes of a volume.
public struct Extent: Hashable, Sendable, CustomStringConvertible {
    /// The first byte.
    public var offset: UInt64
    /// How many bytes.
    public var length: UInt64
    /// Combines both.
    public init(offset: UInt64, length: UInt64) {
        self.offset = offset
        self.length = length
    }
    /// The byte after the last.
    public var end: UInt64 { self.offset + self.length }
    /// `4096+8192`: offset and length.
    public var description: String { "\(self.offset)+\(self.length)" }
}

/// A first-in first-out queue on one array, without an allocation per element once it has grown.
struct Ring<Element> {
    private var storage: [Element] = []
    private var head = 0

    var isEmpty: Bool { self.head == self.storage.count }
    var count: Int { self.storage.count - self.head }
    var first: Element? { self.isEmpty ? nil : self.storage[self.head] }

    mutating func append(_ element: Element) { self.storage.append(element) }

    mutating func removeFirst() {
        precondition(!self.isEmpty, "removeFirst from an empty queue")
        self.head += 1
        if self.head == self.storage.count {
            self.storage.removeAll(keepingCapacity: true)
            self.head = 0
        } else if self.head >= 1024, self.head * 2 >= self.storage.count {
            self.storage.removeFirst(self.head)
            self.head = 0
        }
    }

    mutating func removeAll() {
        self.storage.removeAll()
        self.head = 0
    }
}

extension Ring: Sendable where Element: Sendable {}
