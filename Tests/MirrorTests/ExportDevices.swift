import Basis
import Foundation
import Mirror
import Synchronization
import VolumeServer

/// A device in memory. With `delays` it completes on another thread, several requests at once and in shuffled order.
final class MemoryDevice: BlockDevice {
    /// What a device was asked, for assertions.
    struct Counts: Equatable {
        var flushes = 0
        var durableWrites = 0
        var durableZeroes = 0
        var trims = 0
        var zeroes = 0
    }
    private struct Waiting {
        let cookie: UInt64
        let error: UInt32
        let sink: any BlockCompletionSink
    }
    private struct State {
        var bytes: [UInt8]
        var counts = Counts()
        var error: UInt32 = 0
        var waiting: [Waiting] = []
        var isHolding = false
        var isStopped = false
        var beforeRead: (@Sendable () -> Void)?
    }
    private static let block = 4096
    private static let zeroes = [UInt8](repeating: 0, count: block)
    private let state: Mutex<State>
    private let wake = DispatchSemaphore(value: 0)
    private let delays: Bool
    let sizeBytes: UInt64

    init(size: Int, delays: Bool = false) {
        self.sizeBytes = UInt64(size)
        self.delays = delays
        self.state = Mutex(State(bytes: [UInt8](repeating: 0, count: size)))
        if delays { Thread { self.completeInTheBackground() }.start() }
    }

    var counts: Counts { self.state.withLock { $0.counts } }
    var contents: [UInt8] { self.state.withLock { $0.bytes } }
    func fill(_ bytes: [UInt8]) { self.state.withLock { $0.bytes = bytes } }
    /// From now on every request fails with this error (0: none).
    func fail(with error: UInt32) { self.state.withLock { $0.error = error } }
    /// Keeps completions back, or releases them.
    func hold(_ isHolding: Bool) {
        self.state.withLock { $0.isHolding = isHolding }
        self.wake.signal()
    }
    /// Completes on the calling thread what is held back.
    func completeHeld() {
        let held = self.state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        for next in held { next.sink.complete(cookie: next.cookie, error: next.error) }
    }
    /// Runs `body` in the next read, once, on the thread that reads.
    func beforeNextRead(_ body: @escaping @Sendable () -> Void) { self.state.withLock { $0.beforeRead = body } }
    /// How many requests are not complete yet.
    var waitingCount: Int { self.state.withLock { $0.waiting.count } }
    func stop() {
        self.state.withLock { $0.isStopped = true }
        self.wake.signal()
    }

    func read(offset: UInt64, into: UnsafeMutableRawBufferPointer) -> UInt32 {
        let beforeRead = self.state.withLock { state in
            defer { state.beforeRead = nil }
            return state.beforeRead
        }
        beforeRead?()
        return self.state.withLock { state in
            state.bytes.withUnsafeBytes {
                into.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[Int(offset)..<Int(offset) + into.count]))
            }
            return state.error
        }
    }

    func write(
        offset: UInt64, data: UnsafeRawBufferPointer, durable: Bool, cookie: UInt64, sink: any BlockCompletionSink
    ) {
        let error = self.state.withLock { state in
            if durable { state.counts.durableWrites += 1 }
            state.bytes.withUnsafeMutableBytes {
                UnsafeMutableRawBufferPointer(rebasing: $0[Int(offset)..<Int(offset) + data.count])
                    .copyMemory(from: data)
            }
            return state.error
        }
        self.end(cookie, error, sink)
    }

    func zero(
        offset: UInt64, length: UInt64, mayTrim: Bool, durable: Bool, cookie: UInt64, sink: any BlockCompletionSink
    ) {
        let error = self.state.withLock { state in
            if durable { state.counts.durableZeroes += 1 }
            if mayTrim { state.counts.trims += 1 } else { state.counts.zeroes += 1 }
            state.bytes.withUnsafeMutableBytes {
                _ = UnsafeMutableRawBufferPointer(rebasing: $0[Int(offset)..<Int(offset + length)])
                    .initializeMemory(as: UInt8.self, repeating: 0)
            }
            return state.error
        }
        self.end(cookie, error, sink)
    }

    func flush(cookie: UInt64, sink: any BlockCompletionSink) {
        let error = self.state.withLock { state in
            state.counts.flushes += 1
            return state.error
        }
        self.end(cookie, error, sink)
    }

    func extents(offset: UInt64, length: UInt64) -> [BlockExtent] {
        self.state.withLock { state in
            var extents: [BlockExtent] = []
            var position = Int(offset)
            let end = Int(offset + length)
            while position < end {
                let next = min(end, (position / Self.block + 1) * Self.block)
                let isZero = state.bytes.withUnsafeBytes { bytes in
                    Self.zeroes.withUnsafeBytes { zeroes in
                        guard let left = bytes.baseAddress, let right = zeroes.baseAddress else { return false }
                        return memcmp(left + position, right, next - position) == 0
                    }
                }
                if let last = extents.last, last.isZero == isZero {
                    extents[extents.count - 1].length += UInt64(next - position)
                } else {
                    extents.append(BlockExtent(length: UInt64(next - position), isHole: isZero, isZero: isZero))
                }
                position = next
            }
            return extents
        }
    }

    private func end(_ cookie: UInt64, _ error: UInt32, _ sink: any BlockCompletionSink) {
        if !self.delays { return sink.complete(cookie: cookie, error: error) }
        self.state.withLock { $0.waiting.append(Waiting(cookie: cookie, error: error, sink: sink)) }
        self.wake.signal()
    }

    private func completeInTheBackground() {
        var random = SeededRandom(seed: 5)
        while true {
            self.wake.wait()
            let (batch, isStopped) = self.state.withLock { state -> ([Waiting], Bool) in
                if state.isHolding { return ([], state.isStopped) }
                defer { state.waiting = [] }
                return (state.waiting, state.isStopped)
            }
            var left = batch
            let gathers = random.chance(perMille: 500)
            while !left.isEmpty {
                let next = left.remove(at: Int(random.below(UInt64(left.count))))
                if gathers {
                    next.sink.gather(cookie: next.cookie, error: next.error)
                } else {
                    next.sink.complete(cookie: next.cookie, error: next.error)
                }
            }
            if gathers { for request in batch { request.sink.deliver() } }
            if isStopped { return }
        }
    }
}

/// A running export with its socket in a temporary directory, stopped and removed with it.
final class TestExport {
    let device: MemoryDevice
    let server: NBDServer
    let socketPath: String
    let directory: String
    private let lines = LogLines()

    init(
        size: Int = 1 << 20, delays: Bool = false, name: String = "pgdata", limits: NBDLimits = NBDLimits()
    ) throws {
        self.directory = NSTemporaryDirectory() + "hf-nbd-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: self.directory, withIntermediateDirectories: true)
        self.socketPath = self.directory + "/nbd"
        self.device = MemoryDevice(size: size, delays: delays)
        let lines = self.lines
        self.server = try NBDServer(
            device: self.device, exportName: name, socketPath: self.socketPath, limits: limits,
            log: { lines.add($0) })
        self.server.start()
    }

    var log: [String] { self.lines.all }
    var uri: String { "nbd+unix:///?socket=\(self.socketPath)" }

    deinit {
        self.server.stop()
        self.device.stop()
        try? FileManager.default.removeItem(atPath: self.directory)
    }
}

private final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { self.lines.withLock { $0 } }
    func add(_ line: String) { self.lines.withLock { $0.append(line) } }
}
