import Basis

/// Delay, loss, duplication, reordering and cuts between nodes, each direction by itself.
struct SimulatedNetwork {
    var delayLow = Span(nanoseconds: 200_000)
    var delayHigh = Span.milliseconds(2)
    var lossPerMille: UInt64 = 0
    var duplicatePerMille: UInt64 = 0
    private var cuts: Set<[UInt32]> = []

    mutating func cut(from: NodeID, to: NodeID) { self.cuts.insert([from.rawValue, to.rawValue]) }

    mutating func healAll() {
        self.cuts.removeAll()
        self.lossPerMille = 0
        self.duplicatePerMille = 0
        self.delayHigh = .milliseconds(2)
    }

    func isCut(from: NodeID, to: NodeID) -> Bool {
        !self.cuts.isEmpty && self.cuts.contains([from.rawValue, to.rawValue])
    }

    func delay(_ random: inout SeededRandom) -> UInt64 {
        random.span(self.delayLow, self.delayHigh).nanoseconds
    }
}
