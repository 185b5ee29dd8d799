import Basis
import COpenSSL

/// What a node's certificate says.
public struct NodeCertificate: Equatable, Sendable {
    /// As it was read.
    public let pem: String
    /// Whose it is.
    public let node: NodeID
    /// Its cluster.
    public let cluster: String
    /// From when until when it is meant to be used.
    public let validity: Validity
    /// SHA-256 of its DER form, 32 bytes.
    public let fingerprint: [UInt8]

    /// Reads the first certificate of a PEM text; throws when it is none of a node.
    public init(pem: String) throws(SecureLinkError) {
        ERR_clear_error()
        let certificate = PEM.certificate(pem)
        defer { X509_free(certificate) }
        guard let certificate, let uri = NodeURI.of(certificate),
            let from = CertificateParts.seconds(X509_get0_notBefore(certificate)),
            let until = CertificateParts.seconds(X509_get0_notAfter(certificate)), from <= until
        else {
            throw .unusable(
                what: "the certificate of a node", reason: takeOpenSSLReasons(),
                remedy: "restore it, or join the cluster again")
        }
        self.pem = pem
        self.node = uri.node
        self.cluster = uri.cluster
        self.validity = Validity(from: from, until: until)
        self.fingerprint = try CertificateAuthority.fingerprint(ofPEM: pem)
    }

    /// The one that links are made with at this moment.
    public static func present(_ identity: TLSIdentity) throws(SecureLinkError) -> NodeCertificate {
        try NodeCertificate(pem: try PEMFile.read(identity.pair.certificate))
    }

    /// Whether the authority with this certificate (PEM) has signed it.
    public func isSigned(by authority: String) -> Bool {
        ERR_clear_error()
        let certificate = PEM.certificate(self.pem)
        let issuer = PEM.certificate(authority)
        defer {
            X509_free(certificate)
            X509_free(issuer)
            ERR_clear_error()
        }
        guard let certificate, let issuer, let key = X509_get0_pubkey(issuer) else { return false }
        return X509_verify(certificate, key) == 1
    }

    /// Whether it was made for this private key (PEM).
    public func belongs(to key: NodeKey) -> Bool {
        ERR_clear_error()
        let certificate = PEM.certificate(self.pem)
        let privateKey = PEM.privateKey(key.privateKeyPEM)
        defer {
            X509_free(certificate)
            EVP_PKEY_free(privateKey)
            ERR_clear_error()
        }
        guard let certificate, let privateKey else { return false }
        return X509_check_private_key(certificate, privateKey) == 1
    }
}

extension NodeURI {
    /// The node that a certificate names; nil when it names none of ours.
    static func of(_ certificate: OpaquePointer) -> NodeURI? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { text in
            guard let base = text.baseAddress,
                holdfast_certificate_uri(certificate, base, Int32(text.count)) == 1
            else { return nil }
            return String(validatingCString: base).flatMap { NodeURI($0) }
        }
    }
}

extension TLSIdentity {
    /// Whether the certificate in the files is the one with this SHA-256, or cannot be read.
    public func shows(_ fingerprint: [UInt8]) -> Bool {
        guard let present = try? NodeCertificate.present(self) else { return true }
        return present.fingerprint == fingerprint
    }
}
