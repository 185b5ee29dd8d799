import Basis
import Node

/// Delay, loss, duplication, reordering and cuts between nodes, each direction by itself.
struct SimulatedNetwork {
    var delayLow = Span(nanoseconds: 200_000)
    var delayHigh = Span.milliseconds(2)
    var lossPerMille: UInt64 = 0
    var duplicatePerMille: UInt64 = 0
    /// A bit for each direction of each pair.
    private var cuts: UInt64 = 0

    /// Messages are lost or doubled.
    var isBad: Bool { self.lossPerMille > 0 || self.duplicatePerMille > 0 }

    /// Something is cut, lost or doubled.
    var isBroken: Bool { self.isBad || self.cuts != 0 }

    private static func bit(_ from: NodeID, _ to: NodeID) -> UInt64 {
        1 << (UInt64(from.rawValue & 7) << 3 | UInt64(to.rawValue & 7))
    }

    mutating func cut(from: NodeID, to: NodeID) { self.cuts |= Self.bit(from, to) }

    mutating func healAll() {
        self.cuts = 0
        self.lossPerMille = 0
        self.duplicatePerMille = 0
        self.delayHigh = .milliseconds(2)
    }

    func isCut(from: NodeID, to: NodeID) -> Bool {
        self.cuts & Self.bit(from, to) != 0
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
    var boot: UInt64 = 0
    fileprivate var isTaken = false
}

/// All packets, by place. Used again and again, so that sending costs no memory; values, so that it counts no references.
struct PacketPool {
    private var packets: [Packet] = []
    private var free: [Int] = []

    subscript(place: Int) -> Packet {
        _read { yield self.packets[place] }
        _modify { yield &self.packets[place] }
    }

    /// An empty one with these addresses.
    mutating func take(from: SimulatedNode, to: SimulatedNode) -> Int {
        let place = self.take()
        self.packets[place].via = from.id
        self.packets[place].to = to.id
        self.packets[place].boot = to.boot
        return place
    }

    /// Another packet like this one.
    mutating func copy(_ place: Int) -> Int {
        let copy = self.take()
        self.packets[copy] = self.packets[place]
        return copy
    }

    private mutating func take() -> Int {
        let place: Int
        if self.free.isEmpty {
            place = self.packets.count
            self.packets.append(Packet())
        } else {
            place = self.free.removeLast()
        }
        self.packets[place].isTaken = true
        return place
    }

    mutating func giveBack(_ place: Int) {
        precondition(self.packets[place].isTaken, "a packet was given back twice")
        self.packets[place].isTaken = false
        self.packets[place].letters.drop()
        self.free.append(place)
    }
}
