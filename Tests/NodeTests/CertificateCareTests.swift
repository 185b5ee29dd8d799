import Basis
import Testing

@testable import Cluster

/// When a node renews its certificate. No clock that is wrong alone decides it, and nothing rests on it. (Rule I1)
@Suite struct CertificateCareTests {
    private static let day: UInt64 = 86_400
    private static let begin: UInt64 = 1_800_000_000
    private static let year = CertificateLife.validity(at: begin, lifeSeconds: CertificateLife.standardSeconds)

    private func facts(
        _ seconds: UInt64?, _ validity: Validity = CertificateCareTests.year, known: CertificateRecord? = nil,
        wanted: [UInt8]? = nil, mayTell: Bool = false
    ) -> CertificateCare.Facts {
        CertificateCare.Facts(
            node: NodeID(1), present: self.record(validity), known: known, wanted: wanted, seconds: seconds,
            mayTell: mayTell)
    }

    private func record(_ validity: Validity = CertificateCareTests.year, trouble: String? = nil) -> CertificateRecord {
        CertificateRecord(
            fingerprint: [1], authority: [7], validity: validity, trusts: [[7]], trouble: trouble.map { KeptWords($0) })
    }

    private func effects(
        _ care: inout CertificateCare, _ input: CertificateCare.Input, at seconds: UInt64 = 100
    ) -> [CertificateCare.Effect] {
        var effects: [CertificateCare.Effect] = []
        care.step(input, at: .zero + .seconds(seconds), into: &effects)
        return effects
    }

    @Test func `a certificate is made for a year, and never for longer than 397 days`() {
        #expect(Self.year.until == Self.begin + 365 * Self.day)
        #expect(Self.year.from < Self.begin)
        #expect(Self.year.lifeSeconds <= CertificateLife.longestSeconds)
        #expect(CertificateLife.validity(at: 100, lifeSeconds: 60) == Validity(from: 94, until: 160))
        #expect(CertificateLife.validity(at: 0, lifeSeconds: 60) == Validity(from: 0, until: 60), "a clock at 1970")
    }

    @Test func `it is renewed when a third of its life is left, and not all nodes at once (rule I1)`() {
        let third = Self.year.until - Self.year.lifeSeconds / 3
        let moments = (1...7).map { CertificateLife.renewalSeconds(Self.year, of: NodeID($0)) }
        #expect(moments.allSatisfy { $0 <= third && $0 >= third - 31 * Self.day })
        #expect(Set(moments.map { $0 / Self.day }).count >= 6, "\(moments)")
        for node in (1...7).map({ NodeID($0) }) {
            #expect(CertificateLife.isDue(Self.year, of: node, at: third))
            #expect(!CertificateLife.isDue(Self.year, of: node, at: Self.begin + 200 * Self.day))
        }
    }

    @Test func `dates that can be of no use are a reason to renew (rule I1)`() {
        let forEver = Validity(from: 0, until: 253_402_300_799)
        #expect(CertificateLife.isDue(forEver, of: NodeID(1), at: Self.begin), "of a build from before")
        let ahead = CertificateLife.validity(
            at: Self.begin + 3650 * Self.day, lifeSeconds: CertificateLife.standardSeconds)
        #expect(CertificateLife.isDue(ahead, of: NodeID(1), at: Self.begin), "signed by a clock ten years ahead")
        let behind = CertificateLife.validity(at: 60, lifeSeconds: CertificateLife.standardSeconds)
        #expect(CertificateLife.isDue(behind, of: NodeID(1), at: Self.begin), "signed by a clock at 1970")
    }

    @Test func `the time is what most nodes agree on, or nothing (rule I1)`() {
        let (right, wrong) = (Self.begin, UInt64(77))
        #expect(CertificateLife.agreedSeconds(clocks: [right], nodes: 1) == right)
        #expect(CertificateLife.agreedSeconds(clocks: [wrong, right, right + 1], nodes: 3) == right)
        #expect(CertificateLife.agreedSeconds(clocks: [right * 2, right, right + 1], nodes: 3) == right + 1)
        #expect(CertificateLife.agreedSeconds(clocks: [wrong], nodes: 3) == nil, "it may be the wrong one")
        #expect(CertificateLife.agreedSeconds(clocks: [right, right], nodes: 4) == nil)
        #expect(
            CertificateLife.agreedSeconds(clocks: [wrong, right], nodes: 3) == wrong, "one of two: nothing rests on it")
    }

    @Test func `it is renewed once it is due, once at a time`() {
        var care = CertificateCare()
        #expect(self.effects(&care, .look(self.facts(Self.begin))).isEmpty)
        #expect(
            self.effects(&care, .look(self.facts(nil, Validity(from: 0, until: 9)))).isEmpty, "nobody knows the time")
        let late = Self.year.until - 10 * Self.day
        #expect(self.effects(&care, .look(self.facts(late))) == [.renew])
        #expect(self.effects(&care, .look(self.facts(late))).isEmpty, "it is under way")
        #expect(self.effects(&care, .ended(failure: nil)).isEmpty)
        let next = CertificateLife.validity(at: late, lifeSeconds: CertificateLife.standardSeconds)
        #expect(self.effects(&care, .look(self.facts(late, next)), at: 9999).isEmpty)
    }

    @Test func `who finds nobody tries again, less and less often, and each hour at last`() {
        var care = CertificateCare()
        let late = Self.year.until
        var attempts: [UInt64] = []
        for second in 1...20_000 as ClosedRange<UInt64> {
            if self.effects(&care, .look(self.facts(late)), at: second).contains(.renew) {
                attempts.append(second)
                _ = self.effects(&care, .ended(failure: "nobody is there"), at: second)
            }
        }
        #expect(attempts.prefix(4) == [1, 6, 16, 36])
        #expect(zip(attempts.dropFirst(), attempts).map { $0 - $1 }.max() == 3600)
        #expect(attempts.count < 20)
    }

    @Test func `what is due at once again waits as long as can be: clocks are wrong`() {
        var care = CertificateCare()
        let useless = Validity(from: 0, until: 300 * Self.day)
        #expect(self.effects(&care, .look(self.facts(Self.begin)), at: 1).isEmpty)
        #expect(self.effects(&care, .asked, at: 1).isEmpty)
        #expect(self.effects(&care, .look(self.facts(Self.begin)), at: 2) == [.renew], "a person wants it")
        _ = self.effects(&care, .ended(failure: nil), at: 2)
        #expect(self.effects(&care, .look(self.facts(Self.begin, Self.year)), at: 3).isEmpty)
        #expect(self.effects(&care, .look(self.facts(Self.begin, useless)), at: 3000).isEmpty)
        #expect(self.effects(&care, .look(self.facts(Self.begin, Self.year)), at: 3600).isEmpty)
        #expect(
            self.effects(&care, .look(self.facts(Self.begin, useless)), at: 3700) == [.renew])
    }

    @Test func `a certificate of another authority than the log wants is renewed at once`() {
        var care = CertificateCare()
        #expect(self.effects(&care, .look(self.facts(Self.begin, wanted: [7]))).isEmpty)
        #expect(self.effects(&care, .look(self.facts(Self.begin, wanted: [8]))) == [.renew])
        _ = self.effects(&care, .ended(failure: nil))
        #expect(
            self.effects(&care, .look(self.facts(Self.begin, wanted: [8])), at: 101) == [.renew], "and the next one too"
        )
        _ = self.effects(&care, .ended(failure: "nobody is there"), at: 101)
        #expect(self.effects(&care, .look(self.facts(Self.begin, wanted: [8])), at: 102).isEmpty)
    }

    @Test func `the log is told what is news, and of trouble near the end alone`() {
        var care = CertificateCare()
        #expect(self.effects(&care, .look(self.facts(Self.begin)), at: 1).isEmpty, "it cannot be told")
        #expect(self.effects(&care, .look(self.facts(Self.begin, mayTell: true)), at: 1) == [.tell(self.record())])
        #expect(self.effects(&care, .look(self.facts(Self.begin, mayTell: true)), at: 2).isEmpty, "it was told")
        #expect(self.effects(&care, .look(self.facts(Self.begin, mayTell: true)), at: 6) == [.tell(self.record())])
        #expect(self.effects(&care, .look(self.facts(Self.begin, known: self.record(), mayTell: true)), at: 20).isEmpty)
        // A third is left, and nobody signs: no trouble yet.
        let third = Self.year.until - Self.year.lifeSeconds / 3
        #expect(self.effects(&care, .look(self.facts(third, known: self.record(), mayTell: true)), at: 30) == [.renew])
        _ = self.effects(&care, .ended(failure: "nobody is there"), at: 30)
        #expect(self.effects(&care, .look(self.facts(third, known: self.record(), mayTell: true)), at: 31).isEmpty)
        let near = Self.year.until - Self.day
        let told = self.record(trouble: "nobody is there")
        #expect(
            self.effects(&care, .look(self.facts(near, known: self.record(), mayTell: true)), at: 32) == [.tell(told)])
        let other = self.record(trouble: "nobody at all")
        #expect(
            !self.effects(&care, .look(self.facts(near, known: other, mayTell: true)), at: 60).contains(.tell(told)),
            "how somebody words it is no news")
    }

    @Test func `a day is written as people write it`() {
        for (second, day) in [
            (0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_709_164_800, "2024-02-29"),
            (1_709_251_200, "2024-03-01"),
            (4_102_444_799, "2099-12-31"), (253_402_300_799, "9999-12-31"),
        ] as [(UInt64, String)] {
            #expect(Validity.day(second) == day)
        }
        #expect(Validity.day(.max) == "9999-12-31")
    }
}
