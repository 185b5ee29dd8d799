import Basis
import Raft
import Resources
import Testing

@testable import Node

private let n1 = NodeID(1)
private let n2 = NodeID(2)
private let n3 = NodeID(3)
private let three = Membership(voters: [n1, n2, n3])
private let life = Incarnation(7)
private let membershipIndex = LogIndex(1)

private func at(_ milliseconds: UInt64) -> Tick { Tick(nanoseconds: milliseconds * 1_000_000) }

/// A holder that can be asked inside an expectation.
private final class Holding {
    var holder: LeaseHolder
    init(nonce: UInt64 = 11) { self.holder = LeaseHolder(node: n1, bootID: "boot", nonce: nonce) }

    func renew(at now: Tick, lasting duration: Span = .seconds(2), life: Incarnation = life) throws -> Renewal {
        let renewal = self.holder.renewalDue(
            incarnation: life, duration: duration, interval: .milliseconds(250), membershipIndex: membershipIndex,
            at: now)
        return try #require(renewal)
    }

    func take(
        _ renewal: Renewal, by voter: NodeID, under index: LogIndex = membershipIndex, membership: Membership = three
    ) -> Bool {
        self.holder.answered(renewal, by: voter, membership: membership, membershipIndex: index)
    }

    var end: Tick { self.holder.end }
    func isValid(for life: Incarnation, at now: Tick) -> Bool { self.holder.isValid(for: life, at: now) }
}

/// A voter that can be asked inside an expectation.
private final class Voting {
    var voter: LeaseVoter
    init(startedAt: Tick) { self.voter = LeaseVoter(startedAt: startedAt) }
    func receive(_ renewal: Renewal, view: LeaseVoter.View, at now: Tick) -> Bool {
        self.voter.receive(renewal, view: view, at: now)
    }
    func membershipChanged(at now: Tick) { self.voter.membershipChanged(at: now) }
    func silence(of node: NodeID, at now: Tick) -> Span { self.voter.silence(of: node, at: now) }
    func answerAge(of node: NodeID, at now: Tick) -> (age: Span, duration: Span) {
        self.voter.answerAge(of: node, at: now, longest: .seconds(2))
    }
}

@Suite struct `The holder of a lease` {
    @Test func `counts from the send time, not from the answer (rule L1)`() throws {
        let holder = Holding()
        let renewal = try holder.renew(at: at(1000))
        #expect(!holder.take(renewal, by: n2))
        #expect(holder.take(renewal, by: n3))
        #expect(holder.end == at(3000))
        #expect(holder.isValid(for: life, at: at(2999)))
        #expect(!holder.isValid(for: life, at: at(3000)))
    }

    @Test func `counts from the renewal that was answered, not from a later one (rule L1)`() throws {
        let holder = Holding()
        let first = try holder.renew(at: at(1000))
        _ = try holder.renew(at: at(1900))
        _ = holder.take(first, by: n2)
        #expect(holder.take(first, by: n3))
        #expect(holder.end == at(3000))
    }

    @Test func `needs a majority of voters, and the same voter twice is one (rule L1)`() throws {
        let holder = Holding()
        let renewal = try holder.renew(at: at(1000))
        #expect(!holder.take(renewal, by: n2))
        #expect(!holder.take(renewal, by: n2))
        #expect(holder.end == .zero)
    }

    @Test func `needs both majorities while the membership is joint (rule L8)`() throws {
        let holder = Holding()
        let joint = Membership(voters: [n1, NodeID(4), NodeID(5)], outgoing: [n1, n2, n3])
        let renewal = try holder.renew(at: at(1000))
        for voter in [n1, n2, n3] {
            #expect(!holder.take(renewal, by: voter, membership: joint))
        }
        #expect(holder.take(renewal, by: NodeID(4), membership: joint))
        let second = try holder.renew(at: at(2000))
        for voter in [n1, NodeID(4), NodeID(5)] {
            #expect(!holder.take(second, by: voter, membership: joint))
        }
        #expect(holder.take(second, by: n3, membership: joint))
    }

    @Test func `ignores answers to an earlier life of its daemon (rule L2)`() throws {
        let before = Holding(nonce: 11)
        let after = Holding(nonce: 12)
        let old = try before.renew(at: at(1000))
        _ = try after.renew(at: at(1000))
        #expect(!after.take(old, by: n2))
        #expect(!after.take(old, by: n3))
        #expect(after.end == .zero)
    }

    @Test func `ignores answers that were given under an older membership (rule L8)`() throws {
        let holder = Holding()
        let renewal = try holder.renew(at: at(1000))
        #expect(!holder.take(renewal, by: n2, under: LogIndex(9)))
        #expect(!holder.take(renewal, by: n3, under: LogIndex(9)))
    }

    @Test func `starts without a lease in every new life (rule L1)`() throws {
        let holder = Holding()
        let renewal = try holder.renew(at: at(1000))
        _ = holder.take(renewal, by: n2)
        _ = holder.take(renewal, by: n3)
        #expect(holder.isValid(for: life, at: at(1500)))
        _ = try holder.renew(at: at(1600), life: Incarnation(20))
        #expect(!holder.isValid(for: Incarnation(20), at: at(1700)))
        #expect(!holder.isValid(for: life, at: at(1700)))
    }
}

@Suite struct `A voter` {
    private func view(
        suspected: Bool = false, lost: Bool = false, life: Incarnation = life, membership: LogIndex = membershipIndex
    ) -> LeaseVoter.View {
        LeaseVoter.View(
            incarnation: life, bootID: "boot", isSuspected: suspected, isLost: lost, membershipIndex: membership)
    }

    private func renewal(at now: Tick = at(1000), lasting duration: Span = .seconds(2)) -> Renewal {
        Renewal(
            node: n1, incarnation: life, bootID: "boot", nonce: 11, sentAt: now, duration: duration,
            membershipIndex: membershipIndex)
    }

    @Test func `answers the admitted life only (rule L8)`() {
        let voter = Voting(startedAt: at(0))
        #expect(voter.receive(self.renewal(), view: self.view(), at: at(1000)))
        #expect(!voter.receive(self.renewal(), view: self.view(life: Incarnation(9)), at: at(1000)))
        #expect(!voter.receive(self.renewal(), view: self.view(lost: true), at: at(1000)))
    }

    @Test func `refuses a membership older than its log's (rule L8)`() {
        let voter = Voting(startedAt: at(0))
        #expect(!voter.receive(self.renewal(), view: self.view(membership: LogIndex(2)), at: at(1000)))
    }

    @Test func `answers no more once a suspicion is in its log, but still hears (rule L4)`() {
        let voter = Voting(startedAt: at(0))
        #expect(voter.receive(self.renewal(), view: self.view(), at: at(1000)))
        #expect(!voter.receive(self.renewal(), view: self.view(suspected: true), at: at(2000)))
        #expect(voter.silence(of: n1, at: at(2100)) == .milliseconds(100))
        #expect(voter.answerAge(of: n1, at: at(2100)).age == .milliseconds(1100))
    }

    @Test func `counts as having answered when it started (rule L5)`() {
        let voter = Voting(startedAt: at(5000))
        #expect(voter.answerAge(of: n1, at: at(5300)).age == .milliseconds(300))
    }

    @Test func `counts no age from before the last membership entry (rule L5)`() {
        let voter = Voting(startedAt: at(0))
        _ = voter.receive(self.renewal(), view: self.view(), at: at(1000))
        voter.membershipChanged(at: at(4000))
        #expect(voter.answerAge(of: n1, at: at(4500)).age == .milliseconds(500))
    }

    @Test func `reports the promise that lasts longest, with the D inside it (rule L9)`() {
        let voter = Voting(startedAt: at(0))
        _ = voter.receive(self.renewal(lasting: .seconds(10)), view: self.view(), at: at(1000))
        _ = voter.receive(self.renewal(lasting: .seconds(2)), view: self.view(), at: at(1500))
        let answer = voter.answerAge(of: n1, at: at(2000))
        #expect(answer.age == .seconds(1))
        #expect(answer.duration == .seconds(10))
    }
}

@Suite struct `The times of a lease` {
    @Test func `the wait covers lease, grace and clock rates (rule L6)`() {
        let timing = Timing.standard
        let wait = timing.wait(forLease: timing.leaseDuration)
        // (D+G)(1+ρ)/(1−ρ), in exact arithmetic.
        let sum = timing.leaseDuration.nanoseconds + timing.leaseGrace.nanoseconds
        let rate = timing.clockRateErrorPartsPerMillion
        #expect(wait.nanoseconds * (1_000_000 - rate) >= sum * (1_000_000 + rate))
    }

    @Test func `the defaults keep every relation, and each broken one is told (rule L13)`() {
        #expect(Timing.standard.problems.isEmpty)
        var timing = Timing.standard
        timing.leaseDuration = .milliseconds(500)
        #expect(timing.problems.contains { $0.contains("three renewals") })
        timing = .standard
        timing.detection = .milliseconds(400)
        #expect(timing.problems.contains { $0.contains("two renewals") })
        timing = .standard
        timing.detection = .seconds(60)
        #expect(timing.problems.contains { $0.contains("shorter than the wait") })
        timing = .standard
        timing.guardKill = .seconds(1)
        #expect(timing.problems.contains { $0.contains("grace") })
        timing = .standard
        timing.daemonRestart = .seconds(2)
        #expect(timing.problems.contains { $0.contains("upgrade") })
    }
}
