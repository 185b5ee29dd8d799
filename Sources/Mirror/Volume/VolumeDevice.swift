import Basis

/// A volume's export as a file, for the kernel, over a connection that may end and come again: the decisions, as a value.
///
/// What the kernel asks for is kept until the volume server has answered it, and nothing is answered before. When the
/// connection ends, all that is unanswered waits, and goes over the next connection in the order in which the kernel
/// asked, before anything new. Only when there was none for the whole dead time does it fail. (Rule V3.1)
///
/// Why a flush keeps its promise over any number of connections: it is about the writes that were completed to the kernel
/// before it was asked for. A write is completed only when a server has answered it, so each of them was at the volume
/// before the flush was first sent, and what is sent again with the flush is not among them. A server that is started
/// anew finds on its backing what the former one had answered, and flushes the backing as a whole.
///
/// Why sending again overwrites nothing newer: a write that is sent again was never completed. Whoever wants one write
/// after another waits for the first to be completed; two that are under way at once may end up in either order.
public struct VolumeDevice: Sendable {
    /// Names a request of the kernel until its answer, and is its cookie to the volume server.
    public struct RequestID: Hashable, Sendable {
        /// The kernel's number, never used twice.
        public let rawValue: UInt64
        /// Wraps the kernel's number.
        public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    }

    /// One connection to the volume server, or the attempt to make it.
    public struct ConnectionID: Hashable, Sendable {
        /// Counts the attempts.
        public let rawValue: UInt64
        /// Wraps a number.
        public init(_ rawValue: UInt64) { self.rawValue = rawValue }
    }

    /// What the kernel asks for.
    public enum Operation: Equatable, Sendable {
        /// Bytes of the volume.
        case read(Extent)
        /// Stores the request's payload; it survives power loss once answered if `durable`.
        case write(Extent, durable: Bool)
        /// Makes a range read as zeroes, as a hole if it may be one.
        case zero(Extent, mayTrim: Bool)
        /// Makes all that was answered before survive power loss.
        case flush
    }

    /// What a server said to a request: 0, or an error number of the NBD protocol.
    public struct Failure: Error, Hashable, Sendable {
        /// An errno value.
        public let code: UInt32
        /// Wraps an errno value.
        public init(code: UInt32) { self.code = code }
        /// The medium failed, or nobody answered for the whole dead time.
        public static let inputOutput = Failure(code: 5)
        /// Past the end of the volume.
        public static let noSpace = Failure(code: 28)
        /// The server is going away: not an answer, since the next one will know better.
        static let shutdown = Failure(code: 108)
        /// What the kernel may be told as it is: EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP.
        static let known: Set<UInt32> = [1, 5, 12, 22, 28, 75, 95]
    }

    /// How a request of the kernel ended.
    public enum Outcome: Equatable, Sendable {
        /// As asked. A read has what the server sent, or nothing when it began behind the volume's end.
        case done
        /// Not at all, or nobody knows.
        case failed(Failure)
    }

    /// What happened.
    public enum Input: Sendable {
        /// The kernel asks.
        case request(RequestID, Operation)
        /// The handshake is done; the volume is this large.
        case connected(ConnectionID, sizeBytes: UInt64)
        /// The connection ended, or could not be made.
        case disconnected(ConnectionID)
        /// The server answered; `nil` is success. A read's bytes are there.
        case answered(ConnectionID, RequestID, Failure?)
        /// Time passed; wanted at `wakeAt`.
        case tick
    }

    /// What to do, in this order.
    public enum Effect: Equatable, Sendable {
        /// Connect and shake hands; then `connected` or `disconnected`.
        case connect(ConnectionID)
        /// End the connection; nothing of it matters any more.
        case disconnect(ConnectionID, reason: String)
        /// Send on the present connection. A zeroing may come several times, part by part.
        case send(RequestID, Operation)
        /// Tell the kernel; the request is over.
        case answer(RequestID, Outcome)
        /// The first connection stands: show the file.
        case serve
        /// There was no connection for the whole dead time, and never one before: end.
        case giveUp
        /// Something that an operator may want to know.
        case note(VolumeDeviceNote)
    }

    /// Times and sizes.
    public struct Tuning: Sendable {
        /// How long requests wait without a connection.
        public var deadTime = Span.seconds(30)
        /// Between the end of a connection and the first attempt; doubles with each attempt that fails.
        public var retryFirst = Span.milliseconds(20)
        /// The longest pause between attempts.
        public var retryMost = Span.milliseconds(250)
        /// After this an attempt is given up: the socket may be one of a server that hangs, replaced since.
        public var handshakeTime = Span.seconds(3)
        /// Largest zeroing sent at once; the protocol has 32 bits for it.
        public var zeroBytesMax: UInt64 = 1 << 30
        /// The defaults.
        public init() {}
    }

    private struct Waiting {
        /// Its place among all that the kernel asked for.
        let place: UInt64
        /// What is left of it.
        var operation: Operation
    }

    private enum Link {
        case none(retryAt: Tick)
        case trying(ConnectionID, since: Tick)
        case standing(ConnectionID)
    }

    private let tuning: Tuning
    private var link: Link
    /// When the last connection ended; requests fail a dead time later.
    private var lostAt: Tick
    private var pause: Span
    private var hasServed = false
    private var hasFailed = false
    private var connections: UInt64 = 0
    private var requests: UInt64 = 0
    private var waiting: [RequestID: Waiting] = [:]

    /// How large the file is; 0 before the first connection, never smaller than before.
    public private(set) var sizeBytes: UInt64 = 0

    /// Without a connection, about to make one.
    public init(_ tuning: Tuning = Tuning(), at now: Tick) {
        self.tuning = tuning
        self.link = .none(retryAt: now)
        self.lostAt = now
        self.pause = tuning.retryFirst
    }

    /// How many requests have no answer yet.
    public var waitingCount: Int { self.waiting.count }

    /// When `tick` is wanted.
    public var wakeAt: Tick {
        let deadAt = self.hasFailed ? .never : self.deadAt
        return switch self.link {
        case .none(let retryAt): min(retryAt, deadAt)
        case .trying(_, let since): min(since + self.tuning.handshakeTime, deadAt)
        case .standing: .never
        }
    }

    private var deadAt: Tick { self.lostAt + self.tuning.deadTime }

    /// Advances by one input.
    public mutating func step(_ input: Input, at now: Tick, into effects: inout [Effect]) {
        switch input {
        case .request(let id, let operation): self.request(id, operation, at: now, into: &effects)
        case .connected(let id, let sizeBytes): self.connected(id, sizeBytes, at: now, into: &effects)
        case .disconnected(let id): self.disconnected(id, at: now)
        case .answered(let connection, let id, let failure):
            guard case .standing(connection) = self.link, self.waiting[id] != nil else { return }
            self.answered(connection, id, failure, at: now, into: &effects)
        case .tick: break
        }
        self.look(at: now, into: &effects)
    }
}

extension VolumeDevice {
    private mutating func request(
        _ id: RequestID, _ operation: Operation, at now: Tick, into effects: inout [Effect]
    ) {
        precondition(self.waiting[id] == nil, "the kernel used the number \(id.rawValue) twice")
        var operation = operation
        switch operation {
        case .read(let extent):
            let end = min(extent.endOrMaximum, self.sizeBytes)
            guard extent.offset < end else { return effects.append(.answer(id, .done)) }
            operation = .read(Extent(offset: extent.offset, length: end - extent.offset))
        case .write(let extent, _), .zero(let extent, _):
            guard extent.endOrMaximum <= self.sizeBytes else { return effects.append(.answer(id, .failed(.noSpace))) }
            guard extent.length > 0 else { return effects.append(.answer(id, .done)) }
        case .flush: break
        }
        if case .standing = self.link {
            effects.append(.send(id, self.part(operation)))
        } else if now >= self.deadAt {
            return effects.append(.answer(id, .failed(.inputOutput)))
        }
        self.waiting[id] = Waiting(place: self.requests, operation: operation)
        self.requests += 1
    }

    /// As much of it as one request to the server may ask.
    private func part(_ operation: Operation) -> Operation {
        guard case .zero(var extent, let mayTrim) = operation else { return operation }
        extent.length = min(extent.length, self.tuning.zeroBytesMax)
        return .zero(extent, mayTrim: mayTrim)
    }

    private mutating func connected(
        _ id: ConnectionID, _ sizeBytes: UInt64, at now: Tick, into effects: inout [Effect]
    ) {
        guard case .trying(id, _) = self.link else { return }
        guard sizeBytes >= self.sizeBytes else {
            let reason = "the volume has only \(sizeBytes) bytes, after \(self.sizeBytes): this is not its whole copy"
            effects.append(.disconnect(id, reason: reason))
            return self.retry(at: now)
        }
        self.link = .standing(id)
        self.pause = self.tuning.retryFirst
        self.hasFailed = false
        if self.hasServed, sizeBytes > self.sizeBytes {
            effects.append(.note(.grown(from: self.sizeBytes, to: sizeBytes)))
        }
        self.sizeBytes = sizeBytes
        if !self.hasServed { effects.append(.serve) }
        self.hasServed = true
        for (id, waiting) in self.inOrder { effects.append(.send(id, self.part(waiting.operation))) }
    }

    /// All that waits, in the order in which the kernel asked.
    private var inOrder: [(RequestID, Waiting)] {
        self.waiting.map { ($0.key, $0.value) }.sorted { $0.1.place < $1.1.place }
    }

    private mutating func disconnected(_ id: ConnectionID, at now: Tick) {
        switch self.link {
        case .standing(id): self.lost(at: now)
        case .trying(id, _): self.retry(at: now)
        default: return
        }
    }

    private mutating func lost(at now: Tick) {
        self.lostAt = now
        self.link = .none(retryAt: now + self.tuning.retryFirst)
    }

    private mutating func retry(at now: Tick) {
        self.link = .none(retryAt: now + self.pause)
        self.pause = min(self.pause * 2, self.tuning.retryMost)
    }

    private mutating func answered(
        _ connection: ConnectionID, _ id: RequestID, _ failure: Failure?, at now: Tick, into effects: inout [Effect]
    ) {
        guard var waiting = self.waiting[id] else { return }
        if let failure {
            if failure == .shutdown {
                effects.append(.disconnect(connection, reason: "the volume server is going away"))
                return self.lost(at: now)
            }
            self.waiting[id] = nil
            let isKnown = Failure.known.contains(failure.code)
            return effects.append(.answer(id, .failed(isKnown ? failure : .inputOutput)))
        }
        if case .zero(let extent, let mayTrim) = waiting.operation, extent.length > self.tuning.zeroBytesMax {
            let done = self.tuning.zeroBytesMax
            let rest = Extent(offset: extent.offset + done, length: extent.length - done)
            waiting.operation = .zero(rest, mayTrim: mayTrim)
            self.waiting[id] = waiting
            return effects.append(.send(id, self.part(waiting.operation)))
        }
        self.waiting[id] = nil
        effects.append(.answer(id, .done))
    }

    /// What the time asks for.
    private mutating func look(at now: Tick, into effects: inout [Effect]) {
        if case .standing = self.link { return }
        if case .trying(let id, let since) = self.link, now >= since + self.tuning.handshakeTime {
            effects.append(.disconnect(id, reason: "the volume server did not finish the handshake"))
            self.retry(at: now)
        }
        if case .none(let retryAt) = self.link, now >= retryAt {
            self.connections += 1
            let id = ConnectionID(self.connections)
            self.link = .trying(id, since: now)
            effects.append(.connect(id))
        }
        guard now >= self.deadAt, !self.hasFailed else { return }
        self.hasFailed = true
        guard self.hasServed else { return effects.append(.giveUp) }
        effects.append(.note(.requestsFail(self.waiting.count, after: self.tuning.deadTime)))
        for (id, _) in self.inOrder { effects.append(.answer(id, .failed(.inputOutput))) }
        self.waiting.removeAll()
    }
}

extension Extent {
    /// The byte after the last; the largest number there is for one that reaches further than that.
    fileprivate var endOrMaximum: UInt64 {
        let (end, overflow) = self.offset.addingReportingOverflow(self.length)
        return overflow ? .max : end
    }
}
