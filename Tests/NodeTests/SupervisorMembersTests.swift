import Basis
import Raft
import Testing

@testable import Cluster

@Suite struct `A supervisor and who has left (J6)` {
    @Test func `what a node says that has left is not even heard`() throws {
        let trio = try Trio(others: ["c", "d"])
        #expect(trio.settle())
        trio.pass(milliseconds: 6000)
        let (a, d) = (NodeID(1), NodeID(5))
        #expect(self.isHeard(d, by: a, trio))
        trio.stopped.insert(d)
        trio.pass(milliseconds: 6000)
        trio.step(trio.leader ?? a, .client(id: 1, .propose(.retire(d, isRetiring: true))))
        #expect(trio.supervisors[a]?.state.hasLeft(d) == false)
        #expect(self.isHeard(d, by: a, trio))
        trio.pass(milliseconds: 12000)
        #expect(trio.supervisors[a]?.state.hasLeft(d) == true)
        #expect(!self.isHeard(d, by: a, trio))
    }

    @Test func `who hears from its own generation that it has left has no lease from that instant (L18)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        let (a, b) = (NodeID(1), NodeID(2))
        #expect(trio.running[a] == ["db"] && trio.supervisors[a]?.hasLease(at: trio.tick) == true)
        trio.step(a, .shownOut(by: b, of: .first))
        #expect(trio.supervisors[a]?.hasLease(at: trio.tick) == false)
        #expect(trio.leases[a] ?? .zero <= trio.tick(of: a))
        trio.pass(milliseconds: 200)
        #expect(trio.running[a] ?? [] == [])
    }

    @Test func `who hears it from another generation, or of none, goes on: ids mean others there (R1)`() throws {
        let trio = try Trio()
        #expect(trio.settle())
        let (a, b) = (NodeID(1), NodeID(2))
        trio.step(a, .shownOut(by: b, of: Generation(number: 1, recovery: 7)))
        trio.step(a, .shownOut(by: b, of: nil))
        #expect(trio.supervisors[a]?.links.shownOutBy == [b])
        trio.pass(milliseconds: 3000)
        #expect(trio.supervisors[a]?.hasLease(at: trio.tick) == true)
        #expect(trio.running[a] == ["db"])
    }

    @Test
    func `who is no node yet as far as this log goes is spoken to, or it never asks what this node remembers (E4.1)`()
        throws
    {
        let trio = try Trio()
        #expect(trio.settle())
        let (a, newcomer) = (NodeID(1), NodeID(9))
        let mark = StartMark(directory: DirectoryID(high: 9, low: 9), start: 1, nonce: 9)
        func spokenTo() -> Int {
            let message = Message(term: Term(9), body: .heartbeat(commit: .zero, round: 1))
            var envelopes = [
                Envelope(from: newcomer, to: a, isRelayed: false, mark: mark, message: .raft(message))
            ]
            var effects: [SupervisorEffect] = []
            trio.supervisors[a]?.receive(&envelopes, via: newcomer, at: trio.tick(of: a), into: &effects)
            return effects.count { effect in
                guard case .send(let envelope, _) = effect, envelope.to == newcomer, case .ping = envelope.message
                else {
                    return false
                }
                return true
            }
        }
        #expect(spokenTo() == 1)
        #expect(spokenTo() == 0, "not for each message")
        trio.pass(milliseconds: 300)
        #expect(spokenTo() == 1)
    }

    /// Whether a message of the node, which does not run now, shows that it is there.
    private func isHeard(_ node: NodeID, by other: NodeID, _ trio: Trio) -> Bool {
        guard let mark = trio.supervisors[node]?.identity.memory.present else { return false }
        let envelope = Envelope(
            from: node, to: other, isRelayed: false, mark: mark, message: .ping(hears: [], reaches: []))
        trio.step(other, .receive(envelope, via: node))
        return trio.supervisors[other]?.links.reachability.heardDirectly(at: trio.tick).contains(node) == true
    }
}

@Suite struct `A supervisor and who votes (J1)` {
    @Test func `chooses anew when the sites are others, though all that may vote do`() throws {
        let trio = try Trio(others: ["c", "d"])
        #expect(trio.settle())
        trio.pass(milliseconds: 6000)
        let (a, w, c) = (NodeID(1), NodeID(3), NodeID(4))
        #expect(trio.supervisors[a]?.consensus.membership.voters.count == 5)
        for (number, node) in [w, c].enumerated() {
            let change = NodeChange(site: "other-\(number)")
            trio.step(trio.leader ?? a, .client(id: UInt64(number) + 1, .propose(.setNode(node, change))))
        }
        trio.pass(milliseconds: 6000)
        let voters = trio.supervisors[a]?.consensus.membership.voters ?? []
        #expect(voters.count == 3 && voters.contains(w) && voters.contains(c), "\(voters)")
    }

    @Test func `no change leaves the majority to nodes that are away, though nobody has noticed yet`() throws {
        let trio = try Trio(others: ["c", "d"])
        #expect(trio.settle())
        trio.pass(milliseconds: 6000)
        let (a, b, w, c, d) = (NodeID(1), NodeID(2), NodeID(3), NodeID(4), NodeID(5))
        #expect(trio.leader == a)
        for away in [b, w] { for other in trio.ids where other != away { trio.cut(away, other) } }
        trio.pass(milliseconds: 600)
        for (number, node) in [c, d].enumerated() {
            trio.step(a, .client(id: UInt64(number) + 1, .propose(.retire(node, isRetiring: true))))
            #expect(trio.standing(of: b, seenBy: a) == .trusted && trio.standing(of: w, seenBy: a) == .trusted)
            trio.pass(milliseconds: 50)
        }
        // Of those that stay only the leader is there: it goes on leading, with one that is to leave.
        trio.pass(milliseconds: 12000)
        #expect(trio.leader == a)
        #expect(trio.supervisors[a]?.consensus.membership.isJoint == false)
        #expect(trio.supervisors[a]?.consensus.membership.isVoter(d) == true)
        trio.cuts.removeAll()
        trio.pass(milliseconds: 12000)
        #expect(trio.supervisors[a]?.consensus.membership.voters == [a, b, w])
        #expect(trio.supervisors[a]?.state.hasLeft(d) == true)
    }

    @Test func `the vote of a leader that leaves goes to who is as good, in one change`() throws {
        let trio = try Trio(others: ["c", "d", "e"])
        #expect(trio.settle())
        trio.pass(milliseconds: 6000)
        let (a, c) = (NodeID(1), NodeID(4))
        trio.step(a, .client(id: 1, .transferLeadership(to: c)))
        trio.pass(milliseconds: 6000)
        #expect(trio.leader == c && trio.supervisors[c]?.consensus.membership.voters.count == 5)
        let before = trio.notes.count
        trio.step(c, .client(id: 2, .propose(.retire(c, isRetiring: true))))
        trio.pass(milliseconds: 3000)
        let changes = trio.notes.dropFirst(before).filter { $0.contains("changes the voters") }
        #expect(!changes.isEmpty && changes.allSatisfy { $0.hasSuffix("to [n1, n2, n3, n5, n6]") }, "\(changes)")
    }

    @Test func `a leader that is to vote no more, beside a witness alone, gives a vote to who can lead`() throws {
        let (a, b, w) = (NodeID(1), NodeID(2), NodeID(3))
        let trio = try Trio(voters: [a, w])
        trio.cut(a, b)
        trio.cut(w, b)
        trio.pass(milliseconds: 6000)
        #expect(trio.leader == a && trio.supervisors[a]?.consensus.membership.voters == [a, w])
        trio.step(a, .client(id: 1, .propose(.setNode(a, NodeChange(role: .observer)))))
        trio.pass(milliseconds: 3000)
        #expect(trio.leader == a && trio.supervisors[a]?.consensus.membership.voters == [a, w])
        trio.cuts.removeAll()
        trio.pass(milliseconds: 20000)
        #expect(trio.leader == b && trio.supervisors[b]?.consensus.membership.voters == [b])
    }
}
