import Basis
import SecureLink
import Testing

@testable import Daemon

@Suite struct LinkPatienceTests {
    private func at(_ milliseconds: UInt64) -> Tick { Tick(nanoseconds: milliseconds * 1_000_000) }

    /// When links of looks (at, unacknowledged), in milliseconds, count as stalled.
    private func stalls(_ looks: [(UInt64, UInt64)]) -> [UInt64] {
        var patience = LinkPatience()
        return looks.filter { patience.isStalled(unacknowledged: .milliseconds($0.1), at: self.at($0.0)) }.map(\.0)
    }

    @Test func `a link counts as stalled only for the time in which there was something to acknowledge`() {
        // The last acknowledgement came before a handshake that took long, and something is on its way only now.
        let looks = stride(from: UInt64(0), through: 600, by: 40).map { ($0, 900 + $0) }
        #expect(self.stalls(looks + [(640, 0), (680, 700), (720, 740)]) == [])
    }

    @Test func `a link whose peer acknowledges nothing is given up after a moment, and several looks`() {
        #expect(self.stalls(stride(from: UInt64(0), through: 900, by: 50).map { ($0, $0 + 20) }) == [800, 850, 900])
    }

    @Test func `a new connection begins without what the one before it was blamed for`() {
        var patience = LinkPatience()
        for milliseconds: UInt64 in [0, 650, 700, 750] {
            _ = patience.isStalled(unacknowledged: .milliseconds(2000), at: self.at(milliseconds))
        }
        patience.connected()
        let isStalled = patience.isStalled(unacknowledged: .milliseconds(2000), at: self.at(800))
        #expect(!isStalled)
    }

    @Test func `a peer that is slow is dialled less often and for longer, until it answers or is gone`() {
        let prompt = LinkPatience()
        var patience = LinkPatience()
        patience.failed(isHandshake: true)
        #expect(!patience.isSlow, "a cable that is cut in a handshake makes nobody slow")
        patience.failed(isHandshake: true)
        #expect(patience.connectTimeout > prompt.connectTimeout && patience.dialInterval > prompt.dialInterval)
        #expect(patience.attemptsMaximum < prompt.attemptsMaximum)
        patience.failed(isHandshake: false)
        #expect(!patience.isSlow)
        for _ in 0..<2 { patience.failed(isHandshake: true) }
        #expect(patience.isSlow)
        patience.connected()
        #expect(!patience.isSlow)
        #expect(SecureLinkError.timedOut(peer: "tok-1", during: "the TLS handshake").isSlowHandshake)
        #expect(!SecureLinkError.timedOut(peer: "tok-1", during: "the TCP connect").isSlowHandshake)
    }
}
