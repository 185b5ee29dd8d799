import Basis
import Foundation
import Testing

@testable import SecureLink

private let forEver = CertificateAuthority.forEver

@Suite struct `The certificate authority admits nodes` {
    @Test func `keys are readable by their owner alone`() throws {
        let cluster = try TestCluster()
        _ = try cluster.identity("tok-1", 1)
        for file in ["ca.key", "tok-1.key"] {
            let attributes = try FileManager.default.attributesOfItem(atPath: cluster.directory + "/" + file)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
        }
    }

    @Test func `an authority that was saved is the same after loading`() throws {
        let cluster = try TestCluster()
        let loaded = try CertificateAuthority.load(
            certificatePath: cluster.directory + "/ca.crt", keyPath: cluster.directory + "/ca.key")
        #expect(loaded.fingerprint == cluster.authority.fingerprint)
        #expect(loaded.fingerprint.count == 32)
        let other = try TestCluster()
        #expect(throws: SecureLinkError.self) {
            try CertificateAuthority(
                certificatePEM: cluster.authority.certificatePEM, privateKeyPEM: other.authority.privateKeyPEM)
        }
    }

    @Test func `a request that was tampered with is refused`() throws {
        let cluster = try TestCluster()
        let request = try NodeKey.create().certificateRequest(nodeName: "tok-1")
        var lines = request.split(separator: "\n").map(String.init)
        lines[2] = String(lines[2].reversed())
        #expect(throws: SecureLinkError.self) {
            try cluster.authority.issue(
                nodeName: "tok-1", node: NodeID(1), clusterID: "prod", request: lines.joined(separator: "\n"),
                valid: forEver)
        }
        #expect(throws: SecureLinkError.self) {
            try cluster.authority.issue(
                nodeName: "tok-1", node: NodeID(1), clusterID: "prod", request: "nonsense", valid: forEver)
        }
    }

    @Test(arguments: ["", "a b", "x,DNS:evil", "a/b", "tök", String(repeating: "a", count: 65)])
    func `a name that could mean something else in a certificate is refused`(name: String) throws {
        let cluster = try TestCluster()
        let request = try NodeKey.create().certificateRequest(nodeName: "tok-1")
        #expect(throws: SecureLinkError.self) {
            try cluster.authority.issue(
                nodeName: name, node: NodeID(1), clusterID: "prod", request: request, valid: forEver)
        }
        #expect(throws: SecureLinkError.self) {
            try cluster.authority.issue(
                nodeName: "tok-1", node: NodeID(1), clusterID: name, request: request, valid: forEver)
        }
        #expect(throws: SecureLinkError.self) { try CertificateAuthority.create(clusterName: name) }
    }

    @Test(arguments: [
        "", "holdfast://prod/node/", "holdfast://prod/node/0", "holdfast://prod/node/01", "holdfast:///node/1",
        "https://prod/node/1", "holdfast://prod/node/4294967296", "holdfast://prod/node/1/2",
    ])
    func `a node address that is not exactly ours names nobody`(text: String) {
        #expect(NodeURI(text) == nil)
    }
}

@Suite struct `A join token survives copying, or says why not` {
    private func token() throws -> JoinToken {
        try JoinToken(
            host: "10.0.0.1", port: 7400, certificateAuthorityFingerprint: (0..<32).map { UInt8($0) },
            secret: (0..<16).map { UInt8(200 + $0) })
    }

    @Test func `it is read back, also in capitals and wrapped`() throws {
        let token = try self.token()
        let text = token.description
        #expect(try JoinToken(text) == token)
        #expect(try JoinToken(text.uppercased()) == token)
        #expect(try JoinToken(" " + text.prefix(40) + "\n  " + text.dropFirst(40) + "\n") == token)
        #expect(text.allSatisfy { $0.isLetter || $0.isNumber })
        #expect(text.count < 120)
    }

    @Test func `every truncation is refused`() throws {
        let text = try self.token().description
        for length in 0..<text.count {
            #expect(throws: SecureLinkError.self) { try JoinToken(String(text.prefix(length))) }
        }
    }

    @Test func `every single mistyped letter is refused`() throws {
        let text = Array(try self.token().description)
        for position in text.indices {
            for replacement in ["a", "7", "0", "é"] as [Character] where replacement != text[position] {
                var wrong = text
                wrong[position] = replacement
                #expect(throws: SecureLinkError.self) { try JoinToken(String(wrong)) }
            }
        }
    }

    @Test func `two tokens never share a secret`() throws {
        let fingerprint = [UInt8](repeating: 1, count: 32)
        let first = try JoinToken(host: "a", port: 1, certificateAuthorityFingerprint: fingerprint)
        let second = try JoinToken(host: "a", port: 1, certificateAuthorityFingerprint: fingerprint)
        #expect(!SecureRandom.areEqual(first.secret, second.secret))
        #expect(SecureRandom.areEqual(first.secret, first.secret))
    }
}
