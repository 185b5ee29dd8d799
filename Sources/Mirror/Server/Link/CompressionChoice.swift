import Basis

/// Whether a link's next batch is worth compressing: where the link takes longer for the bytes that compression saves
/// than the processor takes to save them. It learns the ratio and the speed from what was compressed, and from a sample
/// now and then where nothing is.
struct CompressionChoice: Sendable {
    enum Decision: Equatable, Sendable {
        /// Send as it is.
        case plain
        /// Try `sampleBytes` of it, say how that went, and look whether it `pays`.
        case sample
        /// Compress, and say how that went.
        case compress
    }

    static let sampleBytes = 64 << 10
    /// A batch that the link carries within this time is left alone, unless it is large.
    private static let shortSeconds = 50e-6
    private static let largeBytes = 64 << 10
    /// Samples may cost one part in so many of the link's time.
    private static let sampleShare = 64.0
    /// How much of the link's time must be saved, to begin and to go on.
    private static let gainToBegin = 0.25
    private static let gainToGoOn = 0.1

    /// Compressed to plain size, a moving average; nil before the first try.
    private(set) var ratio: Double?
    /// Plain bytes that compression takes in a second.
    private var speed = 400e6
    /// What the link carried in a second, lately; the highest counts, for a link that is not full looks slow.
    private var rates: [Double] = []
    private var nextRate = 0
    private var isCompressing = false
    private var bytesSinceSample = 0.0

    /// The link's estimated rate in bytes a second; slow until more is known.
    var rate: Double { self.rates.max() ?? 50e6 }

    /// What to do with a batch of so many bytes.
    mutating func decide(batchBytes: Int) -> Decision {
        let rate = self.rate
        self.bytesSinceSample += Double(batchBytes)
        guard batchBytes >= Self.largeBytes || Double(batchBytes) / rate >= Self.shortSeconds else { return .plain }
        if self.pays() { return .compress }
        let cost = Double(Self.sampleBytes) / self.speed
        guard self.ratio == nil || self.bytesSinceSample / rate >= cost * Self.sampleShare else { return .plain }
        self.bytesSinceSample = 0
        return .sample
    }

    /// Whether compression saves time now; false before the first try.
    mutating func pays() -> Bool {
        guard let ratio = self.ratio else { return false }
        let gain = 1 - ratio - self.rate / self.speed
        self.isCompressing = gain >= (self.isCompressing ? Self.gainToGoOn : Self.gainToBegin)
        return self.isCompressing
    }

    /// So many bytes became so many in so long.
    mutating func tried(bytes: Int, compressed: Int, nanoseconds: UInt64) {
        guard bytes > 0 else { return }
        let ratio = Double(compressed) / Double(bytes)
        // Data changes more often than the processor's speed.
        self.ratio = self.ratio.map { $0 + (ratio - $0) / 4 } ?? ratio
        let speed = Double(bytes) / (Double(max(nanoseconds, 1)) / 1e9)
        self.speed += (min(speed, 8e9) - self.speed) / 16
    }

    /// What the other end lately confirmed in a second; zero is no news.
    mutating func delivered(bytesPerSecond: UInt64) {
        guard bytesPerSecond > 0 else { return }
        if self.rates.count < 8 {
            self.rates.append(Double(bytesPerSecond))
        } else {
            self.rates[self.nextRate] = Double(bytesPerSecond)
            self.nextRate = (self.nextRate + 1) % self.rates.count
        }
    }
}
