import Basis

/// A machine that was taken back to an earlier moment with its memory has an older copy, and a server that does not know it: its
/// marks and its numbers are those of then. What the two ends of a connection know of each other shows it before anything is
/// copied, in either direction. (Rule E4.2)
extension Volume {
    /// Takes what a frame says of those before it. False when the frame is not to be taken.
    mutating func hear(_ frame: Frame, from peer: NodeID, at now: Tick, into effects: inout Effects) -> Bool {
        guard let word = frame.word else { return true }
        var isHello = false
        if case .hello = frame.body { isHello = true }
        // What an end that was taken back does not know yet it learns from the first frame of the other one, and an owner sends
        // nothing before that.
        guard self.ledger.hear(word, from: peer) == .takenBack else { return true }
        self.takenBack(
            "\(peer) has heard more of this copy than the copy knows: its machine was taken back to an earlier moment",
            after: word.known, into: &effects)
        _ = self.ledger.hear(word, from: peer)
        if isHello { return true }
        // The next connection begins with what is known now.
        effects.append(.hangUp(peer, .inbound))
        return false
    }

    /// This copy lacks writes that it had. It is used no more before an owner has made it equal as a whole.
    mutating func takenBack(_ reason: String, after known: Frame.Word.Start = .none, into effects: inout Effects) {
        let wasInUse = self.isInUse
        self.dropOwner(into: &effects)
        self.replica.end(&effects)
        self.ledger.takenBack(after: known, into: &effects)
        effects.event(.takenBack(reason: reason))
        if wasInUse { effects.event(.failed(reason: reason)) }
    }
}
