/// A growing run of raw bytes that keeps its memory. One owner at a time.
///
/// Unchecked: the memory belongs to the value alone, which cannot be copied.
struct RawBuffer: ~Copyable, @unchecked Sendable {
    private var base: UnsafeMutableRawPointer
    private var capacity: Int
    private(set) var count = 0

    init(capacity: Int = 256 << 10) {
        self.base = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
        self.capacity = capacity
    }

    deinit { self.base.deallocate() }

    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: self.base, count: self.count) }

    mutating func removeAll() { self.count = 0 }

    /// Adds room at the end and returns it; valid until the next call.
    mutating func extend(by size: Int) -> UnsafeMutableRawBufferPointer {
        self.reserve(self.count + size)
        defer { self.count += size }
        return UnsafeMutableRawBufferPointer(start: self.base + self.count, count: size)
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        self.extend(by: bytes.count).copyMemory(from: bytes)
    }

    mutating func shrink(to count: Int) {
        precondition(count <= self.count, "a buffer cannot shrink upwards")
        self.count = count
    }

    private mutating func reserve(_ wanted: Int) {
        guard wanted > self.capacity else { return }
        let capacity = max(wanted, self.capacity * 2)
        let base = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
        base.copyMemory(from: self.base, byteCount: self.count)
        self.base.deallocate()
        self.base = base
        self.capacity = capacity
    }
}
