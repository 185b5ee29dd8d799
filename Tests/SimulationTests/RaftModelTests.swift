import Basis
import Raft
import Testing

@testable import Simulator

/// The model that the simulator compares Raft with: each of its checks is shown something that may not be.
@Suite struct RaftModelTests {
    private static let nodes = [NodeID(1), NodeID(2), NodeID(3)]
    private static let membership = Membership(voters: nodes)

    private static func mark(_ term: UInt64, _ index: UInt64) -> LogMark {
        LogMark(term: Term(term), index: LogIndex(index))
    }

    private static func entry(_ term: UInt64, _ index: UInt64, _ text: UInt8 = 0) -> Entry {
        Entry(mark: Self.mark(term, index), payload: .command([text]))
    }

    private static func state(_ term: UInt64, vote: UInt32?, commit: UInt64 = 0) -> HardState {
        HardState(term: Term(term), votedFor: vote.map { NodeID($0) }, commit: LogIndex(commit))
    }

    private static func request(
        _ state: HardState? = nil, _ entries: [Entry] = [], snapshot: Snapshot? = nil
    ) -> PersistRequest {
        PersistRequest(sequence: 1, snapshot: snapshot, entries: entries, hardState: state)
    }

    /// Three nodes that begin with one committed entry of term 1; n1 was elected in term 2 by n1 and n2, has appended one
    /// entry, and committed it with n2.
    private struct Cluster {
        var model = RaftModel()

        init() {
            let begin = RestoredState(
                hardState: RaftModelTests.state(1, vote: nil, commit: 1), entries: [RaftModelTests.entry(1, 1)])
            for node in RaftModelTests.nodes { self.model.restarted(node, begin) }
            self.vote(1, term: 2, of: [1, 2])
            self.look(1, term: 2, isLeader: true, commit: 1, log: [1])
            self.append(RaftModelTests.entry(2, 2), to: [1, 2])
            self.look(1, term: 2, isLeader: true, commit: 2, log: [1, 2])
        }

        mutating func vote(_ candidate: UInt32, term: UInt64, of voters: [UInt32]) {
            for voter in voters {
                let request = RaftModelTests.request(RaftModelTests.state(term, vote: candidate))
                self.model.persisted(NodeID(voter), request)
            }
        }

        mutating func append(_ entry: Entry, to holders: [UInt32]) {
            for holder in holders { self.model.persisted(NodeID(holder), RaftModelTests.request(nil, [entry])) }
        }

        /// `log`: the terms of its entries.
        mutating func look(_ node: UInt32, term: UInt64, isLeader: Bool, commit: UInt64, log: [UInt64]) {
            self.model.look(
                at: NodeID(node), term: Term(term), isLeader: isLeader, commit: LogIndex(commit),
                membership: RaftModelTests.membership
            ) { index in
                let place = Int(index.rawValue) - 1
                return log.indices.contains(place) ? Term(log[place]) : nil
            }
        }
    }

    private func expect(_ check: String, _ change: (inout Cluster) -> Void, line: Int = #line) {
        var cluster = Cluster()
        #expect(cluster.model.violation == nil)
        change(&cluster)
        let location = SourceLocation(fileID: #fileID, filePath: #filePath, line: line, column: 1)
        #expect(cluster.model.violation?.hasPrefix("RaftModel \(check): ") == true, sourceLocation: location)
    }

    @Test func `an election, an entry and its commit are as they should be`() {
        var cluster = Cluster()
        cluster.model.sent(NodeID(2), Message(term: Term(2), body: .voteResponse(granted: true)), to: NodeID(1))
        cluster.model.sent(NodeID(2), Message(term: Term(2), body: .appendAccepted(match: LogIndex(2))), to: NodeID(1))
        cluster.look(2, term: 2, isLeader: false, commit: 2, log: [1, 2])
        #expect(cluster.model.violation == nil)
        #expect(cluster.model.committedIndex == LogIndex(2))
        #expect(cluster.model.promises == 2)
        #expect(cluster.model.elections == 1)
    }

    @Test func `a vote that is not on the disk may not leave`() {
        self.expect("VoteDurable") {
            $0.model.sent(NodeID(3), Message(term: Term(3), body: .voteResponse(granted: true)), to: NodeID(2))
        }
    }

    @Test func `what is not on the disk may not be acknowledged`() {
        self.expect("AcceptedDurable") {
            $0.model.persisted(NodeID(3), Self.request(Self.state(2, vote: nil)))
            $0.model.sent(
                NodeID(3), Message(term: Term(2), body: .appendAccepted(match: LogIndex(2))), to: NodeID(1))
        }
    }

    @Test func `a suspicion that is not on the disk may not be reported (L5)`() {
        var cluster = Cluster()
        cluster.model.reported(NodeID(2), Self.mark(2, 2))
        #expect(cluster.model.violation == nil)
        self.expect("ReportDurable") { $0.model.reported(NodeID(3), Self.mark(2, 2)) }
        self.expect("ReportDurable") { $0.model.reported(NodeID(2), Self.mark(3, 2)) }
    }

    @Test func `nobody votes twice in a term`() {
        self.expect("VoteOnce") { $0.vote(3, term: 2, of: [2]) }
        self.expect("VoteOnce") { $0.model.persisted(NodeID(2), Self.request(Self.state(2, vote: nil))) }
    }

    @Test func `a term never goes back`() {
        self.expect("TermMonotone") { $0.model.persisted(NodeID(2), Self.request(Self.state(1, vote: nil))) }
        self.expect("TermMonotone") { $0.look(1, term: 1, isLeader: false, commit: 2, log: [1, 2]) }
    }

    @Test func `a leader has the durable votes of a majority`() {
        self.expect("ElectedByMajority") {
            $0.vote(2, term: 3, of: [2])
            $0.look(2, term: 3, isLeader: true, commit: 1, log: [1, 2])
        }
    }

    @Test func `a leader has all that was committed before its term`() {
        self.expect("LeaderCompleteness") {
            $0.vote(3, term: 3, of: [2, 3])
            $0.look(3, term: 3, isLeader: true, commit: 1, log: [1])
        }
    }

    @Test func `only what a majority has on its disks is committed`() {
        self.expect("CommitByMajority") {
            $0.append(Self.entry(2, 3), to: [1])
            $0.look(1, term: 2, isLeader: true, commit: 3, log: [1, 2, 2])
        }
    }

    @Test func `a leader commits by counting only in its own term`() {
        self.expect("CommitOwnTerm") {
            $0.append(Self.entry(2, 3), to: [1])
            $0.vote(1, term: 3, of: [1, 2])
            $0.look(1, term: 3, isLeader: true, commit: 2, log: [1, 2, 2])
            $0.append(Self.entry(2, 3), to: [2])
            $0.look(1, term: 3, isLeader: true, commit: 3, log: [1, 2, 2])
        }
    }

    @Test func `a follower commits nothing that no leader has committed`() {
        self.expect("CommitFollows") { $0.look(2, term: 2, isLeader: false, commit: 3, log: [1, 2, 2]) }
        self.expect("StateMachineSafety") { $0.look(3, term: 2, isLeader: false, commit: 2, log: [1, 1]) }
    }

    @Test func `a leader commits in the very step in which it ends leading, and not later`() {
        var cluster = Cluster()
        cluster.append(Self.entry(2, 3), to: [1, 2])
        cluster.look(1, term: 2, isLeader: false, commit: 3, log: [1, 2, 2])
        #expect(cluster.model.violation == nil)
        cluster.append(Self.entry(2, 4), to: [1, 2])
        cluster.look(1, term: 2, isLeader: false, commit: 4, log: [1, 2, 2, 2])
        #expect(cluster.model.violation?.contains("CommitFollows") == true)
    }

    @Test func `one mark is one entry with one past`() {
        self.expect("LogMatching") { $0.append(Self.entry(2, 2, 7), to: [3]) }
        self.expect("LogMatching") {
            $0.append(Self.entry(1, 2), to: [3])
            $0.append(Self.entry(2, 3), to: [1])
            $0.append(Self.entry(2, 3), to: [3])
        }
        self.expect("LogMatching") { $0.append(Self.entry(2, 4), to: [3]) }
    }

    @Test func `what is committed is not replaced`() {
        self.expect("CommittedStays") { $0.append(Self.entry(3, 2), to: [2]) }
    }

    @Test func `a snapshot holds only what is committed`() {
        let snapshot = Snapshot(
            mark: Self.mark(2, 3), membership: Self.membership, membershipIndex: LogIndex(1), data: [])
        self.expect("SnapshotCommitted") {
            $0.append(Self.entry(2, 3), to: [1])
            $0.model.persisted(NodeID(1), Self.request(snapshot: snapshot))
        }
    }

    @Test func `what was durable is there at the next start, unless the disk was harmed`() {
        let less = RestoredState(hardState: Self.state(2, vote: 1), entries: [Self.entry(1, 1)])
        self.expect("LogStoreKeeps") { $0.model.restarted(NodeID(2), less) }
        let forgetful = RestoredState(
            hardState: Self.state(2, vote: nil), entries: [Self.entry(1, 1), Self.entry(2, 2)])
        self.expect("LogStoreKeeps") { $0.model.restarted(NodeID(2), forgetful) }
        var cluster = Cluster()
        cluster.model.harmed(NodeID(2))
        cluster.model.restarted(NodeID(2), less)
        #expect(cluster.model.violation == nil)
    }
}
