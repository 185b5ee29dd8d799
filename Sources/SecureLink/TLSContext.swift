import Basis
import COpenSSL

/// The three PEM files that let a node prove who it is and recognise the others.
public struct TLSIdentity: Sendable, Equatable {
    /// The cluster's certificate authority.
    public let certificateAuthorityPath: String
    /// This node's certificate.
    public let certificatePath: String
    /// This node's private key, mode 0600.
    public let keyPath: String
    /// Names the files; nothing is read yet.
    public init(certificateAuthorityPath: String, certificatePath: String, keyPath: String) {
        self.certificateAuthorityPath = certificateAuthorityPath
        self.certificatePath = certificatePath
        self.keyPath = keyPath
    }
}

/// Settings and keys shared by streams: TLS 1.3 only, peers verified against the cluster's authority. One context
/// serves both directions and any number of threads.
public final class TLSContext: Sendable {
    // Unsafe to the compiler alone: neither pointer changes, and OpenSSL guards what it keeps in a context itself.
    nonisolated(unsafe) let handle: OpaquePointer
    nonisolated(unsafe) private let fingerprint: UnsafeMutablePointer<UInt8>?
    /// Records that a stream writes before it changes its key.
    let recordsPerKey: UInt32

    /// A context for links between nodes: each side must present a certificate of the same authority.
    /// `speaking` is the highest version of what is said over the link; the lower of both ends' is `TLSStream.agreedVersion`.
    public convenience init(identity: TLSIdentity, speaking version: UInt32 = 1) throws(SecureLinkError) {
        try self.init(identity: identity, clientCertificateOptional: false, speaking: version)
    }

    /// With `clientCertificateOptional` a server also accepts clients that have no certificate yet (`peerName` is nil
    /// then) and sends the authority's certificate along, so that a joining node can compare its fingerprint.
    public convenience init(
        identity: TLSIdentity, clientCertificateOptional: Bool, speaking version: UInt32 = 1
    ) throws(SecureLinkError) {
        try self.init(
            identity: identity, clientCertificateOptional: clientCertificateOptional,
            sendsAuthority: clientCertificateOptional)
        try self.speak(upTo: version)
    }

    init(
        identity: TLSIdentity, clientCertificateOptional: Bool, sendsAuthority: Bool = false,
        recordsPerKey: UInt32 = TLSSession.recordsPerKey
    ) throws(SecureLinkError) {
        self.handle = try Self.newHandle()
        self.recordsPerKey = recordsPerKey
        self.fingerprint = nil
        // From here on deinit frees the handle also when a step throws.
        try self.load(identity)
        if sendsAuthority { try self.sendAuthority(identity.certificateAuthorityPath) }
        let required = clientCertificateOptional ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        SSL_CTX_set_verify(self.handle, SSL_VERIFY_PEER | required, nil)
    }

    private init(fingerprint: [UInt8]) throws(SecureLinkError) {
        guard fingerprint.count == 32 else {
            throw .unusable(
                what: "the certificate authority's fingerprint",
                reason: "it has \(fingerprint.count) bytes instead of 32",
                remedy: "use a fresh join token")
        }
        self.handle = try Self.newHandle()
        self.recordsPerKey = TLSSession.recordsPerKey
        let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: 32)
        copy.initialize(from: fingerprint, count: 32)
        self.fingerprint = copy
        SSL_CTX_set_verify(self.handle, SSL_VERIFY_PEER, nil)
        holdfast_trust_fingerprint(self.handle, copy)
    }

    deinit {
        SSL_CTX_free(self.handle)
        self.fingerprint?.deallocate()
    }

    /// For a client that has no certificate yet: it trusts the one authority with this SHA-256 fingerprint (32 bytes),
    /// which the server must send in its chain.
    public static func anonymousClient(
        certificateAuthorityFingerprint: [UInt8], speaking version: UInt32 = 1
    ) throws(SecureLinkError) -> TLSContext {
        let context = try TLSContext(fingerprint: certificateAuthorityFingerprint)
        try context.speak(upTo: version)
        return context
    }

    /// A peer that knows of no versions hears the offer and passes it over.
    private func speak(upTo version: UInt32) throws(SecureLinkError) {
        guard holdfast_speak_up_to(self.handle, version) == 1 else {
            throw .unusable(what: "OpenSSL", reason: takeOpenSSLReasons(), remedy: "check the OpenSSL installation")
        }
    }

    private static func newHandle() throws(SecureLinkError) -> OpaquePointer {
        ERR_clear_error()
        guard let handle = SSL_CTX_new(TLS_method()) else {
            throw .unusable(what: "OpenSSL", reason: takeOpenSSLReasons(), remedy: "check the OpenSSL installation")
        }
        let suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
        guard holdfast_require_tls13(handle) == 1, SSL_CTX_set_ciphersuites(handle, suites) == 1 else {
            SSL_CTX_free(handle)
            throw .unusable(
                what: "OpenSSL", reason: "TLS 1.3 is not available (\(takeOpenSSLReasons()))",
                remedy: "check the system-wide OpenSSL configuration")
        }
        let modes = SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN
        holdfast_SSL_CTX_set_mode(handle, Int(modes))
        holdfast_SSL_CTX_set_read_ahead(handle)
        SSL_CTX_set_default_read_buffer_len(handle, 128 * 1024)
        holdfast_SSL_CTX_no_session_cache(handle)
        SSL_CTX_set_num_tickets(handle, 0)
        holdfast_ignore_dates(handle)
        // A peer that crashed and one that closed look alike to the layers above: frames carry their length.
        holdfast_ignore_unexpected_eof(handle)
        return handle
    }

    private func load(_ identity: TLSIdentity) throws(SecureLinkError) {
        let remedy =
            "check that the file exists, is a PEM file and is readable by the daemon, or join the cluster again"
        ERR_clear_error()
        guard SSL_CTX_load_verify_locations(self.handle, identity.certificateAuthorityPath, nil) == 1 else {
            throw .unusable(
                what: "the certificate authority \(identity.certificateAuthorityPath)", reason: takeOpenSSLReasons(),
                remedy: remedy)
        }
        guard SSL_CTX_use_certificate_chain_file(self.handle, identity.certificatePath) == 1 else {
            throw .unusable(
                what: "the certificate \(identity.certificatePath)", reason: takeOpenSSLReasons(), remedy: remedy)
        }
        guard SSL_CTX_use_PrivateKey_file(self.handle, identity.keyPath, SSL_FILETYPE_PEM) == 1 else {
            throw .unusable(what: "the private key \(identity.keyPath)", reason: takeOpenSSLReasons(), remedy: remedy)
        }
        guard SSL_CTX_check_private_key(self.handle) == 1 else {
            throw .unusable(
                what: "the private key \(identity.keyPath)",
                reason: "it does not belong to \(identity.certificatePath)",
                remedy: "restore the pair, or join the cluster again")
        }
    }

    private func sendAuthority(_ path: String) throws(SecureLinkError) {
        ERR_clear_error()
        let bio = BIO_new_file(path, "r")
        defer { BIO_free(bio) }
        let certificate = PEM_read_bio_X509(bio, nil, nil, nil)
        defer { X509_free(certificate) }
        guard certificate != nil, holdfast_SSL_CTX_add1_chain_cert(self.handle, certificate) == 1 else {
            throw .unusable(
                what: "the certificate authority \(path)", reason: takeOpenSSLReasons(),
                remedy: "check that the file is a PEM certificate")
        }
    }
}
