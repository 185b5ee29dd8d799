import Basis
import Raft
import Resources
import Testing

@testable import Cluster

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

    func due(at now: Tick, lasting duration: Span = .seconds(2), life: Incarnation = life) -> Renewal? {
        self.holder.renewalDue(
            incarnation: life, duration: duration, interval: .milliseconds(250), membershipIndex: membershipIndex,
            at: now)
    }

    func renew(at now: Tick, lasting duration: Span = .seconds(2), life: Incarnation = life) throws -> Renewal {
        try #require(self.due(at: now, lasting: duration, life: life))
    }

    func take(
        _ renewal: Renewal, by voter: NodeID, under index: LogIndex = membershipIndex, membership: Membership = three
    ) -> Bool {
        self.holder.answered(renewal, by: voter, membership: membership, membershipIndex: index)
    }

    func refuse(_ renewal: Renewal, _ reason: RenewalRefusal) -> Bool { self.holder.refused(renewal, reason) }

    func hear(sentAt: Tick, elapsed: Span, at now: Tick) -> Bool {
        self.holder.heard(ElapsedWord(sentAt: sentAt, elapsed: elapsed), partsPerMillion: 0, at: now)
    }

    var end: Tick { self.holder.end }
    func isValid(for life: Incarnation, at now: Tick) -> Bool { self.holder.isValid(for: life, at: now) }
}

/// A voter that can be asked inside an expectation.
private final class Voting {
    var voter: LeaseVoter
    init(startedAt: Tick) { self.voter = LeaseVoter(startedAt: startedAt) }
    func receive(_ renewal: Renewal, view: LeaseVoter.View, at now: Tick) -> Bool {
        guard self.voter.receive(renewal, view: view, at: now) == nil else { return false }
        self.voter.note(renewal, at: now)
        return true
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

@Suite struct `A holder whose clock stood still` {
    private func leased() throws -> (holding: Holding, renewal: Renewal) {
        let holding = Holding()
        let renewal = try holding.renew(at: at(1000))
        _ = holding.take(renewal, by: n2)
        _ = holding.take(renewal, by: n3)
        return (holding, renewal)
    }

    @Test func `has no lease from the moment it hears that its life is over, and renews no more (rule L18)`() throws {
        for reason in [RenewalRefusal.lost, .laterLife] {
            let (holding, renewal) = try self.leased()
            #expect(holding.refuse(renewal, reason))
            #expect(!holding.isValid(for: life, at: at(1100)))
            #expect(holding.due(at: at(1500)) == nil)
            #expect(!holding.take(renewal, by: n2))
            _ = try holding.renew(at: at(1600), life: Incarnation(20))
        }
    }

    @Test func `keeps its lease when it is refused for any other reason (rule L18)`() throws {
        for reason in [RenewalRefusal.suspected, .olderMembership, .notAdmitted] {
            let (holding, renewal) = try self.leased()
            #expect(!holding.refuse(renewal, reason))
            #expect(holding.isValid(for: life, at: at(1100)))
        }
    }

    @Test func `ends its lease as much earlier as a voter counted more (rule L19)`() throws {
        let (holding, _) = try self.leased()
        #expect(!holding.hear(sentAt: at(1000), elapsed: .milliseconds(400), at: at(1500)))
        #expect(holding.end == at(3000))
        #expect(holding.hear(sentAt: at(1000), elapsed: .milliseconds(1300), at: at(1500)))
        #expect(holding.end == at(2200))
        // Said twice, it passed once.
        #expect(!holding.hear(sentAt: at(1000), elapsed: .milliseconds(1400), at: at(1600)))
        #expect(holding.end == at(2200))
    }

    @Test func `counts it for the answers that it still collects too (rule L19)`() throws {
        let holding = Holding()
        let before = try holding.renew(at: at(1000))
        _ = holding.take(before, by: n2)
        #expect(!holding.hear(sentAt: at(1000), elapsed: .milliseconds(2600), at: at(1100)))
        // Received before the pause, and read after it.
        _ = holding.take(before, by: n3)
        #expect(!holding.isValid(for: life, at: at(1100)))
    }

    @Test func `goes on with what was sent after that (rule L19)`() throws {
        let holding = Holding()
        _ = try holding.renew(at: at(1000))
        let later = try holding.renew(at: at(1300))
        _ = holding.take(later, by: n2)
        _ = holding.take(later, by: n3)
        #expect(!holding.hear(sentAt: at(1200), elapsed: .seconds(9), at: at(1400)))
        #expect(holding.end == at(3300))
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

    @Test func `says why it refuses (rule L18)`() {
        func reason(_ view: LeaseVoter.View) -> RenewalRefusal? {
            var voter = LeaseVoter(startedAt: at(0))
            return voter.receive(self.renewal(), view: view, at: at(1000))
        }
        #expect(reason(self.view(suspected: true)) == .suspected)
        #expect(reason(self.view(suspected: true, lost: true)) == .lost)
        #expect(reason(self.view(life: Incarnation(9))) == .laterLife)
        #expect(reason(self.view(life: Incarnation(3))) == .notAdmitted)
        #expect(reason(self.view(membership: LogIndex(9))) == .olderMembership)
    }

    @Test func `speaks of the time since its answers when the other's clock missed it (rule L19)`() {
        var voter = LeaseVoter(startedAt: at(0))
        for time in [1000, 1250, 1500] as [UInt64] { voter.note(self.renewal(at: at(time)), at: at(time + 50_000)) }
        #expect(voter.words(for: self.renewal(at: at(1750)), isRefusal: false, at: at(51_750)).isEmpty)
        // Six seconds passed here and a quarter there. A renewal that was stamped before the pause hides nothing.
        voter.note(self.renewal(at: at(1750)), at: at(57_500))
        let words = voter.words(for: self.renewal(at: at(1760)), isRefusal: false, at: at(57_510))
        #expect(words.map(\.sentAt) == [at(1000), at(1250), at(1500)])
        #expect(words.last?.elapsed == .milliseconds(6010))
        let refusal = voter.words(for: self.renewal(at: at(1760)), isRefusal: true, at: at(57_510))
        #expect(refusal.last == ElapsedWord(sentAt: at(1750), elapsed: .milliseconds(10)))
        voter.admitted(n1, at: at(60_000))
        #expect(voter.words(for: self.renewal(at: at(1800)), isRefusal: true, at: at(60_000)).isEmpty)
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

@Suite struct `A voter that was restarted` {
    @Test func `counts what an earlier life may have answered for as long as that lasts longer (rules L5.1, L9)`() {
        // The lease was made shorter, and the voter restarted: it answers with the new D what it may have answered with the old.
        var voter = LeaseVoter(startedAt: at(5000))
        let view = LeaseVoter.View(
            incarnation: Incarnation(1), bootID: "boot", isSuspected: false, isLost: false, membershipIndex: LogIndex(1)
        )
        func renewal(sentAt: Tick) -> Renewal {
            Renewal(
                node: n1, incarnation: Incarnation(1), bootID: "boot", nonce: 7, sentAt: sentAt, duration: .seconds(2),
                membershipIndex: LogIndex(1))
        }
        for time in [UInt64(9000), 11_500] {
            let sent = renewal(sentAt: at(time))
            #expect(voter.receive(sent, view: view, at: at(time)) == nil)
            voter.note(sent, at: at(time))
            let answer = voter.answerAge(of: n1, at: at(time + 500), longest: .seconds(8))
            let isForgotten = time == 9000
            #expect(answer.age == (isForgotten ? .milliseconds(4500) : .milliseconds(500)))
            #expect(answer.duration == .seconds(isForgotten ? 8 : 2))
        }
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
