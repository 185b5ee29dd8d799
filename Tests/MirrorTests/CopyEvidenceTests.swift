import Basis
import Mirror
import Testing

/// Whether data and metadata are one copy: the judgement alone; `CopyStoreTests` tries it on files. (Rules V17, V20)
struct CopyEvidenceTests {
    private let node = NodeID(1)

    private var metadata: VolumeMetadata {
        var metadata = VolumeMetadata(identity: 5, volume: 7, sizeBytes: 1 << 20)
        metadata.count = 9
        return metadata
    }

    private func verdict(_ content: CopyEvidence.Content, _ metadata: VolumeMetadata?) -> CopyEvidence.Verdict {
        CopyEvidence(volume: 7, node: self.node, content: content, metadata: metadata).verdict(place: "/copy")
    }

    private func label(
        volume: UInt64 = 7, node: NodeID? = nil, identity: UInt64 = 5, count: UInt64
    ) -> CopyEvidence.Content {
        .labelled(CopyLabel(volume: volume, node: node ?? self.node, identity: identity, count: count))
    }

    private func mayMake(_ verdict: CopyEvidence.Verdict) -> Bool? {
        if case .none(_, let mayMake) = verdict { mayMake } else { nil }
    }

    @Test func `what agrees is the copy, also after a crash between label and metadata`() {
        #expect(self.verdict(self.label(count: 9), self.metadata) == .copy(self.metadata))
        #expect(self.verdict(self.label(count: 10), self.metadata) == .copy(self.metadata))
    }

    @Test func `an older backing and older data are no copy`() {
        #expect(self.mayMake(self.verdict(self.label(count: 8), self.metadata)) == true)
        #expect(self.mayMake(self.verdict(self.label(count: 11), self.metadata)) == true)
    }

    @Test func `an exchanged backing is no copy`() {
        #expect(self.mayMake(self.verdict(self.label(identity: 6, count: 9), self.metadata)) == true)
        #expect(self.mayMake(self.verdict(self.label(count: 9), nil)) == true)
    }

    @Test func `a blank backing of a known copy is no copy`() {
        #expect(self.mayMake(self.verdict(.blank, self.metadata)) == true)
        #expect(self.mayMake(self.verdict(.blank, nil)) == true)
    }

    @Test func `data that is no copy of this volume and node is left alone`() {
        #expect(self.mayMake(self.verdict(.foreign, self.metadata)) == false)
        #expect(self.mayMake(self.verdict(self.label(volume: 8, count: 9), self.metadata)) == false)
        #expect(self.mayMake(self.verdict(self.label(node: NodeID(2), count: 9), nil)) == false)
    }

    @Test func `a copy of a machine that was given up is taken as it is (rule R6)`() {
        func verdict(_ content: CopyEvidence.Content) -> CopyEvidence.Verdict {
            CopyEvidence(
                volume: 7, node: NodeID(4), content: content, metadata: nil, formerNodes: [NodeID(1), NodeID(2)]
            )
            .verdict(place: "/copy")
        }
        #expect(self.mayMake(verdict(self.label(node: NodeID(2), count: 9))) == true)
        // Of one that lives, and of another volume, it is left alone.
        #expect(self.mayMake(verdict(self.label(node: NodeID(3), count: 9))) == false)
        #expect(self.mayMake(verdict(self.label(volume: 8, node: NodeID(2), count: 9))) == false)
    }
}
