import Basis
import COpenSSL

/// A node's private key (P-256). It is made on the node and never leaves it.
public struct NodeKey: Sendable {
    /// The key as PEM. Secret.
    public let privateKeyPEM: String

    /// Makes a new key.
    public static func create() throws(SecureLinkError) -> NodeKey {
        ERR_clear_error()
        let key = holdfast_generate_p256()
        defer { EVP_PKEY_free(key) }
        guard key != nil, let text = PEM.text({ PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }) else {
            throw Self.failure("a new private key")
        }
        return NodeKey(made: text)
    }

    /// The first private key of a PEM text; throws when there is none that can be used.
    public init(pem: String) throws(SecureLinkError) {
        ERR_clear_error()
        let key = PEM.privateKey(pem)
        defer { EVP_PKEY_free(key) }
        guard key != nil else { throw Self.failure("a private key") }
        self.privateKeyPEM = pem
    }

    private init(made pem: String) { self.privateKeyPEM = pem }

    /// Writes the key to a file of mode 0600.
    public func save(to path: String) throws(SecureLinkError) {
        try PEMFile.write(self.privateKeyPEM, to: path, isSecret: true)
    }

    /// A certificate signing request (PKCS #10, PEM) that proves possession of the key.
    public func certificateRequest(nodeName: String) throws(SecureLinkError) -> String {
        ERR_clear_error()
        let key = PEM.privateKey(self.privateKeyPEM)
        let request = X509_REQ_new()
        defer {
            EVP_PKEY_free(key)
            X509_REQ_free(request)
        }
        guard key != nil, request != nil,
            CertificateParts.setCommonName(nodeName, of: X509_REQ_get_subject_name(request)),
            X509_REQ_set_pubkey(request, key) == 1, X509_REQ_sign(request, key, EVP_sha256()) > 0,
            let text = PEM.text({ PEM_write_bio_X509_REQ($0, request) })
        else { throw Self.failure("the certificate request of \(nodeName)") }
        return text
    }

    private static func failure(_ what: String) -> SecureLinkError {
        .unusable(what: what, reason: takeOpenSSLReasons(), remedy: "try again, or check the OpenSSL installation")
    }
}

/// Steps shared by authority and node certificates.
enum CertificateParts {
    static func setCommonName(_ name: String, of subject: OpaquePointer?) -> Bool {
        let bytes = Array(name.utf8)
        return X509_NAME_add_entry_by_NID(
            subject, NID_commonName, MBSTRING_UTF8, bytes, Int32(bytes.count), -1, 0) == 1
    }

    /// Adds an extension written as in openssl's configuration files.
    static func add(_ kind: Int32, _ value: String, to certificate: OpaquePointer, issuer: OpaquePointer) -> Bool {
        var context = X509V3_CTX()
        X509V3_set_ctx(&context, issuer, certificate, nil, nil, 0)
        guard let part = X509V3_EXT_conf_nid(nil, &context, kind, value) else { return false }
        defer { X509_EXTENSION_free(part) }
        return X509_add_ext(certificate, part, -1) == 1
    }

    /// SHA-256 of the DER form, 32 bytes.
    static func fingerprint(_ certificate: OpaquePointer?) -> [UInt8]? {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        guard certificate != nil, X509_digest(certificate, EVP_sha256(), &digest, &length) == 1 else { return nil }
        return Array(digest[..<Int(length)])
    }

    /// A time of a certificate in seconds from 1970; nil when it is none, or before.
    static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> UInt64? {
        guard let time, let first = ASN1_TIME_set(nil, 0) else { return nil }
        defer { ASN1_TIME_free(first) }
        var days: Int32 = 0
        var seconds: Int32 = 0
        guard ASN1_TIME_diff(&days, &seconds, first, time) == 1 else { return nil }
        return UInt64(exactly: Int(days) * 86_400 + Int(seconds))
    }

    /// Sets version 3, a random serial number and the validity. Links do not look at it.
    static func prepare(_ certificate: OpaquePointer, valid: Validity) -> Bool {
        guard var serial = try? SecureRandom.bytes(16) else { return false }
        serial[0] &= 0x7F
        serial[0] |= 0x01
        guard let number = BN_bin2bn(serial, Int32(serial.count), nil) else { return false }
        defer { BN_free(number) }
        return X509_set_version(certificate, 2) == 1
            && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nil
            && ASN1_TIME_set(X509_getm_notBefore(certificate), Int(valid.from)) != nil
            && ASN1_TIME_set(X509_getm_notAfter(certificate), Int(valid.until)) != nil
    }

    /// Letters, digits, dot, dash and underscore, 1 to 64 of them: safe in a certificate, a URI and a path.
    static func isPlainName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}
