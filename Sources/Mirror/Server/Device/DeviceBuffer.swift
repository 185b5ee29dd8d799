/// Memory for one request's bytes.
final class DeviceBuffer {
    let base: UnsafeMutableRawPointer
    let capacity: Int

    init(capacity: Int) {
        self.base = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 4096)
        self.capacity = capacity
    }

    deinit { self.base.deallocate() }
}

/// Buffers that wait for the next request of their size. What the process once needed it keeps: memory that must first be
/// found is least to be had when the kernel writes back to find some.
struct DeviceBufferPool {
    /// Room for the header of a message of the kernel before a payload.
    static let headerBytes = 4096
    /// The largest payload of one request.
    static let payloadBytesMax = 1 << 20
    /// Sizes in which memory is handed out, each with how many are kept.
    private static let classes: [(capacity: Int, kept: Int)] = [
        (4096, 128), (65_536, 64), (payloadBytesMax + headerBytes, 16),
    ]

    private var free: [[DeviceBuffer]] = classes.map { _ in [] }

    /// A buffer for at least so many bytes. What is larger than any class is not kept when it comes back.
    mutating func take(_ count: Int) -> DeviceBuffer {
        guard let place = Self.classes.firstIndex(where: { $0.capacity >= count }) else {
            return DeviceBuffer(capacity: count)
        }
        return self.free[place].popLast() ?? DeviceBuffer(capacity: Self.classes[place].capacity)
    }

    /// The largest there are: whatever the kernel may ask at once.
    mutating func takeLargest() -> DeviceBuffer { self.take(Self.payloadBytesMax + Self.headerBytes) }

    /// Takes a buffer back that nobody else uses any more; one that something still refers to is left to that.
    mutating func put(_ buffer: consuming DeviceBuffer) {
        var buffer = buffer
        guard isKnownUniquelyReferenced(&buffer),
            let place = Self.classes.firstIndex(where: { $0.capacity == buffer.capacity }),
            self.free[place].count < Self.classes[place].kept
        else { return }
        self.free[place].append(buffer)
    }
}
