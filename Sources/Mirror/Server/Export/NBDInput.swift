import Basis
import Glibc
import Host

/// One connection's receive buffer: one `recv` may bring many requests, and a payload is handed on where it lies.
///
/// Only the connection's own thread uses it.
final class NBDInput {
    /// How a wait for bytes ended.
    enum Status: Equatable {
        case ready
        case ended
        case timedOut
        case failed(Int32)
    }

    /// Small requests stay within this much of the buffer, so that its other pages are never touched.
    private static let softLimit = 1 << 20

    private let descriptor: Int32
    private let base: UnsafeMutableRawPointer
    private let capacity: Int
    private var start = 0
    private var end = 0

    init(descriptor: Int32, maximumPayload: Int) {
        self.descriptor = descriptor
        self.capacity = max(maximumPayload + 4096, Self.softLimit)
        self.base = UnsafeMutableRawPointer.allocate(byteCount: self.capacity, alignment: 4096)
    }

    deinit { self.base.deallocate() }

    /// Bytes received and not consumed.
    var available: Int { self.end - self.start }

    /// The first `count` bytes, which must be available; valid until the next `consume` or `fill`.
    func bytes(_ count: Int, after skip: Int = 0) -> UnsafeRawBufferPointer {
        precondition(skip + count <= self.available, "bytes that were not received")
        return UnsafeRawBufferPointer(start: self.base + self.start + skip, count: count)
    }

    func consume(_ count: Int) {
        precondition(count <= self.available, "consumed more than was received")
        self.start += count
        if self.start == self.end {
            self.start = 0
            self.end = 0
        }
    }

    /// Receives until `count` bytes are available; `count` must not exceed the payload limit plus a header.
    func fill(_ count: Int, deadline: Tick? = nil) -> Status {
        precondition(count <= self.capacity, "a request larger than the buffer")
        while self.available < count {
            let limit = max(Self.softLimit, count)
            if self.start > 0, self.start + count > limit || self.end >= limit { self.compact() }
            if let deadline, !self.wait(until: deadline) { return .timedOut }
            let room = max(limit, self.start + count) - self.end
            let received = recv(self.descriptor, self.base + self.end, room, 0)
            if received == 0 { return .ended }
            if received < 0 {
                if errno == EINTR { continue }
                return .failed(errno)
            }
            self.end += received
        }
        return .ready
    }

    /// Receives and forgets `count` bytes.
    func skip(_ count: Int, deadline: Tick? = nil) -> Status {
        var left = count
        while left > 0 {
            if self.available == 0 {
                let status = self.fill(1, deadline: deadline)
                if status != .ready { return status }
            }
            let part = min(left, self.available)
            self.consume(part)
            left -= part
        }
        return .ready
    }

    private func compact() {
        memmove(self.base, self.base + self.start, self.available)
        self.end -= self.start
        self.start = 0
    }

    private func wait(until deadline: Tick) -> Bool {
        while true {
            let left = deadline.since(MachineClock.now)
            if left == .zero { return false }
            var item = pollfd(fd: self.descriptor, events: Int16(POLLIN), revents: 0)
            let count = poll(&item, 1, Int32(min(left.milliseconds + 1, 1_000_000)))
            if count > 0 || (count < 0 && errno != EINTR) { return true }
        }
    }
}
