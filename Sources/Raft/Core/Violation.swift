import Basis

/// Something that no peer can say while Raft's rules hold (rule E2.8): it, or this node, has lost or changed what it once
/// made durable.
///
/// The message is dropped and changes nothing here; whoever drives the core tells people, and listens to the peer no more.
public enum Violation: Error, Equatable, Sendable, CustomStringConvertible {
    /// The peer's log differs from this one at an index that is committed here: there are two histories.
    case otherHistory(theirs: LogMark, mine: LogMark)
    /// The peer's log ends before what it says is committed there, or lacks what is committed here.
    case committedBeyond(theirs: LogMark, last: LogMark)
    /// A second leader of one term.
    case secondLeader(term: Term, known: NodeID)
    /// The peer acknowledges entries that were never sent.
    case neverSent(match: LogIndex, last: LogIndex)
    /// The message contradicts itself.
    case malformed(String)

    /// What is wrong, in one sentence.
    public var description: String {
        switch self {
        case .otherHistory(let theirs, let mine):
            "its log has entry \(theirs) where entry \(mine) is committed here: there are two histories"
        case .committedBeyond(let theirs, let last):
            "it committed entry \(theirs), which the leader's log, that ends at \(last), does not hold"
        case .secondLeader(let term, let known): "it leads term \(term), in which \(known) leads"
        case .neverSent(let match, let last):
            "it acknowledges entry \(match), the leader's log ends at \(last)"
        case .malformed(let what): "its message contradicts itself: \(what)"
        }
    }
}

extension Consensus {
    /// No term and no index comes near it; what is above is refused, so that counting on never overflows.
    private static var highestNumber: UInt64 { 1 << 60 }

    /// What makes a message one that no correct peer sends; nil for all others. Looks before anything is changed.
    func violation(in message: Message, from sender: NodeID) -> Violation? {
        guard message.term.rawValue < Self.highestNumber else { return .malformed("term \(message.term)") }
        switch message.body {
        case .preVoteRequest(let requested, _), .preVoteResponse(let requested, _):
            return requested.rawValue < Self.highestNumber ? nil : .malformed("term \(requested)")
        case .append(let previous, let entries, _):
            guard message.term >= self.term else { return nil }
            return self.secondLeader(sender, in: message.term)
                ?? self.violation(in: entries, after: previous, term: message.term)
        case .heartbeat:
            return message.term == self.term ? self.secondLeader(sender, in: message.term) : nil
        case .snapshotChunk(let chunk):
            guard message.term >= self.term else { return nil }
            return self.secondLeader(sender, in: message.term) ?? self.violation(in: chunk, term: message.term)
        case .appendAccepted(let match):
            guard message.term == self.term, case .leader = self.state, match > self.log.last.index else { return nil }
            return .neverSent(match: match, last: self.log.last.index)
        case .appendRejected(let previous, let hint):
            guard message.term == self.term, case .leader = self.state else { return nil }
            guard hint.index > previous else { return nil }
            // Such a peer no longer holds `previous`, but a snapshot of what is committed, up to `hint`.
            if hint.index <= self.log.last.index, self.log.term(at: hint.index) ?? hint.term == hint.term { return nil }
            return .committedBeyond(theirs: hint, last: self.log.last)
        case .timeoutNow, .voteRequest, .voteResponse, .heartbeatResponse, .snapshotProgress, .readRequest,
            .readResponse, .outdated:
            return nil
        }
    }

    private func secondLeader(_ sender: NodeID, in term: Term) -> Violation? {
        guard term == self.term, let leader = self.leader, leader != sender else { return nil }
        return .secondLeader(term: term, known: leader)
    }

    /// Entries must follow one another; and what is committed here is in the log of every later leader. (Raft §5.4)
    private func violation(in entries: [Entry], after previous: LogMark, term: Term) -> Violation? {
        guard previous.index.rawValue < Self.highestNumber else { return .malformed("index \(previous.index)") }
        if previous.index <= self.commitIndex, let violation = self.conflict(at: previous) { return violation }
        var last = previous
        for entry in entries {
            guard entry.mark.index == last.index.next, entry.mark.term >= last.term else {
                return .malformed("entry \(entry.mark) follows \(last)")
            }
            last = entry.mark
            if last.index <= self.commitIndex, let violation = self.conflict(at: last) { return violation }
        }
        return last.term <= term ? nil : .malformed("entry \(last) in term \(term)")
    }

    private func violation(in chunk: Message.SnapshotChunk, term: Term) -> Violation? {
        guard chunk.mark.index.rawValue < Self.highestNumber, chunk.mark.term <= term,
            chunk.membershipIndex <= chunk.mark.index, chunk.mark.index > .zero
        else { return .malformed("snapshot \(chunk.mark), membership \(chunk.membershipIndex), term \(term)") }
        guard chunk.offset <= chunk.total, UInt64(chunk.bytes.count) <= chunk.total - chunk.offset else {
            return .malformed("\(chunk.bytes.count) bytes at \(chunk.offset) of a snapshot of \(chunk.total)")
        }
        return chunk.mark.index <= self.commitIndex ? self.conflict(at: chunk.mark) : nil
    }

    /// Compares an entry with the committed one of the same index, as far back as this log goes.
    private func conflict(at theirs: LogMark) -> Violation? {
        guard let term = self.log.term(at: theirs.index), term != theirs.term else { return nil }
        return .otherHistory(theirs: theirs, mine: LogMark(term: term, index: theirs.index))
    }
}
