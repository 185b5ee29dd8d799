import Basis
import Testing

@testable import SecureLink

@Suite struct `What a node signs` {
    private let bytes = Array("n1 to n2: stop at entry 7".utf8)

    @Test func `any node of the cluster tells who signed it, by the certificate that goes with it`() throws {
        let cluster = try TestCluster()
        let signer = try NodeSigner(identity: try cluster.identity("tok-1", 1))
        let reader = try NodeSigner(identity: try cluster.identity("osk-1", 2))
        let signature = try signer.sign(self.bytes)
        let told = reader.signer(of: self.bytes, signature: signature, certificate: signer.certificate)
        #expect(told == NodeSigner.Signer(node: NodeID(1), cluster: "prod"))
    }

    @Test func `nothing of it can be changed, and nobody else's certificate fits`() throws {
        let cluster = try TestCluster()
        let signer = try NodeSigner(identity: try cluster.identity("tok-1", 1))
        let reader = try NodeSigner(identity: try cluster.identity("osk-1", 2))
        let signature = try signer.sign(self.bytes)
        for place in self.bytes.indices {
            var changed = self.bytes
            changed[place] ^= 1
            #expect(reader.signer(of: changed, signature: signature, certificate: signer.certificate) == nil)
        }
        for place in signature.indices {
            var changed = signature
            changed[place] ^= 1
            #expect(reader.signer(of: self.bytes, signature: changed, certificate: signer.certificate) == nil)
        }
        #expect(reader.signer(of: self.bytes, signature: signature, certificate: reader.certificate) == nil)
        #expect(reader.signer(of: self.bytes, signature: [], certificate: signer.certificate) == nil)
        #expect(reader.signer(of: self.bytes, signature: signature, certificate: []) == nil)
        var cut = signer.certificate
        cut.removeLast()
        #expect(reader.signer(of: self.bytes, signature: signature, certificate: cut) == nil)
    }

    @Test func `a certificate of another authority tells nothing, though it has the same names`() throws {
        let cluster = try TestCluster()
        let other = try TestCluster()
        let stranger = try NodeSigner(identity: try other.identity("tok-1", 1))
        let reader = try NodeSigner(identity: try cluster.identity("osk-1", 2))
        let signature = try stranger.sign(self.bytes)
        #expect(reader.signer(of: self.bytes, signature: signature, certificate: stranger.certificate) == nil)
    }
}
