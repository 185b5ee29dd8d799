/// What the export server may answer to a client: 0, or an error number that the NBD protocol allows on the wire.
public enum BlockError {
    /// Done.
    public static let none: UInt32 = 0
    /// The device is read-only.
    public static let notPermitted: UInt32 = 1
    /// The medium failed.
    public static let inputOutput: UInt32 = 5
    /// The request makes no sense: outside the device, unknown command or flag.
    public static let invalid: UInt32 = 22
    /// The device, or the medium under it, is full.
    public static let noSpace: UInt32 = 28
    /// The request is larger than the announced maximum.
    public static let overflow: UInt32 = 75
    /// Allowed to be refused, and refused.
    public static let notSupported: UInt32 = 95
    /// The server is going away; the client may reconnect.
    public static let shutdown: UInt32 = 108
}

/// Where a device reports that a write, zero or flush has ended. Called from any thread, once per cookie. Cookies of
/// different sinks may be equal.
public protocol BlockCompletionSink: AnyObject, Sendable {
    /// Reports the end of the request that carried `cookie`: 0, or one of `BlockError`.
    func complete(cookie: UInt64, error: UInt32)
    /// Like `complete`, but the client may learn of it only after `deliver`. A thread that ends many requests at once
    /// saves a system call for each. The default calls `complete`.
    func gather(cookie: UInt64, error: UInt32)
    /// Sends what was gathered. The default does nothing.
    func deliver()
}

extension BlockCompletionSink {
    /// Reports at once.
    public func gather(cookie: UInt64, error: UInt32) { self.complete(cookie: cookie, error: error) }
    /// Nothing to do.
    public func deliver() {}
}

/// A run of bytes with one allocation state. (NBD protocol, base:allocation)
public struct BlockExtent: Equatable, Sendable {
    /// Bytes in the run.
    public var length: UInt64
    /// Takes no space on the medium.
    public var isHole: Bool
    /// Reads as zeroes.
    public var isZero: Bool
    /// All fields.
    public init(length: UInt64, isHole: Bool, isZero: Bool) {
        self.length = length
        self.isHole = isHole
        self.isZero = isZero
    }
}

/// What an export serves. Every call comes with a non-empty range inside the device. Reads and writes have at most the
/// announced payload (32 MiB), the others less than 4 GiB. Calls come from several threads at once, one per connection;
/// a call that blocks holds up its connection only.
public protocol BlockDevice: AnyObject, Sendable {
    /// The size, fixed while exported.
    var sizeBytes: UInt64 { get }
    /// Fills `into` from `offset`; returns 0 or one of `BlockError`.
    func read(offset: UInt64, into: UnsafeMutableRawBufferPointer) -> UInt32
    /// Starts a write. `data` is valid only during the call. The completion may come before the return and from any
    /// thread; after it every later read sees the data, and if `durable` the data survives power loss.
    func write(
        offset: UInt64, data: UnsafeRawBufferPointer, durable: Bool, cookie: UInt64, sink: any BlockCompletionSink)
    /// Starts zeroing a range; `mayTrim` allows holes. The range reads as zeroes afterwards in any case. Completes like
    /// `write`.
    func zero(
        offset: UInt64, length: UInt64, mayTrim: Bool, durable: Bool, cookie: UInt64, sink: any BlockCompletionSink)
    /// Starts a flush: at its completion every write that completed before the call survives power loss.
    func flush(cookie: UInt64, sink: any BlockCompletionSink)
    /// Describes the range, first byte first. May describe less or more than asked, never nothing.
    func extents(offset: UInt64, length: UInt64) -> [BlockExtent]
}
