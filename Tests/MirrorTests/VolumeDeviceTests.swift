import Basis
import Mirror
import Testing

/// Rule V3.1: what stands between the kernel and the volume server adds no promise and takes none away.
struct VolumeDeviceTests {
    typealias Effect = VolumeDevice.Effect
    typealias Operation = VolumeDevice.Operation

    /// A device with a clock in milliseconds.
    struct Bench {
        var device: VolumeDevice
        var now: UInt64 = 0

        init(tuning: VolumeDevice.Tuning = VolumeDevice.Tuning()) { self.device = VolumeDevice(tuning, at: .zero) }

        mutating func step(_ input: VolumeDevice.Input) -> [Effect] {
            var effects: [Effect] = []
            self.device.step(input, at: .zero + .milliseconds(self.now), into: &effects)
            return effects
        }

        mutating func request(_ id: UInt64, _ operation: Operation) -> [Effect] {
            self.step(.request(.init(id), operation))
        }

        mutating func answered(_ id: UInt64, _ code: UInt32 = 0, on connection: UInt64 = 1) -> [Effect] {
            self.step(.answered(.init(connection), .init(id), code == 0 ? nil : .init(code: code)))
        }

        /// Stands on its first connection.
        mutating func connect(_ connection: UInt64 = 1, size: UInt64 = 1 << 20) -> [Effect] {
            let asked = self.step(.tick)
            #expect(asked.last == .connect(.init(connection)))
            return self.step(.connected(.init(connection), sizeBytes: size))
        }

        mutating func wait(_ milliseconds: UInt64) -> [Effect] {
            self.now += milliseconds
            return self.step(.tick)
        }
    }

    static func write(_ offset: UInt64, _ length: UInt64 = 4096) -> Operation {
        .write(Extent(offset: offset, length: length), durable: false)
    }

    static func send(_ id: UInt64, _ operation: Operation) -> Effect { .send(.init(id), operation) }
    static func done(_ id: UInt64) -> Effect { .answer(.init(id), .done) }
    static func failed(_ id: UInt64, _ failure: VolumeDevice.Failure = .inputOutput) -> Effect {
        .answer(.init(id), .failed(failure))
    }

    @Test func `a request is answered when the server has answered it, and not before`() {
        var bench = Bench()
        #expect(bench.connect() == [.serve])
        #expect(bench.request(2, Self.write(0)) == [Self.send(2, Self.write(0))])
        #expect(bench.request(4, .flush) == [Self.send(4, .flush)])
        #expect(bench.wait(100_000).isEmpty)
        #expect(bench.answered(2) == [Self.done(2)])
        #expect(bench.answered(4, 28) == [Self.failed(4, .noSpace)])
        #expect(bench.request(6, .flush) == [Self.send(6, .flush)])
        // What the kernel could make nothing of is an I/O error.
        #expect(bench.answered(6, 77) == [Self.failed(6)])
        #expect(bench.device.waitingCount == 0)
    }

    @Test func `what is unanswered goes over the next connection in its order, ahead of what is new`() {
        var bench = Bench()
        _ = bench.connect()
        for id in [20, 8, 14, 2] as [UInt64] { _ = bench.request(id, Self.write(id * 4096)) }
        #expect(bench.answered(14) == [Self.done(14)])
        #expect(bench.step(.disconnected(.init(1))).isEmpty)
        #expect(bench.request(4, .flush).isEmpty)
        #expect(bench.wait(20) == [.connect(.init(2))])
        #expect(bench.request(6, Self.write(0)).isEmpty)
        let again = bench.step(.connected(.init(2), sizeBytes: 1 << 20))
        let writes = [20, 8, 2].map { Self.send($0, Self.write($0 * 4096)) }
        #expect(again == writes + [Self.send(4, .flush), Self.send(6, Self.write(0))])
        #expect(bench.request(10, .flush) == [Self.send(10, .flush)])
        #expect(bench.answered(8, on: 2) == [Self.done(8)])
    }

    @Test func `an answer of a connection that is over counts for nothing`() {
        var bench = Bench()
        _ = bench.connect()
        _ = bench.request(2, Self.write(0))
        _ = bench.step(.disconnected(.init(1)))
        #expect(bench.answered(2, on: 1).isEmpty)
        _ = bench.wait(20)
        _ = bench.step(.connected(.init(2), sizeBytes: 1 << 20))
        #expect(bench.answered(2, on: 1).isEmpty)
        #expect(bench.answered(2, on: 2) == [Self.done(2)])
        #expect(bench.answered(2, on: 2).isEmpty)
    }

    @Test func `requests wait for the whole dead time, then fail, and new ones at once until a server is there`() {
        var bench = Bench()
        _ = bench.connect()
        _ = bench.request(4, Self.write(0))
        _ = bench.step(.disconnected(.init(1)))
        _ = bench.request(2, .flush)
        #expect(bench.wait(20) == [.connect(.init(2))])
        bench.now = 29_999
        let late = bench.step(.disconnected(.init(2)))
        #expect(late.isEmpty && bench.device.waitingCount == 2)
        let over = bench.wait(1)
        #expect(over.filter { if case .answer = $0 { true } else { false } } == [Self.failed(4), Self.failed(2)])
        #expect(bench.request(6, .flush) == [Self.failed(6)])
        #expect(bench.device.waitingCount == 0 && bench.device.sizeBytes == 1 << 20)
        #expect(bench.wait(60_000) == [.connect(.init(3))])
        #expect(bench.step(.connected(.init(3), sizeBytes: 1 << 20)).isEmpty)
        #expect(bench.request(8, .flush) == [Self.send(8, .flush)])
    }

    @Test func `attempts come quickly at first and then four times a second`() {
        var bench = Bench()
        _ = bench.connect()
        _ = bench.step(.disconnected(.init(1)))
        var pauses: [UInt64] = []
        var last = bench.now
        for attempt in 2...8 as ClosedRange<UInt64> {
            bench.now = bench.device.wakeAt.since(.zero).milliseconds
            #expect(bench.step(.tick) == [.connect(.init(attempt))])
            pauses.append(bench.now - last)
            last = bench.now
            #expect(bench.step(.disconnected(.init(attempt))).isEmpty)
        }
        #expect(pauses == [20, 20, 40, 80, 160, 250, 250])
    }

    @Test func `a server that does not finish the handshake is left`() {
        var bench = Bench()
        #expect(bench.step(.tick) == [.connect(.init(1))])
        bench.now = 2999
        #expect(bench.step(.tick).isEmpty)
        #expect(
            bench.wait(1) == [.disconnect(.init(1), reason: "the volume server did not finish the handshake")])
        #expect(bench.step(.connected(.init(1), sizeBytes: 1 << 20)).isEmpty)
        #expect(bench.wait(20) == [.connect(.init(2))])
    }

    @Test func `without any server there is nothing to show`() {
        var bench = Bench()
        _ = bench.step(.tick)
        _ = bench.step(.disconnected(.init(1)))
        #expect(bench.wait(29_999).contains(.giveUp) == false)
        #expect(bench.wait(1).contains(.giveUp))
    }

    @Test func `a volume that has grown is larger from then on, and one that has shrunk is refused`() {
        var bench = Bench()
        _ = bench.connect()
        #expect(bench.request(2, Self.write(1 << 20)) == [Self.failed(2, .noSpace)])
        _ = bench.request(4, Self.write(0))
        _ = bench.step(.disconnected(.init(1)))
        _ = bench.wait(20)
        let smaller = bench.step(.connected(.init(2), sizeBytes: 1 << 19))
        guard case .disconnect(.init(2), _)? = smaller.first, smaller.count == 1 else {
            Issue.record("a smaller volume was taken: \(smaller)")
            return
        }
        #expect(bench.device.sizeBytes == 1 << 20 && bench.device.waitingCount == 1)
        #expect(bench.wait(20) == [.connect(.init(3))])
        let larger = bench.step(.connected(.init(3), sizeBytes: 1 << 21))
        #expect(larger.last == Self.send(4, Self.write(0)))
        #expect(bench.device.sizeBytes == 1 << 21)
        #expect(bench.request(6, Self.write(1 << 20)) == [Self.send(6, Self.write(1 << 20))])
    }

    @Test func `a read ends where the volume ends`() {
        var bench = Bench()
        _ = bench.connect(size: 10_000)
        func read(_ offset: UInt64, _ length: UInt64) -> Operation { .read(Extent(offset: offset, length: length)) }
        #expect(bench.request(2, read(8192, 4096)) == [Self.send(2, read(8192, 1808))])
        #expect(bench.request(4, read(10_000, 1)) == [Self.done(4)])
        #expect(bench.request(6, read(.max, .max)) == [Self.done(6)])
        #expect(bench.request(8, Self.write(.max, .max)) == [Self.failed(8, .noSpace)])
        #expect(bench.device.waitingCount == 1)
    }

    @Test func `a zeroing too large for one request goes part by part, and on from there after a new connection`() {
        var tuning = VolumeDevice.Tuning()
        tuning.zeroBytesMax = 400_000
        var bench = Bench(tuning: tuning)
        _ = bench.connect()
        func zero(_ offset: UInt64, _ length: UInt64) -> Operation {
            .zero(Extent(offset: offset, length: length), mayTrim: true)
        }
        #expect(bench.request(2, zero(0, 1_000_000)) == [Self.send(2, zero(0, 400_000))])
        #expect(bench.answered(2) == [Self.send(2, zero(400_000, 400_000))])
        _ = bench.step(.disconnected(.init(1)))
        _ = bench.wait(20)
        let again = bench.step(.connected(.init(2), sizeBytes: 1 << 20))
        #expect(again == [Self.send(2, zero(400_000, 400_000))])
        #expect(bench.answered(2, on: 2) == [Self.send(2, zero(800_000, 200_000))])
        #expect(bench.answered(2, on: 2) == [Self.done(2)])
    }

    @Test func `a server that is going away has answered nothing`() {
        var bench = Bench()
        _ = bench.connect()
        _ = bench.request(2, Self.write(0))
        #expect(
            bench.answered(2, 108) == [.disconnect(.init(1), reason: "the volume server is going away")])
        #expect(bench.device.waitingCount == 1)
        _ = bench.wait(20)
        #expect(bench.step(.connected(.init(2), sizeBytes: 1 << 20)) == [Self.send(2, Self.write(0))])
    }
}
