import Basis
import Cluster

/// Delay, loss, duplication, reordering and cuts between nodes, each direction by itself.
struct SimulatedNetwork {
    var delayLow = Span(nanoseconds: 200_000)
    var delayHigh = Span.milliseconds(2)
    var lossPerMille: UInt64 = 0
    var duplicatePerMille: UInt64 = 0
    /// What each direction of each connection carries; nil for anything.
    var bytesPerSecond: UInt64?
    /// For each direction when what was sent so far has left.
    private var free: [UInt64] = []
    /// For each sender a bit for each receiver that it is cut off from.
    private var cuts = [UInt64](repeating: 0, count: Self.idsMaximum)
    private var isAnyCut = false
    /// Ids of nodes are lower than this.
    static let idsMaximum = 64

    /// Messages are lost or doubled.
    var isBad: Bool { self.lossPerMille > 0 || self.duplicatePerMille > 0 }

    /// Something is cut, lost or doubled.
    var isBroken: Bool { self.isBad || self.isAnyCut || self.bytesPerSecond != nil }

    mutating func cut(from: NodeID, to: NodeID) {
        self.cuts[Int(from.rawValue)] |= 1 << UInt64(to.rawValue)
        self.isAnyCut = true
    }

    mutating func healAll() {
        if self.isAnyCut {
            for place in self.cuts.indices { self.cuts[place] = 0 }
            self.isAnyCut = false
        }
        self.lossPerMille = 0
        self.duplicatePerMille = 0
        self.delayHigh = .milliseconds(2)
        if self.bytesPerSecond != nil {
            self.bytesPerSecond = nil
            self.free.removeAll(keepingCapacity: true)
        }
    }

    /// How long this many bytes wait and take; daemons and volume servers have connections of their own.
    mutating func wait(_ bytes: UInt64, from: NodeID, to: NodeID, isVolume: Bool, at now: UInt64) -> UInt64 {
        guard let bytesPerSecond else { return 0 }
        let pair = Int(from.rawValue) * Self.idsMaximum + Int(to.rawValue)
        let place = pair * 2 + (isVolume ? 1 : 0)
        if self.free.isEmpty {
            self.free = [UInt64](repeating: 0, count: Self.idsMaximum * Self.idsMaximum * 2)
        }
        self.free[place] = max(self.free[place], now) + bytes * 1_000_000_000 / bytesPerSecond
        return self.free[place] - now
    }

    func isCut(from: NodeID, to: NodeID) -> Bool {
        self.isAnyCut && self.cuts[Int(from.rawValue)] >> UInt64(to.rawValue) & 1 == 1
    }

    func delay(_ random: inout SeededRandom) -> UInt64 {
        random.span(self.delayLow, self.delayHigh).nanoseconds
    }
}

/// Messages that travel together.
struct Packet {
    var letters: [Envelope] = []
    var via = NodeID(0)
    var to = NodeID(0)
    /// The run of the receiver that it is for.
    var boot: UInt64 = 0
    /// It waited at its sender until its receiver was there again.
    static let anyBoot = UInt64.max
    fileprivate var isTaken = false
    /// The free packet behind this one.
    fileprivate var next = -1
}

/// All packets, by place. Used again and again, so that sending costs no memory; in memory of its own, because an array
/// makes sure at each change that it is not shared.
struct PacketPool: ~Copyable {
    private var packets = UnsafeMutablePointer<Packet>.allocate(capacity: 0)
    private var count = 0
    private var firstFree = -1

    deinit {
        self.packets.deinitialize(count: self.count)
        self.packets.deallocate()
    }

    subscript(place: Int) -> Packet {
        _read { yield self.packets[place] }
        _modify { yield &self.packets[place] }
    }

    /// An empty one with these addresses.
    mutating func take(from: NodeID, to: NodeID, boot: UInt64) -> Int {
        if self.firstFree < 0 { self.grow() }
        let place = self.firstFree
        self.firstFree = self.packets[place].next
        self.packets[place].isTaken = true
        self.packets[place].via = from
        self.packets[place].to = to
        self.packets[place].boot = boot
        return place
    }

    /// A packet like this one, with these letters.
    mutating func copy(_ place: Int, with letters: [Envelope]) -> Int {
        let copy = self.take(from: self.packets[place].via, to: self.packets[place].to, boot: self.packets[place].boot)
        self.packets[copy].letters = letters
        return copy
    }

    mutating func giveBack(_ place: Int) {
        precondition(self.packets[place].isTaken, "a packet was given back twice")
        self.packets[place].isTaken = false
        self.packets[place].letters.drop()
        self.packets[place].next = self.firstFree
        self.firstFree = place
    }

    private mutating func grow() {
        let more = max(self.count, 64)
        let larger = UnsafeMutablePointer<Packet>.allocate(capacity: self.count + more)
        larger.moveInitialize(from: self.packets, count: self.count)
        self.packets.deallocate()
        self.packets = larger
        for place in self.count..<(self.count + more) {
            (larger + place).initialize(to: Packet())
            larger[place].next = self.firstFree
            self.firstFree = place
        }
        self.count += more
    }
}
