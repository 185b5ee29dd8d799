import Basis
import Raft

/// Which entries the log holds, without their payloads: the snapshot, the last entry, and where each term begins.
struct LogShape: Equatable {
    /// The snapshot in force; zero for none.
    var snapshot = LogMark.zero
    /// The last entry, or the snapshot's.
    var last = LogMark.zero
    /// The first entry of each run of one term, ascending.
    private var runs: [LogMark] = []

    init(snapshot: LogMark = .zero, last: LogMark = .zero) {
        self.snapshot = snapshot
        self.last = last
    }

    /// Whether this very entry is in the log or is the snapshot's last. (Raft §5.3, log matching)
    func holds(_ mark: LogMark) -> Bool {
        guard mark.index > self.snapshot.index, mark.index <= self.last.index else { return mark == self.snapshot }
        return self.runs.last { $0.index <= mark.index }?.term == mark.term
    }

    /// Adds an entry; those from its index on are gone.
    mutating func append(_ mark: LogMark) {
        while let run = self.runs.last, run.index >= mark.index { self.runs.removeLast() }
        if self.runs.last?.term != mark.term { self.runs.append(mark) }
        self.last = mark
    }

    /// Puts a snapshot in force; with `resets` nothing of the log stays. (Raft §7)
    mutating func take(snapshot mark: LogMark, resets: Bool) {
        if resets {
            self.runs = []
            self.last = mark
        } else {
            while self.runs.count > 1, self.runs[1].index <= mark.index.next { self.runs.removeFirst() }
        }
        self.snapshot = mark
    }
}
