import Basis
import Raft

/// Raft once more, by other means: what disks hold, what was said on the strength of it, and what follows. It does not
/// share a line with the core and knows no messages but promises; it is told what happens and finds what may not.
///
/// Source: Ongaro & Ousterhout, "In Search of an Understandable Consensus Algorithm", Figure 3.
struct RaftModel {
    /// What a disk holds, as far as this model knows.
    struct Durable: Equatable {
        var term = Term.zero
        var vote: NodeID?
        /// What the snapshot covers.
        var base = LogMark.zero
        /// The terms of the entries after it.
        var terms: [Term] = []

        var last: LogMark {
            self.terms.last.map { LogMark(term: $0, index: self.lastIndex) } ?? self.base
        }
        var lastIndex: LogIndex { LogIndex(self.base.index.rawValue + UInt64(self.terms.count)) }

        /// The term at an index that it holds.
        func term(at index: LogIndex) -> Term? {
            if index == self.base.index { return self.base.term }
            guard index > self.base.index, index <= self.lastIndex else { return nil }
            return self.terms[Int(index.rawValue - self.base.index.rawValue) - 1]
        }
    }

    /// What was seen of a node in its present life.
    struct Node {
        /// Nil while nobody can say: its machine was taken back, and only its next start shows what it holds.
        var durable: Durable? = Durable()
        /// A write that failed: its next start shows how much of it is there.
        var failed: PersistRequest?
        /// Its log was lost, exchanged or taken back: what its next start shows is what it holds.
        var isHarmed = true
        var term = Term.zero
        var ledTerm: Term?
        /// It was taken back and not seen since: what it leads it led then.
        var resumes = false
        var commit = LogIndex.zero
        var membership = Membership(voters: [])
    }

    struct Known {
        var entry: Entry
        /// The term before it; nil if only who was taken back has it.
        var previous: Term?
        /// A bit for each node that ever had it on its disk.
        var holders: UInt64 = 0
    }

    /// The first thing that may not be.
    private(set) var violation: String?
    /// How much was looked at: a model that sees nothing finds nothing.
    private(set) var promises: UInt64 = 0
    private(set) var elections: UInt64 = 0
    /// The terms of all that was ever committed, by index; the first place stands for index zero.
    var committed: [Term] = [.zero]
    /// The latest term in which something was committed by its leader.
    var committedIn = Term.zero
    var nodes: [Node] = []
    private var wereHarmed: Set<NodeID> = []
    var known: [LogMark: Known] = [:]
    /// For whom a node voted in a term, by its disk or, where a later term came before the vote was on it, by its word.
    var votes: [Ballot: NodeID] = [:]

    struct Ballot: Hashable {
        var term: Term
        var voter: NodeID
    }

    /// What is committed at an index.
    func entry(at index: LogIndex) -> Entry? {
        guard index <= self.committedIndex else { return nil }
        return self.known[LogMark(term: self.committed[Int(index.rawValue)], index: index)]?.entry
    }

    /// The highest index that is committed.
    var committedIndex: LogIndex { LogIndex(UInt64(self.committed.count - 1)) }

    mutating func place(_ node: NodeID) -> Int {
        let place = Int(node.rawValue) - 1
        while self.nodes.count <= place { self.nodes.append(Node()) }
        return place
    }

    mutating func fail(_ text: String) {
        if self.violation == nil { self.violation = "RaftModel \(text)" }
    }

    // MARK: Disks

    /// The log of this node was lost, damaged, exchanged or taken back; what it holds shows at its next start.
    mutating func harmed(_ node: NodeID) {
        let place = self.place(node)
        self.nodes[place].isHarmed = true
        self.nodes[place].durable = nil
        self.wereHarmed.insert(node)
    }

    /// The machine goes on from an earlier moment: what it knew it may know no more.
    mutating func takenBack(_ node: NodeID) {
        self.harmed(node)
        let place = self.place(node)
        self.nodes[place].term = .zero
        self.nodes[place].commit = .zero
        self.nodes[place].ledTerm = nil
        self.nodes[place].resumes = true
    }

    /// A daemon starts with this. LogStoreKeeps: what was durable is there, whatever was cut off in the middle of a write.
    mutating func restarted(_ node: NodeID, _ restored: RestoredState) {
        let place = self.place(node)
        var found = Durable(term: restored.hardState.term, vote: restored.hardState.votedFor)
        found.base = restored.snapshot?.mark ?? .zero
        for entry in restored.entries where entry.mark.index > found.base.index { found.terms.append(entry.mark.term) }
        self.settleFailed(node, place, found)
        if let before = self.nodes[place].durable, !self.nodes[place].isHarmed, found != before {
            self.fail(
                "LogStoreKeeps: \(node) starts with term \(found.term), vote \(Self.text(found.vote)), log to "
                    + "\(found.last); its disk held term \(before.term), vote \(Self.text(before.vote)), log to "
                    + "\(before.last)")
        }
        if self.nodes[place].isHarmed {
            var previous = found.base.term
            for entry in restored.entries where entry.mark.index > found.base.index {
                self.note(entry, after: previous, on: 1 << UInt64(place), node)
                previous = entry.mark.term
            }
        }
        self.nodes[place] = Node(durable: found, isHarmed: false)
        // The founding of the cluster is not watched: its log is where everything begins.
        if self.committed.count == 1 {
            for entry in restored.entries where entry.mark.index <= restored.hardState.commit {
                self.committed.append(entry.mark.term)
            }
        }
    }

    /// The disk or its power failed while this was written: nobody knows how much of it there is.
    mutating func failedToPersist(_ node: NodeID, _ request: PersistRequest) {
        self.nodes[self.place(node)].failed = request
    }

    /// What a write that failed left, if it left something: parts in the order in which they are written.
    private mutating func settleFailed(_ node: NodeID, _ place: Int, _ found: Durable) {
        guard let failed = self.nodes[place].failed, let before = self.nodes[place].durable, found != before else {
            return
        }
        for (hasState, hasSnapshot) in [(true, true), (true, false), (false, true), (false, false)] {
            for count in 0...failed.entries.count {
                var part = failed
                part.entries = Array(failed.entries.prefix(count))
                if !hasState { part.hardState = nil }
                if !hasSnapshot { part.snapshot = nil }
                var trial = self
                trial.persisted(node, part)
                // Entries of a later term than the state's show that this node is in it, and had no vote there. (Rule C8)
                if let durable = trial.nodes[place].durable, durable.last.term > durable.term {
                    trial.nodes[place].durable?.term = durable.last.term
                    trial.nodes[place].durable?.vote = nil
                }
                if trial.nodes[place].durable == found { return self = trial }
            }
        }
    }

    /// This is on the disk of the node from now on.
    mutating func persisted(_ node: NodeID, _ request: PersistRequest) {
        let place = self.place(node)
        let bit = UInt64(1) << UInt64(place)
        if let state = request.hardState, let vote = state.votedFor { self.vote(node, state.term, for: vote) }
        // Taken out, so that its terms are not copied for each entry; put back unless something is wrong.
        guard var durable = self.nodes[place].durable.take() else {
            for entry in request.entries { self.noteAgain(entry, on: bit) }
            return
        }
        if let state = request.hardState { self.write(state, to: &durable, node) }
        if let snapshot = request.snapshot { self.write(snapshot, to: &durable, node) }
        for entry in request.entries where entry.mark.index > durable.base.index {
            guard let previous = durable.term(at: entry.mark.index.previous) else {
                return self.fail("LogMatching: \(node) writes \(entry.mark) behind \(durable.last)")
            }
            self.cut(&durable, for: entry.mark, node)
            if entry.mark.index > durable.lastIndex { durable.terms.append(entry.mark.term) }
            self.note(entry, after: previous, on: bit, node)
        }
        self.nodes[place].durable = durable
    }

    /// VoteOnce: a node has one vote in a term. The first one counts, also if it was forgotten with the disk. (Rules C1, E2)
    private mutating func vote(_ node: NodeID, _ term: Term, for candidate: NodeID) {
        let ballot = Ballot(term: term, voter: node)
        if let before = self.votes[ballot] {
            guard before != candidate, self.durable(node) != nil, !self.wereHarmed.contains(node) else { return }
            self.fail("VoteOnce: \(node) votes for \(candidate) in \(term) after \(before)")
        } else {
            self.votes[ballot] = candidate
        }
    }

    /// A term never goes back, and has one vote. (Rule C1)
    private mutating func write(_ state: HardState, to durable: inout Durable, _ node: NodeID) {
        if state.term < durable.term { self.fail("TermMonotone: \(node) writes \(state.term) after \(durable.term)") }
        if state.term == durable.term, let vote = durable.vote, vote != state.votedFor {
            self.fail("VoteOnce: \(node) votes for \(Self.text(state.votedFor)) in \(state.term) after \(vote)")
        }
        durable.term = state.term
        durable.vote = state.votedFor
    }

    /// A snapshot holds only what is committed, and goes no way back. (Rule C4)
    private mutating func write(_ snapshot: Snapshot, to durable: inout Durable, _ node: NodeID) {
        let mark = snapshot.mark
        guard mark.index <= self.committedIndex, self.committed[Int(mark.index.rawValue)] == mark.term else {
            return self.fail("SnapshotCommitted: \(node) keeps a snapshot up to \(mark), which is not committed")
        }
        guard mark.index > durable.base.index else { return }
        let isHeld = durable.term(at: mark.index) == mark.term
        let rest = isHeld ? Int(durable.lastIndex.rawValue - mark.index.rawValue) : 0
        durable.terms = Array(durable.terms.suffix(rest))
        durable.base = mark
    }

    /// An entry takes the place of another one, which may not be committed. (Rule C3)
    private mutating func cut(_ durable: inout Durable, for mark: LogMark, _ node: NodeID) {
        guard let other = durable.term(at: mark.index), other != mark.term else { return }
        if mark.index <= self.committedIndex, self.committed[Int(mark.index.rawValue)] == other {
            self.fail("CommittedStays: \(node) replaces \(other)/\(mark.index), which is committed, by \(mark)")
        }
        durable.terms.removeLast(Int(durable.lastIndex.rawValue - mark.index.rawValue) + 1)
    }

    /// LogMatching: one mark, one entry, one past.
    private mutating func note(_ entry: Entry, after previous: Term, on bit: UInt64, _ node: NodeID) {
        guard var known = self.known[entry.mark] else {
            self.known[entry.mark] = Known(entry: entry, previous: previous, holders: bit)
            return
        }
        if known.entry != entry || known.previous.map({ $0 != previous }) ?? false {
            self.fail("LogMatching: \(node) has another entry or another past at \(entry.mark)")
        }
        guard known.holders & bit == 0 || known.previous == nil else { return }
        known.previous = previous
        known.holders |= bit
        self.known[entry.mark] = known
    }

    /// Who was taken back may give another entry a mark that it has given before; nobody else may come to hold it. (Rule E4)
    private mutating func noteAgain(_ entry: Entry, on bit: UInt64) {
        if let known = self.known[entry.mark], known.entry != entry, known.holders & ~bit != 0 { return }
        if self.known[entry.mark]?.entry == entry {
            self.known[entry.mark]?.holders |= bit
        } else {
            self.known[entry.mark] = Known(entry: entry, previous: nil, holders: bit)
        }
    }

    private static func text(_ node: NodeID?) -> String { node.map { "\($0)" } ?? "nobody" }
}

extension RaftModel {
    // MARK: Promises

    /// A message leaves the node. What rests on a disk must be on it.
    mutating func sent(_ node: NodeID, _ message: Message, to receiver: NodeID) {
        switch message.body {
        case .voteResponse(granted: true):
            guard let durable = self.durable(node) else { return }
            self.promises += 1
            // With a later term on the disk there is no other vote in this one any more.
            if durable.term < message.term || durable.term == message.term && durable.vote != receiver {
                self.fail("VoteDurable: \(node) tells \(receiver) of a vote in \(message.term) that its disk lacks")
            }
            self.vote(node, message.term, for: receiver)
        case .appendAccepted(let match):
            guard let durable = self.durable(node) else { return }
            self.promises += 1
            if durable.term == message.term, match > durable.lastIndex {
                self.fail("AcceptedDurable: \(node) says that it holds \(match), its disk ends at \(durable.last)")
            }
        default: return
        }
    }

    func durable(_ node: NodeID) -> Durable? {
        let place = Int(node.rawValue) - 1
        return self.nodes.indices.contains(place) ? self.nodes[place].durable : nil
    }

    static func bit(_ node: NodeID) -> UInt64 { 1 << UInt64(node.rawValue - 1) }

    // MARK: What nodes conclude

    /// Whether anything changed that the model looks at.
    func isNews(_ node: NodeID, _ term: Term, isLeader: Bool, _ commit: LogIndex) -> Bool {
        let place = Int(node.rawValue) - 1
        guard self.nodes.indices.contains(place) else { return true }
        return self.nodes[place].commit != commit || self.nodes[place].term != term
            || isLeader != (self.nodes[place].ledTerm == term)
    }

    /// How a node stands after a step. `term` gives the term of an entry that its log holds in memory.
    mutating func look(
        at node: NodeID, term: Term, isLeader: Bool, commit: LogIndex, membership: Membership,
        termAt shown: (LogIndex) -> Term?
    ) {
        let place = self.place(node)
        let durable = self.nodes[place].durable
        // What a leader made a snapshot of in this step is gone from its log, and on its disk still.
        // Who commits that it votes no more ends leading in that very step. (Rule C7)
        let mayCommit = isLeader || self.nodes[place].ledTerm == term
        func termAt(_ index: LogIndex) -> Term? { shown(index) ?? (mayCommit ? durable?.term(at: index) : nil) }
        let before = self.nodes[place].term
        if term < before { self.fail("TermMonotone: \(node) is in \(term) after \(before)") }
        self.nodes[place].term = term
        if isLeader, self.nodes[place].ledTerm != term, !self.nodes[place].resumes {
            self.elections += 1
            self.elected(node, term, membership, termAt)
        }
        self.nodes[place].resumes = false
        self.nodes[place].ledTerm = isLeader ? term : nil
        if commit > self.nodes[place].commit {
            self.committed(node, place, term, isLeader: mayCommit, commit, membership, termAt)
        }
        self.nodes[place].commit = commit
        self.nodes[place].membership = membership
    }

    /// ElectionSafety and LeaderCompleteness: a majority has this vote on its disk, and what is committed is in the log.
    private mutating func elected(
        _ node: NodeID, _ term: Term, _ membership: Membership, _ termAt: (LogIndex) -> Term?
    ) {
        let votes = self.votes
        let isFor = { (voter: NodeID) in votes[Ballot(term: term, voter: voter)] == node }
        if !membership.hasMajority(where: isFor) {
            let voters = membership.allVoters.filter(isFor)
            self.fail("ElectedByMajority: \(node) leads \(term) with the durable votes of \(voters) alone")
        }
        let last = self.committedIndex
        guard term > self.committedIn, last > .zero else { return }
        let held = termAt(last)
        // What lies below the begin of its log is in its snapshot.
        let isBelow = held == nil && (self.durable(node)?.base.index ?? .zero) >= last
        if !isBelow, held != self.committed[Int(last.rawValue)] {
            self.fail(
                "LeaderCompleteness: \(node) leads \(term) without \(self.committed[Int(last.rawValue)])/\(last), "
                    + "which is committed")
        }
    }

    /// A leader commits what a majority has on its disks, if it is of its own term; all others follow. (Rule C2)
    private mutating func committed(
        _ node: NodeID, _ place: Int, _ term: Term, isLeader: Bool, _ commit: LogIndex, _ membership: Membership,
        _ termAt: (LogIndex) -> Term?
    ) {
        if isLeader, commit > self.committedIndex {
            let own = LogMark(term: term, index: commit)
            if termAt(commit) != term {
                self.fail("CommitOwnTerm: \(node) leads \(term) and commits \(commit) of \(Self.text(termAt(commit)))")
            }
            let holders = self.known[own]?.holders ?? 0
            // A membership may have been appended in the very step that committed.
            let before = self.nodes[place].membership
            let isHeld = { (node: NodeID) in holders & Self.bit(node) != 0 }
            if !membership.hasMajority(where: isHeld), !before.hasMajority(where: isHeld) {
                self.fail("CommitByMajority: \(node) commits \(own), which only \(Self.list(holders)) have on disk")
            }
            self.committedIn = max(self.committedIn, term)
        } else if commit > self.committedIndex {
            return self.fail("CommitFollows: \(node) takes \(commit) for committed, which no leader has committed")
        }
        var index = self.nodes[place].commit.next
        while index <= commit {
            if let held = termAt(index) {
                if index > self.committedIndex {
                    self.committed.append(held)
                } else if self.committed[Int(index.rawValue)] != held {
                    return self.fail(
                        "StateMachineSafety: \(node) takes \(held)/\(index) for committed, which is "
                            + "\(self.committed[Int(index.rawValue)])/\(index)")
                }
            } else if index > self.committedIndex {
                return self.fail("CommitFollows: \(node) commits \(index) and has forgotten it")
            }
            index = index.next
        }
    }

    private static func text(_ term: Term?) -> String { term.map { "\($0)" } ?? "no term" }

    private static func list(_ mask: UInt64) -> String {
        (0..<64).filter { mask >> UInt64($0) & 1 != 0 }.map { "n\($0 + 1)" }.joined(separator: " ")
    }
}
