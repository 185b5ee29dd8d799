import Glibc
import Host

/// One connection's replies. Many threads append; at most one sends, and takes with it all that was appended meanwhile.
///
/// The connection's own thread may block in a send, which slows its client down. Other threads, which complete requests
/// of many clients, never do: what the socket does not take at once is left to a helper thread that lives until it is
/// drained.
final class NBDOutput: BlockCompletionSink, @unchecked Sendable {
    /// Growing raw memory.
    private struct Buffer {
        private(set) var base: UnsafeMutableRawPointer
        private var capacity: Int
        var count = 0

        init(capacity: Int) {
            self.base = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
            self.capacity = capacity
        }

        /// Room for `size` more bytes at the end.
        mutating func extend(_ size: Int) -> UnsafeMutableRawPointer {
            if self.count + size > self.capacity {
                self.capacity = max(self.capacity * 2, self.count + size)
                let larger = UnsafeMutableRawPointer.allocate(byteCount: self.capacity, alignment: 64)
                larger.copyMemory(from: self.base, byteCount: self.count)
                self.base.deallocate()
                self.base = larger
            }
            defer { self.count += size }
            return self.base + self.count
        }

        func free() { self.base.deallocate() }
    }

    /// Unsent bytes beyond which the connection's thread stops to take requests.
    private static let highWater = 1 << 20

    private let lock = ConditionLock()
    private let maximumInFlight: Int
    // Guarded by `lock`, except that `outgoing` and `sent` belong to the thread that set `isSending`.
    private var descriptor: Int32
    private var pending = Buffer(capacity: 64 * 1024)
    private var outgoing = Buffer(capacity: 64 * 1024)
    private var sent = 0
    private var isSending = false
    private var isClosed = false
    private var inFlight = 0
    private var owner: pthread_t?

    /// Takes over the socket.
    init(descriptor: Int32, maximumInFlight: Int) {
        self.descriptor = descriptor
        self.maximumInFlight = maximumInFlight
    }

    deinit {
        self.pending.free()
        self.outgoing.free()
        if self.descriptor >= 0 { Glibc.close(self.descriptor) }
    }

    /// Names the calling thread the connection's own: it must call `flush` before it waits for the client.
    func adopt() {
        self.lock.lock()
        self.owner = pthread_self()
        self.lock.unlock()
    }

    /// Counts a request that the device will complete; waits while too many are under way. False once closed.
    func begin() -> Bool {
        self.lock.lock()
        defer { self.lock.unlock() }
        while self.inFlight >= self.maximumInFlight, !self.isClosed {
            self.sendPending(mayBlock: true)
            if self.inFlight >= self.maximumInFlight, !self.isClosed { self.lock.wait() }
        }
        self.inFlight += 1
        return !self.isClosed
    }

    func complete(cookie: UInt64, error: UInt32) {
        self.lock.lock()
        self.finish(cookie: cookie, error: error)
        if !self.isOwner { self.sendPending(mayBlock: false) }
        self.lock.unlock()
    }

    func gather(cookie: UInt64, error: UInt32) {
        self.lock.lock()
        self.finish(cookie: cookie, error: error)
        self.lock.unlock()
    }

    func deliver() {
        self.lock.lock()
        if !self.isOwner { self.sendPending(mayBlock: false) }
        self.lock.unlock()
    }

    /// A reply to a request that was not counted by `begin`.
    func reply(cookie: UInt64, error: UInt32) {
        self.lock.lock()
        self.appendSimpleReply(cookie: cookie, error: error)
        self.lock.unlock()
    }

    /// Appends a reply made of a header and a payload; a large payload is sent from where it lies. Own thread only.
    func append(_ header: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) {
        self.lock.lock()
        defer { self.lock.unlock() }
        if self.isClosed { return }
        if payload.count <= 32 * 1024 {
            let target = self.pending.extend(header.count + payload.count)
            if let source = header.baseAddress { target.copyMemory(from: source, byteCount: header.count) }
            if let source = payload.baseAddress {
                (target + header.count).copyMemory(from: source, byteCount: payload.count)
            }
            if self.pending.count >= 256 * 1024 { self.sendPending(mayBlock: true) }
            return
        }
        while self.isSending, !self.isClosed { self.lock.wait() }
        if self.isClosed { return }
        let target = self.pending.extend(header.count)
        if let source = header.baseAddress { target.copyMemory(from: source, byteCount: header.count) }
        self.takePending()
        self.lock.unlock()
        let status = self.sendOutgoing(then: payload)
        self.lock.lock()
        self.isSending = false
        if status != 0 { self.closeLocked() }
        self.lock.broadcast()
        self.sendPending(mayBlock: true)
    }

    /// Sends what is left. Own thread only; returns while another thread sends, unless very much is waiting.
    func flush() {
        self.lock.lock()
        self.sendPending(mayBlock: true)
        while self.isSending, self.pending.count > Self.highWater, !self.isClosed { self.lock.wait() }
        self.lock.unlock()
    }

    /// Waits until every counted request is complete and all is sent, or the connection is closed.
    func drain() {
        self.lock.lock()
        while !self.isClosed {
            self.sendPending(mayBlock: true)
            if self.inFlight == 0, !self.isSending, self.pending.count == 0 { break }
            if !self.isClosed { self.lock.wait() }
        }
        self.lock.unlock()
    }

    /// Ends the connection and wakes every thread that waits for it; later completions are dropped.
    func close() {
        self.lock.lock()
        self.closeLocked()
        self.lock.unlock()
    }

    /// The connection thread's last call: gives the socket back.
    func release() {
        self.lock.lock()
        self.closeLocked()
        while self.isSending { self.lock.wait() }
        if self.descriptor >= 0 { Glibc.close(self.descriptor) }
        self.descriptor = -1
        self.lock.unlock()
    }

    private var isOwner: Bool {
        guard let owner = self.owner else { return false }
        return pthread_equal(owner, pthread_self()) != 0
    }

    private func finish(cookie: UInt64, error: UInt32) {
        precondition(self.inFlight > 0, "a request was completed twice")
        self.inFlight -= 1
        self.appendSimpleReply(cookie: cookie, error: error)
        if self.inFlight == 0 || self.inFlight == self.maximumInFlight - 1 { self.lock.broadcast() }
    }

    private func appendSimpleReply(cookie: UInt64, error: UInt32) {
        if self.isClosed { return }
        let target = self.pending.extend(NBD.simpleReplyBytes)
        target.storeBytes(of: NBD.simpleReplyMagic.bigEndian, as: UInt32.self)
        target.storeBytes(of: error.bigEndian, toByteOffset: 4, as: UInt32.self)
        target.storeBytes(of: cookie.bigEndian, toByteOffset: 8, as: UInt64.self)
    }

    private func closeLocked() {
        if self.isClosed { return }
        self.isClosed = true
        if self.descriptor >= 0 { Glibc.shutdown(self.descriptor, Int32(SHUT_RDWR)) }
        self.lock.broadcast()
    }

    private func takePending() {
        self.isSending = true
        self.sent = 0
        swap(&self.pending, &self.outgoing)
        self.pending.count = 0
    }

    /// Called with the lock, which it releases while sending.
    private func sendPending(mayBlock: Bool) {
        if self.isSending { return }
        while self.pending.count > 0, !self.isClosed {
            self.takePending()
            self.lock.unlock()
            let status =
                mayBlock ? self.sendOutgoing(then: UnsafeRawBufferPointer(start: nil, count: 0)) : self.trySend()
            self.lock.lock()
            if status == EAGAIN, self.startDrainer() { return }
            self.isSending = false
            if status != 0 { self.closeLocked() }
            self.lock.broadcast()
        }
    }

    /// Leaves the sender's role to a helper thread, so that the caller need not wait for a slow client.
    private func startDrainer() -> Bool {
        SystemThread.start("volume") {
            let status = self.sendOutgoing(then: UnsafeRawBufferPointer(start: nil, count: 0))
            self.lock.lock()
            self.isSending = false
            if status != 0 { self.closeLocked() }
            self.lock.broadcast()
            self.sendPending(mayBlock: true)
            self.lock.unlock()
        }
    }

    private func trySend() -> Int32 {
        while self.sent < self.outgoing.count {
            let flags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
            let count = send(self.descriptor, self.outgoing.base + self.sent, self.outgoing.count - self.sent, flags)
            if count >= 0 { self.sent += count } else if errno != EINTR { return errno }
        }
        return 0
    }

    /// Sends the rest of `outgoing`, then the payload; blocks. Returns 0 or an errno.
    private func sendOutgoing(then payload: UnsafeRawBufferPointer) -> Int32 {
        var done = 0
        while self.sent < self.outgoing.count || done < payload.count {
            let head = iovec(iov_base: self.outgoing.base + self.sent, iov_len: self.outgoing.count - self.sent)
            let tail = iovec(
                iov_base: payload.baseAddress.map { UnsafeMutableRawPointer(mutating: $0) + done },
                iov_len: payload.count - done)
            let count = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
                parts[0] = head
                parts[1] = tail
                var message = msghdr()
                message.msg_iov = parts.baseAddress
                message.msg_iovlen = 2
                return sendmsg(self.descriptor, &message, Int32(MSG_NOSIGNAL))
            }
            if count < 0 {
                if errno == EINTR { continue }
                return errno == EAGAIN ? ETIMEDOUT : errno
            }
            let fromHead = min(count, head.iov_len)
            self.sent += fromHead
            done += count - fromHead
        }
        return 0
    }
}
