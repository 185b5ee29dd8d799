import Basis
import COpenSSL

/// Signs, with a node's own key, what others carry for it, and tells by a certificate of the cluster's authority who signed
/// (ECDSA with SHA-256 over P-256). About a tenth of a millisecond each.
public final class NodeSigner: Sendable {
    /// Whose signature it is, by the signer's certificate.
    public struct Signer: Equatable, Sendable {
        /// The node.
        public let node: NodeID
        /// Its cluster.
        public let cluster: String
    }

    /// This node's certificate (DER), which goes with each signature: who reads it may never have talked to this node.
    public let certificate: [UInt8]
    private let identity: TLSIdentity
    private let stamp: TLSIdentity.Stamp
    // Unsafe to the compiler alone: neither pointer changes, and OpenSSL only reads what they lead to.
    nonisolated(unsafe) private let key: OpaquePointer
    nonisolated(unsafe) private let trusted: OpaquePointer

    /// Reads the identity's files.
    public init(identity: TLSIdentity) throws(SecureLinkError) {
        ERR_clear_error()
        self.identity = identity
        self.stamp = TLSIdentity.Stamp(identity)
        let authorities = PEM.certificates(in: try PEMFile.read(identity.certificateAuthorityPath))
        let pair = identity.pair
        let own = PEM.certificate(try PEMFile.read(pair.certificate))
        let key = PEM.privateKey(try PEMFile.read(pair.key))
        let store = X509_STORE_new()
        defer { X509_free(own) }
        // As on links: the dates of certificates are not looked at, because a clock may be wrong.
        guard let own, let key, let store, !authorities.isEmpty,
            authorities.allSatisfy({ Self.trust($0, in: store) }),
            X509_STORE_set_flags(store, UInt(X509_V_FLAG_NO_CHECK_TIME)) == 1,
            let certificate = Self.encoded(own)
        else {
            EVP_PKEY_free(key)
            X509_STORE_free(store)
            throw .unusable(
                what: "the certificate \(pair.certificate) or its key", reason: takeOpenSSLReasons(),
                remedy: "restore the files, or join the cluster again")
        }
        self.certificate = certificate
        self.key = key
        self.trusted = store
    }

    /// The same signer, or one of the files as they are now where they were replaced and can be used.
    public func renewed() -> NodeSigner {
        guard TLSIdentity.Stamp(self.identity) != self.stamp, let next = try? NodeSigner(identity: self.identity) else {
            return self
        }
        return next
    }

    private static func trust(_ authority: String, in store: OpaquePointer) -> Bool {
        let certificate = PEM.certificate(authority)
        defer { X509_free(certificate) }
        return certificate != nil && X509_STORE_add_cert(store, certificate) == 1
    }

    deinit {
        EVP_PKEY_free(self.key)
        X509_STORE_free(self.trusted)
    }

    /// This node's signature of the bytes.
    public func sign(_ bytes: [UInt8]) throws(SecureLinkError) -> [UInt8] {
        ERR_clear_error()
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        var length = 128
        var signature = [UInt8](repeating: 0, count: length)
        guard EVP_DigestSignInit(context, nil, EVP_sha256(), nil, self.key) == 1,
            EVP_DigestSign(context, &signature, &length, bytes, bytes.count) == 1
        else {
            throw .unusable(
                what: "a signature", reason: takeOpenSSLReasons(), remedy: "check the OpenSSL installation")
        }
        return Array(signature[..<length])
    }

    /// Who signed the bytes: nil if the certificate (DER) is not one of the cluster's authority for a node, or the signature
    /// is not made with its key over just these bytes.
    public func signer(of bytes: [UInt8], signature: [UInt8], certificate: [UInt8]) -> Signer? {
        ERR_clear_error()
        guard let shown = Self.decoded(certificate) else { return nil }
        let context = EVP_MD_CTX_new()
        defer {
            X509_free(shown)
            EVP_MD_CTX_free(context)
            ERR_clear_error()
        }
        guard self.isIssuedByAuthority(shown), let key = X509_get0_pubkey(shown),
            EVP_DigestVerifyInit(context, nil, EVP_sha256(), nil, key) == 1,
            EVP_DigestVerify(context, signature, signature.count, bytes, bytes.count) == 1
        else { return nil }
        return NodeURI.of(shown).map { Signer(node: $0.node, cluster: $0.cluster) }
    }

    private func isIssuedByAuthority(_ certificate: OpaquePointer) -> Bool {
        guard let context = X509_STORE_CTX_new() else { return false }
        defer { X509_STORE_CTX_free(context) }
        return X509_STORE_CTX_init(context, self.trusted, certificate, nil) == 1 && X509_verify_cert(context) == 1
    }

    private static func encoded(_ certificate: OpaquePointer) -> [UInt8]? {
        let count = i2d_X509(certificate, nil)
        guard count > 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(count))
        let written = bytes.withUnsafeMutableBufferPointer { buffer in
            var place = buffer.baseAddress
            return i2d_X509(certificate, &place)
        }
        return written == count ? bytes : nil
    }

    private static func decoded(_ bytes: [UInt8]) -> OpaquePointer? {
        bytes.withUnsafeBufferPointer { buffer in
            var place = buffer.baseAddress
            return d2i_X509(nil, &place, buffer.count)
        }
    }
}
