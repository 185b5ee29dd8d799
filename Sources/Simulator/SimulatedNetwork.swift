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

/// Messages that travel together. Used again and again, so that sending costs no memory.
final class Packet {
    fileprivate(set) var isUnderWay = false
    var letters: [Envelope] = []
    var via = NodeID(0)
    var to = NodeID(0)
    var boot: UInt64 = 0
}

/// Packets that are not under way.
struct PacketPool {
    private var free: [Packet] = []

    mutating func take() -> Packet {
        let packet = self.free.popLast() ?? Packet()
        packet.isUnderWay = true
        return packet
    }

    mutating func giveBack(_ packet: Packet) {
        precondition(packet.isUnderWay, "a packet was given back twice")
        packet.isUnderWay = false
        packet.letters.removeAll(keepingCapacity: true)
        self.free.append(packet)
    }
}
