import Basis

/// The log in memory: everything after `base`, and the memberships in force along it.
struct Log: Sendable {
    private struct Change: Sendable {
        var index: LogIndex
        var membership: Membership
    }

    /// The place just before the first entry held.
    private(set) var base: LogMark
    /// Grows with every change to the entries.
    private(set) var version: UInt64 = 0
    /// The entries after `base`.
    private var entries: [Entry] = []
    /// Never empty; the first one is in force at `base`, the last one now. (Raft §6: in force once appended)
    private var changes: [Change]

    /// Starts after a snapshot, or empty.
    init(snapshot: Snapshot?) {
        self.base = snapshot?.mark ?? .zero
        self.changes = [
            Change(
                index: snapshot?.membershipIndex ?? .zero,
                membership: snapshot?.membership ?? Membership(voters: []))
        ]
    }

    /// The last entry's place, or the base.
    var last: LogMark { self.entries.isEmpty ? self.base : self.entries[self.entries.count - 1].mark }
    /// The index of the first entry held, or of the one to come.
    var first: LogIndex { self.base.index.next }
    /// The latest membership in the log.
    var membership: Membership { self.changes[self.changes.count - 1].membership }
    /// Whether the node is a witness in it.
    func isWitness(_ node: NodeID) -> Bool { self.changes[self.changes.count - 1].membership.witnesses.contains(node) }
    /// The index of the entry that holds it.
    var membershipIndex: LogIndex { self.changes[self.changes.count - 1].index }

    private func position(of index: LogIndex) -> Int { Int(index.rawValue - self.base.index.rawValue) - 1 }

    /// The term at `index`; nil where the log begins later or ends before.
    func term(at index: LogIndex) -> Term? {
        if index == self.base.index { return self.base.term }
        guard index > self.base.index, index <= self.last.index else { return nil }
        return self.entries[self.position(of: index)].mark.term
    }

    /// The entry at `index`; nil where the log begins later or ends before.
    func entry(at index: LogIndex) -> Entry? {
        guard index > self.base.index, index <= self.last.index else { return nil }
        return self.entries[self.position(of: index)]
    }

    /// The entries in `(after, through]`, at least one if there is any, at most about `maximumBytes` of payload.
    func copy(after: LogIndex, through: LogIndex, maximumBytes: Int = .max) -> [Entry] {
        precondition(after >= self.base.index, "entries after \(after) asked of a log that begins at \(self.first)")
        let end = min(through, self.last.index)
        guard after < end else { return [] }
        let start = self.position(of: after.next)
        var stop = start
        var bytes = 0
        let limit = self.position(of: end) + 1
        if maximumBytes == .max {
            stop = limit
        } else {
            while stop < limit {
                bytes += self.entries[stop].payloadBytes
                if bytes > maximumBytes, stop > start { break }
                stop += 1
            }
        }
        return Array(self.entries[start..<stop])
    }

    /// Payload bytes in `(after, last]`.
    func payloadBytes(after: LogIndex) -> Int {
        guard after < self.last.index else { return 0 }
        var bytes = 0
        for position in self.position(of: max(after, self.base.index).next)..<self.entries.count {
            bytes += self.entries[position].payloadBytes
        }
        return bytes
    }

    /// The last place at or before `index` whose term is at most `term`; nil when it lies before the log.
    func lastMark(atOrBefore index: LogIndex, term: Term) -> LogMark? {
        guard index >= self.base.index, self.base.term <= term else { return nil }
        var low = 0
        var high =
            min(index, self.last.index) == self.base.index ? 0 : self.position(of: min(index, self.last.index)) + 1
        while low < high {
            let middle = (low + high) / 2
            if self.entries[middle].mark.term <= term { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? self.base : self.entries[low - 1].mark
    }

    /// The membership in force at `index` and where it was set.
    func membership(at index: LogIndex) -> (membership: Membership, index: LogIndex) {
        var found = self.changes[0]
        for change in self.changes where change.index <= index { found = change }
        return (found.membership, found.index)
    }

    /// Puts an entry at the end.
    mutating func append(_ entry: Entry) {
        precondition(
            entry.mark.index == self.last.index.next && entry.mark.term >= self.last.term,
            "entry \(entry.mark) cannot follow \(self.last)")
        self.entries.append(entry)
        if case .membership(let membership) = entry.payload {
            self.changes.append(Change(index: entry.mark.index, membership: membership))
        }
        self.version += 1
    }

    /// Cuts off everything from `index` on; memberships set there are no longer in force. (Pitfall L15)
    mutating func truncate(from index: LogIndex) {
        precondition(index > self.base.index, "cut at \(index) before the log's begin \(self.first)")
        guard index <= self.last.index else { return }
        self.entries.removeLast(self.entries.count - self.position(of: index))
        while self.changes.count > 1, self.changes[self.changes.count - 1].index >= index { self.changes.removeLast() }
        self.version += 1
    }

    /// Forgets the entries up to and including `index`.
    mutating func compact(through index: LogIndex) {
        guard index > self.base.index, let term = self.term(at: index) else { return }
        self.entries.removeFirst(self.position(of: index) + 1)
        self.base = LogMark(term: term, index: index)
        while self.changes.count > 1, self.changes[1].index <= index { self.changes.removeFirst() }
    }

    /// Replaces everything by a snapshot.
    mutating func replace(by snapshot: Snapshot) {
        let version = self.version
        self = Log(snapshot: snapshot)
        self.version = version + 1
    }
}
