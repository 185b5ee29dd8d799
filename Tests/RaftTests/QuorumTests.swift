import Basis
import Testing

@testable import Raft

@Suite struct `Quorums are counted right` {
    /// By definition: the highest index that more than half of the voters hold.
    private func naiveCommitted(_ voters: [NodeID], _ match: [NodeID: LogIndex]) -> LogIndex {
        let held = voters.map { match[$0] ?? .zero }
        return held.filter { index in held.filter { $0 >= index }.count * 2 > voters.count }.max() ?? .zero
    }

    @Test func `the fast scan agrees with the definition on random configurations`() {
        var random = SeededRandom(seed: 7)
        for _ in 0..<20_000 {
            let all = (1...9).map { NodeID($0) }
            let voters = all.filter { _ in random.below(2) == 0 }
            let outgoing = random.below(2) == 0 ? [] : all.filter { _ in random.below(2) == 0 }
            guard !voters.isEmpty else { continue }
            var match: [NodeID: LogIndex] = [:]
            for node in all where random.below(5) > 0 { match[node] = LogIndex(random.below(6)) }
            let membership = Membership(voters: voters, outgoing: outgoing)
            var expected = self.naiveCommitted(voters, match)
            if !outgoing.isEmpty { expected = min(expected, self.naiveCommitted(outgoing, match)) }
            #expect(Quorum.committed(membership) { match[$0] ?? .zero } == expected, "\(membership) \(match)")
            let agreeing = Set(all.filter { _ in random.below(2) == 0 })
            #expect(
                Quorum.holds(membership) { agreeing.contains($0) }
                    == membership.hasMajority { agreeing.contains($0) }, "\(membership) \(agreeing)")
        }
    }

    @Test func `no voters means no majority`() {
        let nobody = Membership(voters: [])
        #expect(!Quorum.holds(nobody) { _ in true })
        #expect(Quorum.committed(nobody) { _ in LogIndex(9) } == .zero)
    }
}

@Suite struct `Messages survive the wire` {
    static let mark = LogMark(term: Term(3), index: LogIndex(7))
    static let membership = Membership(
        voters: [NodeID(1), NodeID(2)], outgoing: [NodeID(1)], learners: [NodeID(4)], witnesses: [NodeID(2)])
    static let bodies: [Message.Body] = [
        .preVoteRequest(requested: Term(4), last: mark), .preVoteResponse(requested: Term(4), granted: true),
        .voteRequest(last: mark, transfer: true), .voteResponse(granted: false),
        .append(
            previous: mark,
            entries: [
                Entry(mark: LogMark(term: Term(3), index: LogIndex(8)), payload: .empty),
                Entry(mark: LogMark(term: Term(3), index: LogIndex(9)), payload: .command([1, 2, 3])),
                Entry(mark: LogMark(term: Term(4), index: LogIndex(10)), payload: .membership(membership)),
            ], commit: LogIndex(6)),
        .appendAccepted(match: LogIndex(8)), .appendRejected(previous: LogIndex(8), hint: mark),
        .heartbeat(commit: LogIndex(1), round: 5), .heartbeatResponse(round: 5),
        .snapshotChunk(
            Message.SnapshotChunk(
                mark: mark, membership: membership, membershipIndex: LogIndex(2), offset: 4, total: 9, bytes: [1, 2])),
        .snapshotProgress(mark: mark, received: 6), .timeoutNow(last: mark), .readRequest(id: 1),
        .readResponse(id: 1, index: nil), .readResponse(id: 1, index: LogIndex(4)), .outdated,
    ]

    @Test(arguments: bodies) func `what is encoded is decoded, and no part of it passes for a whole`(
        body: Message.Body
    ) throws {
        let message = Message(term: Term(9), body: body)
        var writer = ByteWriter()
        message.encode(into: &writer)
        var reader = ByteReader(writer.bytes)
        #expect(try Message.decode(from: &reader) == message)
        try reader.finish()
        for length in 0..<writer.bytes.count {
            var reader = ByteReader(Array(writer.bytes[..<length]))
            #expect(throws: CodecError.self) { _ = try Message.decode(from: &reader) }
        }
    }

    @Test func `random bytes never crash the decoder`() {
        var random = SeededRandom(seed: 3)
        for _ in 0..<20_000 {
            var bytes = (0..<Int(random.below(60))).map { _ in UInt8(truncatingIfNeeded: random.below(20)) }
            if bytes.count > 8 { bytes[8] = UInt8(random.below(17)) }
            var reader = ByteReader(bytes)
            _ = try? Message.decode(from: &reader)
        }
    }

    @Test func `snapshots and hard states survive the disk`() throws {
        let snapshot = Snapshot(
            mark: Self.mark, membership: Self.membership, membershipIndex: LogIndex(2), data: [9, 8])
        let hardState = HardState(term: Term(4), votedFor: NodeID(2), commit: LogIndex(7))
        var writer = ByteWriter()
        snapshot.encode(into: &writer)
        hardState.encode(into: &writer)
        var reader = ByteReader(writer.bytes)
        #expect(try Snapshot.decode(from: &reader) == snapshot)
        #expect(try HardState.decode(from: &reader) == hardState)
        try reader.finish()
    }
}
