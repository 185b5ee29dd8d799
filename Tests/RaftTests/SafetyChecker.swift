import Basis
import Raft

/// The five properties of Raft Figure 3, and two of ours, checked from outside after every step.
struct SafetyChecker {
    struct Violation: Error, CustomStringConvertible {
        let description: String
    }

    private struct Place: Hashable {
        var term: Term
        var index: LogIndex
    }

    private var leaders: [Term: NodeID] = [:]
    private var entries: [Place: (payload: Entry.Payload, before: Term?)] = [:]
    private var committed: [LogIndex: (entry: Entry, during: Term)] = [:]
    private var versions: [NodeID: UInt64] = [:]
    private var lengths: [NodeID: (term: Term, last: LogIndex)] = [:]
    private var commits: [NodeID: LogIndex] = [:]
    private var memberships: [NodeID: Membership] = [:]
    private(set) var highestCommitted: LogIndex = .zero
    var leaderTerms: Int { self.leaders.count }

    mutating func restarted(_ node: NodeID) {
        self.versions[node] = nil
        self.lengths[node] = nil
        self.commits[node] = nil
        self.memberships[node] = nil
    }

    mutating func check(_ node: TestNode, applied: [Entry], all: [TestNode]) throws {
        guard let core = node.core else { return }
        try self.checkLog(core)
        for entry in applied { try self.checkApplied(entry, by: core) }
        if core.isLeader {
            try self.checkLeader(core)
            try self.checkQuorum(core, all: all)
            self.lengths[core.id] = (core.term, core.lastIndex)
        } else {
            self.lengths[core.id] = nil
            self.commits[core.id] = nil
        }
        self.memberships[core.id] = core.membership
    }

    /// LogMatching: an index and a term name one entry, and everything before it.
    private mutating func checkLog(_ core: Consensus) throws {
        guard self.versions[core.id] != core.logVersion else { return }
        self.versions[core.id] = core.logVersion
        var before = core.entry(at: core.firstIndex) == nil ? nil : Term?.none
        for entry in core.entries(after: .zero) {
            let place = Place(term: entry.mark.term, index: entry.mark.index)
            if let known = self.entries[place] {
                let agree =
                    known.payload == entry.payload && (known.before == nil || before == nil || known.before == before)
                guard agree else {
                    throw Violation(description: "LogMatching: entry \(entry.mark) of \(core.id) has a double")
                }
                if known.before == nil { self.entries[place]?.before = before }
            } else {
                self.entries[place] = (entry.payload, before)
            }
            before = entry.mark.term
        }
    }

    /// StateMachineSafety: no two nodes apply different entries at an index.
    private mutating func checkApplied(_ entry: Entry, by core: Consensus) throws {
        if let known = self.committed[entry.mark.index] {
            guard known.entry == entry else {
                throw Violation(
                    description: "StateMachineSafety: \(core.id) applies \(entry), but \(known.entry) was applied")
            }
            return
        }
        self.committed[entry.mark.index] = (entry, core.term)
        self.highestCommitted = max(self.highestCommitted, entry.mark.index)
    }

    /// ElectionSafety, LeaderAppendOnly, LeaderCompleteness.
    private mutating func checkLeader(_ core: Consensus) throws {
        if let other = self.leaders[core.term] {
            guard other == core.id else {
                throw Violation(description: "ElectionSafety: \(other) and \(core.id) lead term \(core.term)")
            }
        } else {
            self.leaders[core.term] = core.id
            for (index, known) in self.committed where known.during < core.term && index >= core.firstIndex {
                guard core.entry(at: index) == known.entry else {
                    throw Violation(
                        description:
                            "LeaderCompleteness: \(core.id) leads term \(core.term) without \(known.entry.mark)")
                }
            }
        }
        if let length = self.lengths[core.id], length.term == core.term, length.last > core.lastIndex {
            throw Violation(description: "LeaderAppendOnly: \(core.id) cut its log in term \(core.term)")
        }
    }

    /// A leader commits only what the disks of a majority hold, counted the slow way. (Pitfall L11)
    private mutating func checkQuorum(_ core: Consensus, all: [TestNode]) throws {
        let before = self.commits[core.id]
        self.commits[core.id] = core.commitIndex
        guard let before, core.commitIndex > before, let entry = core.entry(at: core.commitIndex) else { return }
        let holders = Set(all.filter { $0.disk.holds(entry.mark) }.map(\.id))
        let now = core.membership.hasMajority { holders.contains($0) }
        let then = self.memberships[core.id]?.hasMajority { holders.contains($0) } ?? false
        guard now || then else {
            throw Violation(
                description:
                    "CommitNeedsMajority: \(core.id) commits \(entry.mark), durable only on \(holders.sorted())")
        }
    }
}
