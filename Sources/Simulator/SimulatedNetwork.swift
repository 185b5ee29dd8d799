import Basis

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
