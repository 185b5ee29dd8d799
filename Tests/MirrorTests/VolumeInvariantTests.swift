import Basis
import Testing

@testable import Mirror

@Suite struct `A volume that cannot be is noticed` {
    private func volume() -> Volume {
        var metadata = VolumeMetadata(identity: 7, sizeBytes: 1 << 20)
        metadata = metadata.started(mark: 1000)
        return Volume(
            configuration: Volume.Configuration(node: NodeID(1), peers: [NodeID(2)], sizeBytes: 1 << 20),
            metadata: metadata)
    }

    private func said(_ value: some InvariantChecking) -> String {
        do { try value.checkInvariants() } catch { return error.description }
        return "nothing"
    }

    @Test func `an owner under an epoch that was not accepted, and beside an opening`() {
        var volume = self.volume()
        #expect(self.said(volume) == "nothing")
        let opening = Volume.Opening(
            epoch: Epoch(generation: 0, index: 9), incarnation: Incarnation(3), inSync: [NodeID(1)], version: 1,
            reconciling: [], stage: .persisting)
        volume.owner = Volume.Owner(opening, volume.ledger, at: .zero)
        #expect(self.said(volume).contains("(V1)"))
        var behind = Volume.Owner(opening, volume.ledger, at: .zero)
        behind.lastSequence = 0
        #expect(self.said(behind).contains("stable up to 1 of 0"))
        volume.opening = opening
        #expect(self.said(volume).contains("serves and is being opened at once"))
    }

    @Test func `a region that may be written and is not marked`() {
        var ledger = self.volume().ledger
        ledger.safe.insert(0)
        #expect(self.said(ledger).contains("(V7)"))
        ledger = self.volume().ledger
        ledger.touched.removeLast()
        #expect(self.said(ledger).contains("regions without a sequence"))
    }

    @Test func `a flush of a replica that nobody waits for`() {
        var peer = Volume.Peer(node: NodeID(2), inSet: false)
        for phase in [Volume.Peer.Phase.greeting, .copying, .settling(1)] { peer.phase = phase }
        #expect(self.said(peer) == "nothing")
        peer.phase = .confirming(1)
        #expect(self.said(peer).contains("nobody waits (V3)"))
    }

    @Test func `a replica that has not answered a new connection is not taken for one that copies (rule V5)`() {
        var ledger = self.volume().ledger
        (ledger.leaseEnd, ledger.leaseIncarnation) = (.never, Incarnation(3))
        var effects = Volume.Effects()
        let opening = Volume.Opening(
            epoch: Epoch(generation: 0, index: 9), incarnation: Incarnation(3), inSync: [NodeID(1)], version: 1,
            reconciling: [], stage: .persisting)
        var owner = Volume.Owner(opening, ledger, at: .zero)
        owner.linkUp(NodeID(2), at: .zero, &ledger, &effects)
        for phase in [Volume.Peer.Phase.copying, .settling(1)] { owner.peers[0].phase = phase }
        owner.peers[0].beginWaiting()
        owner.peers[0].phase = .confirming(1)
        owner.linkUp(NodeID(2), at: .zero, &ledger, &effects)
        owner.tick(at: Tick(nanoseconds: 60_000_000_000), &ledger, &effects)
        #expect(!owner.peers[0].isWaitedFor)
        #expect(owner.peers[0].phase == .greeting)
    }

    @Test func `a step that its table lacks`() {
        #expect(!Volume.Peer.Phase.isAllowed(from: .greeting, to: .current))
        #expect(!Volume.Peer.Standing.isAllowed(from: .outside, to: .inSet))
        #expect(Volume.Peer.Phase.isAllowed(from: .greeting, to: .copying))
    }
}
