import Basis
import Foundation
import Testing

@testable import SecureLink

/// A certificate that is renewed while links stand on the one before. (Rule I1)
@Suite struct RenewalTests {
    private let cluster: TestCluster
    private let identity: TLSIdentity

    init() throws {
        self.cluster = try TestCluster()
        let made = try self.cluster.identity("tok-1", 1)
        self.identity = TLSIdentity(
            certificateAuthorityPath: made.certificateAuthorityPath, certificatePath: made.certificatePath,
            keyPath: made.keyPath, renewedPath: self.cluster.directory + "/tok-1.pem")
    }

    private func renew(_ node: UInt32 = 1, until: UInt64 = 2_000_000_000) throws {
        let key = try NodeKey.create()
        let text = try self.cluster.authority.issue(
            nodeName: "tok-1", node: NodeID(node), clusterID: "prod",
            request: try key.certificateRequest(nodeName: "tok-1"), valid: Validity(from: 0, until: until))
        try self.identity.replacePair(certificate: text, key: key)
    }

    @Test func `what was renewed is used by the next connection, and the one before goes on`() throws {
        let context = try TLSContext(identity: self.identity)
        let other = try self.cluster.context("osk-1", 2)
        let before = try Pair(client: context, server: other)
        // Told from the first by the node that it names, which a real one never changes.
        try self.renew(7)
        let dialled = try Pair(client: context, server: other)
        let answered = try Pair(client: other, server: context)
        #expect(before.server.peerNode == NodeID(1))
        #expect(dialled.server.peerNode == NodeID(7))
        #expect(answered.client.peerNode == NodeID(7))
        try before.client.send([1, 2, 3])
        #expect(try before.server.receive(3) == [1, 2, 3])
        #expect(try NodeCertificate.present(self.identity).validity == Validity(from: 0, until: 2_000_000_000))
    }

    @Test func `files that cannot be used change nothing for who has used those before`() throws {
        let context = try TLSContext(identity: self.identity)
        let other = try self.cluster.context("osk-1", 2)
        try self.renew(7)
        try "rubbish".write(toFile: self.cluster.directory + "/tok-1.pem", atomically: true, encoding: .utf8)
        #expect(try Pair(client: context, server: other).server.peerNode == NodeID(1))
        try self.renew(8)
        #expect(try Pair(client: context, server: other).server.peerNode == NodeID(8))
    }

    @Test func `what was signed goes on to be told with the new key, and with the old one`() throws {
        let signer = try NodeSigner(identity: self.identity)
        let reader = try NodeSigner(identity: try self.cluster.identity("osk-1", 2))
        #expect(signer.renewed() === signer)
        try self.renew()
        let renewed = signer.renewed()
        #expect(renewed.certificate != signer.certificate)
        let bytes = Array("stop".utf8)
        for one in [signer, renewed] {
            let told = reader.signer(of: bytes, signature: try one.sign(bytes), certificate: one.certificate)
            #expect(told?.node == NodeID(1))
        }
        #expect(
            reader.signer(of: bytes, signature: try signer.sign(bytes), certificate: renewed.certificate) == nil)
    }

    @Test func `a certificate says whose it is, who signed it and until when it is meant to be used`() throws {
        try self.renew(3, until: 1_900_000_000)
        let certificate = try NodeCertificate.present(self.identity)
        #expect(certificate.node == NodeID(3))
        #expect(certificate.cluster == "prod")
        #expect(certificate.validity == Validity(from: 0, until: 1_900_000_000))
        #expect(certificate.isSigned(by: self.cluster.authority.certificatePEM))
        #expect(!certificate.isSigned(by: try TestCluster().authority.certificatePEM))
        let key = try NodeKey(pem: try PEMFile.read(self.cluster.directory + "/tok-1.pem"))
        #expect(certificate.belongs(to: key))
        #expect(!certificate.belongs(to: try NodeKey.create()))
        #expect(throws: SecureLinkError.self) { try NodeCertificate(pem: self.cluster.authority.certificatePEM) }
    }

    @Test func `of two authorities both are trusted, and the one whose key is there signs`() throws {
        let second = try CertificateAuthority.create(clusterName: "prod")
        let path = self.cluster.directory + "/ca.crt"
        let context = try TLSContext(identity: self.identity)
        try PEMFile.write(
            self.cluster.authority.certificatePEM + second.certificatePEM, to: path, isSecret: false)
        #expect(
            try CertificateAuthority.trusted(path) == [self.cluster.authority.certificatePEM, second.certificatePEM])
        try PEMFile.write(second.privateKeyPEM, to: self.cluster.directory + "/second.key", isSecret: true)
        let loaded = try CertificateAuthority.load(
            certificatePath: path, keyPath: self.cluster.directory + "/second.key")
        #expect(loaded.fingerprint == second.fingerprint)
        let key = try NodeKey.create()
        let text = try loaded.issue(
            nodeName: "osk-1", node: NodeID(2), clusterID: "prod",
            request: try key.certificateRequest(nodeName: "osk-1"), valid: CertificateAuthority.forEver)
        let base = self.cluster.directory + "/by-second"
        try PEMFile.write(text, to: base + ".crt", isSecret: false)
        try key.save(to: base + ".key")
        let other = try TLSContext(
            identity: TLSIdentity(
                certificateAuthorityPath: path, certificatePath: base + ".crt", keyPath: base + ".key"))
        #expect(try Pair(client: context, server: other).client.peerNode == NodeID(2))
        #expect(try Pair(client: other, server: context).server.peerNode == NodeID(2))
        // Who joins by a token of either finds it in what is sent.
        let welcoming = try TLSContext(identity: self.identity, clientCertificateOptional: true)
        let joining = try TLSContext.anonymousClient(
            certificateAuthorityFingerprint: self.cluster.authority.fingerprint)
        #expect(try Pair(client: joining, server: welcoming).client.peerNode == NodeID(1))
    }

    @Test func `who comes about certificates is told from a link, and nobody else is taken for it`() throws {
        let link = try TLSContext(identity: self.identity, speaking: 2)
        let asking = try TLSContext.aboutCertificates(identity: try self.cluster.identity("osk-1", 2))
        let door = try TLSContext(identity: self.identity, clientCertificateOptional: true, speaking: 2)
        let pair = try Pair(client: asking, server: door)
        #expect(pair.client.isAboutCertificates && pair.server.isAboutCertificates)
        let plain = try Pair(client: link, server: door)
        #expect(!plain.client.isAboutCertificates && !plain.server.isAboutCertificates)
        // A build from before speaks, and does not know of it.
        let before = try Pair(client: asking, server: try TLSContext(identity: self.identity, speaking: 1))
        #expect(!before.client.isAboutCertificates)
    }
}
