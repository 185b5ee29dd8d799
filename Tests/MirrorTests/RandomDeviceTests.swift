import Basis
import Mirror
import Testing

/// A kernel, a volume server that is killed at random, and the device between them. (Rule V3.1)
struct RandomDeviceTests {
    struct World {
        struct Asked {
            let operation: VolumeDevice.Operation
            let place: UInt64
            /// What a write stores; blocks and values that a flush vouches for.
            var value: UInt64 = 0
            var covered: [Int: UInt64] = [:]
        }

        static let blocks = 64
        static let deadTime = Span.milliseconds(300)
        var random: SeededRandom
        var device: VolumeDevice
        var now = Tick.zero
        // The kernel.
        var asked: [VolumeDevice.RequestID: Asked] = [:]
        var busy: Set<Int> = []
        /// The last value that was completed; nil where a write failed, or is under way.
        var completed: [UInt64?] = Array(repeating: 0, count: blocks)
        var lastID: UInt64 = 0
        var values: UInt64 = 0
        // The server. What it has written outlives it, since it is killed, not its machine.
        var content: [UInt64] = Array(repeating: 0, count: blocks)
        var stable: [UInt64] = Array(repeating: 0, count: blocks)
        var arrived: [VolumeDevice.RequestID] = []
        var replies: [(VolumeDevice.ConnectionID, VolumeDevice.RequestID)] = []
        var stale: [(VolumeDevice.ConnectionID, VolumeDevice.RequestID)] = []
        var dialled: VolumeDevice.ConnectionID?
        var standing: VolumeDevice.ConnectionID?
        var lostAt = Tick.zero
        /// The answer that the device is told of in this step, and whether it may answer by itself.
        var told: VolumeDevice.RequestID?
        var counts: [String: Int] = [:]

        init(seed: UInt64) {
            self.random = SeededRandom(seed: seed)
            var tuning = VolumeDevice.Tuning()
            tuning.deadTime = Self.deadTime
            self.device = VolumeDevice(tuning, at: .zero)
        }

        mutating func step(_ input: VolumeDevice.Input) {
            var effects: [VolumeDevice.Effect] = []
            self.device.step(input, at: self.now, into: &effects)
            var sent: [UInt64] = []
            for effect in effects {
                switch effect {
                case .connect(let id): self.dialled = id
                case .disconnect: self.dialled = nil
                case .send(let id, _):
                    #expect(self.standing != nil, "sent without a connection")
                    #expect(!self.arrived.contains(id), "sent twice over one connection")
                    guard let asked = self.asked[id] else {
                        Issue.record("sent again after its answer")
                        continue
                    }
                    sent.append(asked.place)
                    self.arrived.append(id)
                case .answer(let id, let outcome): self.answered(id, outcome)
                case .serve, .note, .giveUp: break
                }
            }
            #expect(sent == sent.sorted(), "out of order")
            if case .connected = input, self.standing != nil {
                #expect(sent == self.asked.values.map(\.place).sorted(), "not all was sent again")
            }
            #expect(self.device.waitingCount == self.asked.count)
            if self.standing == nil, self.now >= self.lostAt + Self.deadTime {
                #expect(self.asked.isEmpty, "waits beyond the dead time")
            }
        }

        mutating func answered(_ id: VolumeDevice.RequestID, _ outcome: VolumeDevice.Outcome) {
            guard let asked = self.asked.removeValue(forKey: id) else {
                Issue.record("answered twice")
                return
            }
            let block = self.block(of: asked.operation)
            if let block { self.busy.remove(block) }
            guard outcome == .done else {
                self.counts["failed", default: 0] += 1
                #expect(self.standing == nil && self.now >= self.lostAt + Self.deadTime, "failed too early")
                return
            }
            #expect(self.told == id, "answered before the server did")
            switch asked.operation {
            case .write, .zero:
                if let block { self.completed[block] = asked.value }
                self.counts["writes", default: 0] += 1
            case .flush:
                for (block, value) in asked.covered where self.content[block] == value {
                    #expect(self.stable[block] == value, "a flush without its writes")
                }
                self.counts["flushes", default: 0] += 1
            case .read: break
            }
        }

        func block(of operation: VolumeDevice.Operation) -> Int? {
            switch operation {
            case .write(let extent, _), .zero(let extent, _): Int(extent.offset / 4096)
            case .read, .flush: nil
            }
        }

        mutating func ask() {
            self.lastID += 1 + self.random.below(5)
            let block = Int(self.random.below(UInt64(Self.blocks)))
            let extent = Extent(offset: UInt64(block) * 4096, length: 4096)
            var asked = Asked(operation: .flush, place: self.lastID)
            switch self.random.below(4) {
            case 0:
                for block in self.completed.indices { asked.covered[block] = self.completed[block] }
            case 1: asked = Asked(operation: .read(extent), place: self.lastID)
            default:
                // The kernel writes a block once at a time.
                guard !self.busy.contains(block) else { return }
                self.busy.insert(block)
                self.completed[block] = nil
                self.values += 1
                let isZero = self.random.below(4) == 0
                asked = Asked(
                    operation: isZero ? .zero(extent, mayTrim: true) : .write(extent, durable: false),
                    place: self.lastID, value: self.values)
            }
            // Numbers do not tell the order.
            let id = VolumeDevice.RequestID(self.lastID ^ 0x55)
            self.asked[id] = asked
            self.step(.request(id, asked.operation))
        }

        /// The server does one of the requests that have arrived, in no order.
        mutating func work() {
            guard !self.arrived.isEmpty, let standing = self.standing else { return }
            let id = self.arrived.remove(at: Int(self.random.below(UInt64(self.arrived.count))))
            guard let asked = self.asked[id] else { return }
            if let block = self.block(of: asked.operation) { self.content[block] = asked.value }
            if asked.operation == .flush { self.stable = self.content }
            self.replies.append((standing, id))
        }

        mutating func reply() {
            if !self.stale.isEmpty, self.random.below(3) == 0 {
                let (connection, id) = self.stale.removeFirst()
                return self.step(.answered(connection, id, nil))
            }
            guard !self.replies.isEmpty else { return }
            let (connection, id) = self.replies.removeFirst()
            self.told = id
            self.step(.answered(connection, id, nil))
            self.told = nil
        }

        mutating func die() {
            guard let standing = self.standing else { return }
            self.standing = nil
            self.lostAt = self.now
            self.arrived = []
            self.stale += self.replies
            self.replies = []
            self.counts["deaths", default: 0] += 1
            self.step(.disconnected(standing))
        }

        mutating func accept() {
            guard let dialled = self.dialled else { return }
            self.dialled = nil
            if self.random.below(3) == 0 { return self.step(.disconnected(dialled)) }
            self.standing = dialled
            self.step(.connected(dialled, sizeBytes: UInt64(Self.blocks) * 4096))
        }

        mutating func run(_ steps: Int) {
            self.step(.tick)
            while self.standing == nil {
                self.accept()
                self.now = self.now + .milliseconds(20)
                self.step(.tick)
            }
            for _ in 0..<steps {
                switch self.random.below(100) {
                case 0..<20: self.ask()
                case 20..<50: self.work()
                case 50..<80: self.reply()
                case 80: self.die()
                case 81..<91: self.accept()
                default:
                    self.now = self.now + .milliseconds(self.random.below(20))
                    self.step(.tick)
                }
            }
        }
    }

    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func `whatever happens to the server, the kernel is told what is so`(seed: UInt64) {
        var world = World(seed: seed)
        world.run(4000)
        let counts = world.counts
        #expect(counts["writes", default: 0] > 50 && counts["deaths", default: 0] > 5, "\(counts)")
    }
}
