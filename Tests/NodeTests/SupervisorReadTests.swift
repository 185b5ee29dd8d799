import Basis
import Raft
import Testing

@testable import Cluster

@Suite struct `Reads (A2)` {
    private let now = Tick(nanoseconds: 1_000_000_000)

    @Test func `are shown nothing before a leader has answered and this node has applied what it answered`() {
        var reads = Reads(nonce: 7)
        reads.add(1, at: self.now)
        #expect(reads.settle(applied: LogIndex(100), at: self.now).ready == [])
        let question = self.asked(&reads, at: self.now)
        #expect(Reads.isOfClients(question))
        #expect(reads.question(at: self.now) == nil)
        reads.answered(question, LogIndex(101))
        #expect(reads.settle(applied: LogIndex(100), at: self.now).ready == [])
        #expect(reads.settle(applied: LogIndex(101), at: self.now).ready == [1])
    }

    @Test func `take no answer to a question from before they came`() {
        var reads = Reads(nonce: 7)
        reads.add(1, at: self.now)
        let first = self.asked(&reads, at: self.now)
        reads.add(2, at: self.now)
        reads.answered(first, LogIndex(5))
        #expect(reads.settle(applied: LogIndex(9), at: self.now).ready == [1])
        let second = self.asked(&reads, at: self.now)
        reads.answered(first, LogIndex(5))
        #expect(reads.settle(applied: LogIndex(9), at: self.now).ready == [])
        reads.answered(second, LogIndex(8))
        #expect(reads.settle(applied: LogIndex(9), at: self.now).ready == [2])
    }

    @Test func `are asked for again, and given up in the usual time`() {
        var reads = Reads(nonce: 7)
        reads.add(1, at: self.now)
        let first = self.asked(&reads, at: self.now)
        #expect(reads.question(at: self.now + .milliseconds(199)) == nil)
        let second = self.asked(&reads, at: self.now + .milliseconds(200))
        #expect(second > first)
        // What was never asked is no answer.
        reads.answered(second + 1, LogIndex(5))
        #expect(reads.settle(applied: LogIndex(9), at: self.now + .seconds(9)) == ([], []))
        #expect(reads.settle(applied: LogIndex(9), at: self.now + .seconds(10)) == ([], [1]))
    }

    private func asked(_ reads: inout Reads, at now: Tick) -> UInt64 {
        let question = reads.question(at: now)
        return question ?? 0
    }

    private let key = AttributeKey(.cluster, "k")

    private func put(_ value: String, at node: NodeID, of trio: Trio) -> ClientReply? {
        trio.replies = [:]
        trio.step(node, .client(id: 10, .propose(.putAttribute(self.key, value: value, lifetime: .forever))))
        trio.pass(milliseconds: 2000) { $0.replies[10] != nil }
        return trio.replies[10]
    }

    @Test func `see on every node what was acknowledged before they came`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        for (number, reader) in Trio.ids.enumerated() {
            guard case .applied(.accepted, let index) = self.put("\(number)", at: NodeID(1), of: trio) else {
                Issue.record("\(trio.replies)")
                continue
            }
            trio.step(reader, .client(id: 11, .read))
            trio.pass(milliseconds: 2000) { $0.replies[11] != nil }
            guard case .readable(let at, let attributes) = trio.replies[11] else {
                Issue.record("\(trio.replies)")
                continue
            }
            #expect(attributes[self.key]?.value == "\(number)" && at >= index)
        }
    }

    @Test func `are answered by nothing, where no majority is, and told so`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        let leader = try #require(trio.leader)
        for alone in Trio.ids where alone != leader || Trio.ids.last == leader {
            guard case .applied(.accepted, _) = self.put("before", at: NodeID(1), of: trio) else {
                Issue.record("\(trio.replies)")
                continue
            }
            for other in Trio.ids where other != alone { trio.cut(alone, other) }
            trio.step(alone, .client(id: 11, .read))
            trio.pass(milliseconds: 9800) { $0.replies[11] != nil }
            #expect(trio.replies[11] == nil)
            trio.pass(milliseconds: 1000) { $0.replies[11] != nil }
            #expect(trio.replies[11] == .noQuorum)
            trio.cuts = []
            #expect(trio.settle())
        }
    }
}
