import Basis
import COpenSSL

/// The cluster's own certificate authority. Whoever has its key can admit nodes; it lives on every member.
public struct CertificateAuthority: Sendable {
    /// From 1970 to 9999, the end that RFC 5280 §4.1.2.5 gives to what has none: an authority stays until a person puts another
    /// in its place, and no clock decides who belongs to a cluster.
    static let forEver = Validity(from: 0, until: 253_402_300_799)

    /// The certificate that every node trusts.
    public let certificatePEM: String
    /// The private key. Secret.
    public let privateKeyPEM: String
    /// SHA-256 of the certificate's DER form, 32 bytes; a join token carries it.
    public let fingerprint: [UInt8]

    /// Takes an existing authority and checks that certificate and key belong together.
    public init(certificatePEM: String, privateKeyPEM: String) throws(SecureLinkError) {
        ERR_clear_error()
        let certificate = PEM.certificate(certificatePEM)
        let key = PEM.privateKey(privateKeyPEM)
        defer {
            X509_free(certificate)
            EVP_PKEY_free(key)
        }
        guard let certificate, let key, X509_check_private_key(certificate, key) == 1 else {
            throw .unusable(
                what: "the certificate authority", reason: takeOpenSSLReasons(),
                remedy: "restore ca.crt and ca.key from the same backup")
        }
        self.certificatePEM = certificatePEM
        self.privateKeyPEM = privateKeyPEM
        self.fingerprint = try Self.fingerprint(ofPEM: certificatePEM)
    }

    /// Makes the authority of a new cluster. The name may hold letters, digits, dot, dash and underscore, up to 64.
    public static func create(clusterName: String) throws(SecureLinkError) -> CertificateAuthority {
        try self.create(clusterName: clusterName, valid: self.forEver)
    }

    static func create(
        clusterName: String, valid: Validity
    ) throws(SecureLinkError) -> CertificateAuthority {
        try self.checkName(clusterName, "cluster")
        ERR_clear_error()
        let key = holdfast_generate_p256()
        let certificate = X509_new()
        defer {
            X509_free(certificate)
            EVP_PKEY_free(key)
        }
        guard let key, let certificate, CertificateParts.prepare(certificate, valid: valid),
            CertificateParts.setCommonName(clusterName, of: X509_get_subject_name(certificate)),
            X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1,
            X509_set_pubkey(certificate, key) == 1,
            CertificateParts.add(
                NID_basic_constraints, "critical,CA:TRUE,pathlen:0", to: certificate, issuer: certificate),
            CertificateParts.add(NID_key_usage, "critical,keyCertSign,cRLSign", to: certificate, issuer: certificate),
            CertificateParts.add(NID_subject_key_identifier, "hash", to: certificate, issuer: certificate),
            X509_sign(certificate, key, EVP_sha256()) > 0,
            let certificatePEM = PEM.text({ PEM_write_bio_X509($0, certificate) }),
            let keyPEM = PEM.text({ PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) })
        else { throw self.failure("the new certificate authority of \(clusterName)") }
        return try CertificateAuthority(certificatePEM: certificatePEM, privateKeyPEM: keyPEM)
    }

    /// Reads both files; of several certificates that nodes trust, the one that the key belongs to.
    public static func load(certificatePath: String, keyPath: String) throws(SecureLinkError) -> CertificateAuthority {
        let key = try PEMFile.read(keyPath)
        let trusted = PEM.certificates(in: try PEMFile.read(certificatePath))
        for text in trusted {
            if let authority = try? CertificateAuthority(certificatePEM: text, privateKeyPEM: key) { return authority }
        }
        return try CertificateAuthority(certificatePEM: trusted.first ?? "", privateKeyPEM: key)
    }

    /// Each certificate (PEM) of a file of authorities that are trusted.
    public static func trusted(_ path: String) throws(SecureLinkError) -> [String] {
        PEM.certificates(in: try PEMFile.read(path))
    }

    /// Each certificate of a text, as a text of its own.
    public static func certificates(in text: String) -> [String] { PEM.certificates(in: text) }

    /// Writes both files, the key with mode 0600.
    public func save(certificatePath: String, keyPath: String) throws(SecureLinkError) {
        try PEMFile.write(self.privateKeyPEM, to: keyPath, isSecret: true)
        try PEMFile.write(self.certificatePEM, to: certificatePath, isSecret: false)
    }

    /// Signs a node's request (PEM) and returns the certificate (PEM). Only the public key is taken from the request;
    /// the names are the caller's. A peer later sees them as `TLSStream.peerName`, `peerNode` and `peerCluster`.
    public func issue(
        nodeName: String, node: NodeID, clusterID: String, request: String, valid: Validity
    ) throws(SecureLinkError) -> String {
        try Self.checkName(nodeName, "node")
        try Self.checkName(clusterID, "cluster")
        precondition(node.rawValue > 0, "node number 0 is never assigned")
        ERR_clear_error()
        let authority = PEM.certificate(self.certificatePEM)
        let key = PEM.privateKey(self.privateKeyPEM)
        let parsed = PEM.request(request)
        defer {
            X509_free(authority)
            EVP_PKEY_free(key)
            X509_REQ_free(parsed)
        }
        let subjectKey = parsed.flatMap { X509_REQ_get0_pubkey($0) }
        guard let parsed, let subjectKey, X509_REQ_verify(parsed, subjectKey) == 1 else {
            throw .unusable(
                what: "the certificate request of \(nodeName)", reason: takeOpenSSLReasons(),
                remedy: "start the join again on that node")
        }
        guard let authority, let key,
            let text = self.sign(
                subjectKey, authority: authority, key: key, nodeName: nodeName,
                uri: NodeURI(cluster: clusterID, node: node), valid: valid)
        else { throw Self.failure("the certificate of \(nodeName)") }
        return text
    }

    private func sign(
        _ subjectKey: OpaquePointer, authority: OpaquePointer, key: OpaquePointer, nodeName: String, uri: NodeURI,
        valid: Validity
    ) -> String? {
        guard let certificate = X509_new() else { return nil }
        defer { X509_free(certificate) }
        let extensions: [(Int32, String)] = [
            (NID_basic_constraints, "critical,CA:FALSE"),
            (NID_key_usage, "critical,digitalSignature"),
            (NID_ext_key_usage, "serverAuth,clientAuth"),
            (NID_subject_alt_name, "URI:\(uri.text)"),
            (NID_subject_key_identifier, "hash"),
            (NID_authority_key_identifier, "keyid:always"),
        ]
        guard CertificateParts.prepare(certificate, valid: valid),
            CertificateParts.setCommonName(nodeName, of: X509_get_subject_name(certificate)),
            X509_set_issuer_name(certificate, X509_get_subject_name(authority)) == 1,
            X509_set_pubkey(certificate, subjectKey) == 1,
            extensions.allSatisfy({ CertificateParts.add($0.0, $0.1, to: certificate, issuer: authority) }),
            X509_sign(certificate, key, EVP_sha256()) > 0
        else { return nil }
        return PEM.text { PEM_write_bio_X509($0, certificate) }
    }

    /// SHA-256 of a PEM certificate's DER form, 32 bytes.
    public static func fingerprint(ofPEM text: String) throws(SecureLinkError) -> [UInt8] {
        ERR_clear_error()
        let certificate = PEM.certificate(text)
        defer { X509_free(certificate) }
        guard let fingerprint = CertificateParts.fingerprint(certificate) else { throw self.failure("a certificate") }
        return fingerprint
    }

    private static func checkName(_ name: String, _ what: String) throws(SecureLinkError) {
        guard CertificateParts.isPlainName(name) else {
            throw .unusable(
                what: "the \(what) name '\(name)'", reason: "a certificate cannot carry it",
                remedy: "use 1 to 64 letters, digits, dots, dashes and underscores")
        }
    }

    private static func failure(_ what: String) -> SecureLinkError {
        .unusable(what: what, reason: takeOpenSSLReasons(), remedy: "check the file, or the OpenSSL installation")
    }
}
