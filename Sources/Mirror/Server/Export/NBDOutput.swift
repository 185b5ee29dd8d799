import Glibc
import Host

/// One connection's replies. Many threads append; at most one sends, and takes with it all that was appended meanwhile.
///
/// The connection's own thread may block in a send, which slows its client down. Other threads, which complete requests
/// of many clients, never do: what the socket does not take at once is left to a helper thread that lives until it is
/// drained.
final class NBDOutput: BlockCompletionSink, Sendable {
    /// Unsent bytes beyond which the connection's thread stops to take requests.
    private static let highWater = 1 << 20

    /// What one thread has taken to send it.
    private struct Batch: ~Copyable {
        var buffer: RawBuffer
        var sent = 0
    }

    private struct State: ~Copyable {
        /// Replies that nobody has taken yet.
        var pending = RawBuffer(capacity: 64 * 1024)
        /// The buffer of whoever sends next; none while somebody does.
        var spare: RawBuffer? = RawBuffer(capacity: 64 * 1024)
        var isClosed = false
        var isReleased = false
        var inFlight = 0
        var owner: pthread_t?

        var isSending: Bool { self.spare == nil }

        /// The sender's role, with all that is pending; nil while another thread has it.
        mutating func takeBatch() -> Batch? {
            guard var buffer = self.spare.take() else { return nil }
            swap(&buffer, &self.pending)
            return Batch(buffer: buffer)
        }

        /// The end of the sender's role.
        mutating func giveBack(_ batch: consuming Batch) {
            var buffer = batch.buffer
            buffer.removeAll()
            self.spare = consume buffer
        }
    }

    private typealias Hold = Locked<State>.Hold

    private let state = Locked(State(), lendsPriority: false)
    private let descriptor: Int32
    private let maximumInFlight: Int

    /// Takes over the socket.
    init(descriptor: Int32, maximumInFlight: Int) {
        self.descriptor = descriptor
        self.maximumInFlight = maximumInFlight
    }

    deinit {
        if !self.state.withLock({ $0.isReleased }) { Glibc.close(self.descriptor) }
    }

    /// Names the calling thread the connection's own: it must call `flush` before it waits for the client.
    func adopt() { self.state.withLock { $0.owner = pthread_self() } }

    /// Counts a request that the device will complete; waits while too many are under way. False once closed.
    func begin() -> Bool {
        var hold = self.state.hold()
        while hold.value.inFlight >= self.maximumInFlight, !hold.value.isClosed {
            self.sendPending(&hold, mayBlock: true)
            if hold.value.inFlight >= self.maximumInFlight, !hold.value.isClosed { hold.wait() }
        }
        hold.value.inFlight += 1
        return !hold.value.isClosed
    }

    func complete(cookie: UInt64, error: UInt32) {
        var hold = self.state.hold()
        self.finish(&hold, cookie: cookie, error: error)
        if !Self.isOwner(hold.value) { self.sendPending(&hold, mayBlock: false) }
    }

    func gather(cookie: UInt64, error: UInt32) {
        var hold = self.state.hold()
        self.finish(&hold, cookie: cookie, error: error)
    }

    func deliver() {
        var hold = self.state.hold()
        if !Self.isOwner(hold.value) { self.sendPending(&hold, mayBlock: false) }
    }

    /// A reply to a request that was not counted by `begin`.
    func reply(cookie: UInt64, error: UInt32) {
        var hold = self.state.hold()
        Self.appendSimpleReply(&hold, cookie: cookie, error: error)
    }

    /// Appends a reply made of a header and a payload; a large payload is sent from where it lies. Own thread only.
    func append(_ header: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) {
        var hold = self.state.hold()
        if hold.value.isClosed { return }
        if payload.count <= 32 * 1024 {
            hold.value.pending.append(header)
            hold.value.pending.append(payload)
            if hold.value.pending.count >= 256 * 1024 { self.sendPending(&hold, mayBlock: true) }
            return
        }
        while hold.value.isSending, !hold.value.isClosed { hold.wait() }
        if hold.value.isClosed { return }
        hold.value.pending.append(header)
        guard var batch = hold.value.takeBatch() else { preconditionFailure("two threads send at once") }
        let status = hold.whileLeft { self.sendBatch(&batch, then: payload) }
        self.endSending(&hold, batch, status)
        self.sendPending(&hold, mayBlock: true)
    }

    /// Sends what is left. Own thread only; returns while another thread sends, unless very much is waiting.
    func flush() {
        var hold = self.state.hold()
        self.sendPending(&hold, mayBlock: true)
        while hold.value.isSending, hold.value.pending.count > Self.highWater, !hold.value.isClosed { hold.wait() }
    }

    /// Waits until every counted request is complete and all is sent, or the connection is closed.
    func drain() {
        var hold = self.state.hold()
        while !hold.value.isClosed {
            self.sendPending(&hold, mayBlock: true)
            if hold.value.inFlight == 0, !hold.value.isSending, hold.value.pending.count == 0 { break }
            if !hold.value.isClosed { hold.wait() }
        }
    }

    /// Ends the connection and wakes every thread that waits for it; later completions are dropped.
    func close() {
        var hold = self.state.hold()
        self.close(&hold)
    }

    /// The connection thread's last call: gives the socket back.
    func release() {
        var hold = self.state.hold()
        self.close(&hold)
        while hold.value.isSending { hold.wait() }
        if !hold.value.isReleased { Glibc.close(self.descriptor) }
        hold.value.isReleased = true
    }

    private static func isOwner(_ state: borrowing State) -> Bool {
        guard let owner = state.owner else { return false }
        return pthread_equal(owner, pthread_self()) != 0
    }

    private func finish(_ hold: inout Hold, cookie: UInt64, error: UInt32) {
        precondition(hold.value.inFlight > 0, "a request was completed twice")
        hold.value.inFlight -= 1
        Self.appendSimpleReply(&hold, cookie: cookie, error: error)
        if hold.value.inFlight == 0 || hold.value.inFlight == self.maximumInFlight - 1 { hold.wakeAll() }
    }

    private static func appendSimpleReply(_ hold: inout Hold, cookie: UInt64, error: UInt32) {
        if hold.value.isClosed { return }
        let target = hold.value.pending.extend(by: NBD.simpleReplyBytes)
        target.storeBytes(of: NBD.simpleReplyMagic.bigEndian, as: UInt32.self)
        target.storeBytes(of: error.bigEndian, toByteOffset: 4, as: UInt32.self)
        target.storeBytes(of: cookie.bigEndian, toByteOffset: 8, as: UInt64.self)
    }

    private func close(_ hold: inout Hold) {
        if hold.value.isClosed { return }
        hold.value.isClosed = true
        if !hold.value.isReleased { Glibc.shutdown(self.descriptor, Int32(SHUT_RDWR)) }
        hold.wakeAll()
    }

    /// Leaves the lock while it sends.
    private func sendPending(_ hold: inout Hold, mayBlock: Bool) {
        while hold.value.pending.count > 0, !hold.value.isClosed, var batch = hold.value.takeBatch() {
            let status = hold.whileLeft {
                mayBlock
                    ? self.sendBatch(&batch, then: UnsafeRawBufferPointer(start: nil, count: 0)) : self.trySend(&batch)
            }
            if status == EAGAIN {
                guard let left = self.drain(batch) else { return }
                batch = left
            }
            self.endSending(&hold, batch, status)
        }
    }

    private func endSending(_ hold: inout Hold, _ batch: consuming Batch, _ status: Int32) {
        hold.value.giveBack(batch)
        if status != 0 { self.close(&hold) }
        hold.wakeAll()
    }

    /// Leaves the sender's role to a helper thread, so that the caller need not wait for a slow client. Gives the batch back
    /// when the system has no thread left.
    private func drain(_ batch: consuming Batch) -> Batch? {
        let handed = Locked<Batch?>(batch)
        let isStarted = SystemThread.start("volume") {
            guard var batch = handed.withLock({ $0.take() }) else { return }
            let status = self.sendBatch(&batch, then: UnsafeRawBufferPointer(start: nil, count: 0))
            var hold = self.state.hold()
            self.endSending(&hold, batch, status)
            self.sendPending(&hold, mayBlock: true)
        }
        return isStarted ? nil : handed.withLock { $0.take() }
    }

    private func trySend(_ batch: inout Batch) -> Int32 {
        while batch.sent < batch.buffer.count {
            let rest = UnsafeRawBufferPointer(rebasing: batch.buffer.bytes[batch.sent...])
            let count = send(self.descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            if count >= 0 { batch.sent += count } else if errno != EINTR { return errno }
        }
        return 0
    }

    /// Sends the rest of the batch, then the payload; blocks. Returns 0 or an errno.
    private func sendBatch(_ batch: inout Batch, then payload: UnsafeRawBufferPointer) -> Int32 {
        var done = 0
        while batch.sent < batch.buffer.count || done < payload.count {
            let rest = UnsafeRawBufferPointer(rebasing: batch.buffer.bytes[batch.sent...])
            let head = iovec(
                iov_base: rest.baseAddress.map { UnsafeMutableRawPointer(mutating: $0) }, iov_len: rest.count)
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
            batch.sent += fromHead
            done += count - fromHead
        }
        return 0
    }
}
