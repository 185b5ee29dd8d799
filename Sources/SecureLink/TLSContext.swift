import Basis
import COpenSSL
import Host

/// Settings and keys shared by streams: TLS 1.3 only, peers verified against the cluster's authority. One context
/// serves both directions and any number of threads. Each new stream takes the files of the identity as they are then.
public final class TLSContext: Sendable {
    /// What a context is made of, each time its files were replaced.
    private struct Plan: Sendable {
        var identity: TLSIdentity
        var clientCertificateOptional: Bool
        var sendsAuthority: Bool
        /// The highest version of what is said; nil: nothing is offered.
        var version: UInt32?
        var isAboutCertificates = false
    }

    private struct State: Sendable {
        // Unsafe to the compiler alone: OpenSSL guards what it keeps in a context itself.
        nonisolated(unsafe) var handle: OpaquePointer
        var stamp: TLSIdentity.Stamp?
    }

    private let plan: Plan?
    private let state: Locked<State>
    // Unsafe to the compiler alone: the pointer does not change.
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
            Plan(
                identity: identity, clientCertificateOptional: clientCertificateOptional,
                sendsAuthority: clientCertificateOptional, version: version), recordsPerKey: TLSSession.recordsPerKey)
    }

    convenience init(
        identity: TLSIdentity, clientCertificateOptional: Bool, sendsAuthority: Bool = false,
        recordsPerKey: UInt32 = TLSSession.recordsPerKey
    ) throws(SecureLinkError) {
        try self.init(
            Plan(
                identity: identity, clientCertificateOptional: clientCertificateOptional,
                sendsAuthority: sendsAuthority, version: nil), recordsPerKey: recordsPerKey)
    }

    /// A context for a node that asks another about certificates; `TLSStream.isAboutCertificates` says whether that one can.
    public static func aboutCertificates(identity: TLSIdentity) throws(SecureLinkError) -> TLSContext {
        try TLSContext(
            Plan(
                identity: identity, clientCertificateOptional: false, sendsAuthority: false, version: nil,
                isAboutCertificates: true), recordsPerKey: TLSSession.recordsPerKey)
    }

    private init(_ plan: Plan, recordsPerKey: UInt32) throws(SecureLinkError) {
        // Before it is read: what is replaced meanwhile is read once more.
        let stamp = TLSIdentity.Stamp(plan.identity)
        self.state = Locked(State(handle: try Self.make(plan), stamp: stamp))
        self.plan = plan
        self.recordsPerKey = recordsPerKey
        self.fingerprint = nil
    }

    private init(fingerprint: [UInt8]) throws(SecureLinkError) {
        guard fingerprint.count == 32 else {
            throw .unusable(
                what: "the certificate authority's fingerprint",
                reason: "it has \(fingerprint.count) bytes instead of 32",
                remedy: "use a fresh join token")
        }
        let handle = try Self.newHandle()
        let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: 32)
        copy.initialize(from: fingerprint, count: 32)
        SSL_CTX_set_verify(handle, SSL_VERIFY_PEER, nil)
        holdfast_trust_fingerprint(handle, copy)
        self.state = Locked(State(handle: handle))
        self.plan = nil
        self.recordsPerKey = TLSSession.recordsPerKey
        self.fingerprint = copy
    }

    deinit {
        self.state.withLock { SSL_CTX_free($0.handle) }
        self.fingerprint?.deallocate()
    }

    /// For a client that has no certificate yet: it trusts the one authority with this SHA-256 fingerprint (32 bytes),
    /// which the server must send in its chain.
    public static func anonymousClient(
        certificateAuthorityFingerprint: [UInt8], speaking version: UInt32 = 1
    ) throws(SecureLinkError) -> TLSContext {
        let context = try TLSContext(fingerprint: certificateAuthorityFingerprint)
        try context.state.withLock { state throws(SecureLinkError) in try Self.speak(state.handle, upTo: version) }
        return context
    }

    /// A new session, of the files as they are now; of those before where they cannot be used. Nil when the system has no memory.
    func session() -> OpaquePointer? {
        self.state.withLock { state in
            if let plan = self.plan {
                let stamp = TLSIdentity.Stamp(plan.identity)
                if stamp != state.stamp, let handle = try? Self.make(plan) {
                    // Sessions of the one before keep it.
                    SSL_CTX_free(state.handle)
                    state = State(handle: handle, stamp: stamp)
                }
            }
            return SSL_new(state.handle)
        }
    }

    private static func make(_ plan: Plan) throws(SecureLinkError) -> OpaquePointer {
        let handle = try self.newHandle()
        do throws(SecureLinkError) {
            try self.load(plan.identity, into: handle)
            if plan.sendsAuthority { try self.sendAuthority(plan.identity.certificateAuthorityPath, from: handle) }
            if let version = plan.version { try self.speak(handle, upTo: version) }
            if plan.isAboutCertificates, holdfast_ask_about_certificates(handle) != 1 { throw self.failure }
        } catch {
            SSL_CTX_free(handle)
            throw error
        }
        let required = plan.clientCertificateOptional ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        SSL_CTX_set_verify(handle, SSL_VERIFY_PEER | required, nil)
        return handle
    }

    private static var failure: SecureLinkError {
        .unusable(what: "OpenSSL", reason: takeOpenSSLReasons(), remedy: "check the OpenSSL installation")
    }

    /// A peer that knows of no versions hears the offer and passes it over.
    private static func speak(_ handle: OpaquePointer, upTo version: UInt32) throws(SecureLinkError) {
        guard holdfast_speak_up_to(handle, version) == 1 else { throw self.failure }
    }

    private static func newHandle() throws(SecureLinkError) -> OpaquePointer {
        ERR_clear_error()
        guard let handle = SSL_CTX_new(TLS_method()) else { throw self.failure }
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

    private static func load(_ identity: TLSIdentity, into handle: OpaquePointer) throws(SecureLinkError) {
        let remedy =
            "check that the file exists, is a PEM file and is readable by the daemon, or join the cluster again"
        ERR_clear_error()
        guard SSL_CTX_load_verify_locations(handle, identity.certificateAuthorityPath, nil) == 1 else {
            throw .unusable(
                what: "the certificate authority \(identity.certificateAuthorityPath)", reason: takeOpenSSLReasons(),
                remedy: remedy)
        }
        let pair = identity.pair
        guard SSL_CTX_use_certificate_chain_file(handle, pair.certificate) == 1 else {
            throw .unusable(
                what: "the certificate \(pair.certificate)", reason: takeOpenSSLReasons(), remedy: remedy)
        }
        guard SSL_CTX_use_PrivateKey_file(handle, pair.key, SSL_FILETYPE_PEM) == 1 else {
            throw .unusable(what: "the private key \(pair.key)", reason: takeOpenSSLReasons(), remedy: remedy)
        }
        guard SSL_CTX_check_private_key(handle) == 1 else {
            throw .unusable(
                what: "the private key \(pair.key)",
                reason: "it does not belong to \(pair.certificate)",
                remedy: "restore the pair, or join the cluster again")
        }
    }

    /// All that are trusted: a token names one of them.
    private static func sendAuthority(_ path: String, from handle: OpaquePointer) throws(SecureLinkError) {
        ERR_clear_error()
        let authorities = PEM.certificates(in: try PEMFile.read(path))
        let areSent = authorities.allSatisfy { text in
            let certificate = PEM.certificate(text)
            defer { X509_free(certificate) }
            return certificate != nil && holdfast_SSL_CTX_add1_chain_cert(handle, certificate) == 1
        }
        guard !authorities.isEmpty, areSent else {
            throw .unusable(
                what: "the certificate authority \(path)", reason: takeOpenSSLReasons(),
                remedy: "check that the file is a PEM certificate")
        }
    }
}
