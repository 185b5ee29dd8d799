import Basis
import COpenSSL
import Glibc
import Host

/// An OpenSSL session, which is not thread safe: `TLSStream` keeps it behind a lock. No call waits.
struct TLSSession {
    /// How a step ended.
    enum Outcome {
        case moved(Int)
        case closed
        case wait(Int16)
        case failed(String)
    }

    /// Records under one key; AES-GCM allows 2^24.5. (RFC 8446 §5.5)
    static let recordsPerKey: UInt32 = 1 << 22

    private let ssl: OpaquePointer
    private var isBroken = false
    private var hasUnfinishedWrite = false
    private var recordsUnderKey: UInt32 = 0
    private let recordLimit: UInt32

    init(descriptor: Int32, context: TLSContext, isServer: Bool) throws(SecureLinkError) {
        ERR_clear_error()
        guard let ssl = context.session(), let bio = holdfast_socket_bio(descriptor) else {
            throw .unusable(what: "OpenSSL", reason: takeOpenSSLReasons(), remedy: "check the node's free memory")
        }
        SSL_set_bio(ssl, bio, bio)
        if isServer { SSL_set_accept_state(ssl) } else { SSL_set_connect_state(ssl) }
        self.ssl = ssl
        self.recordLimit = context.recordsPerKey
    }

    func free() { SSL_free(self.ssl) }

    func handshake(descriptor: Int32, peer: String, deadline: Tick) throws(SecureLinkError) {
        while true {
            ERR_clear_error()
            errno = 0
            let status = SSL_do_handshake(self.ssl)
            let code = errno
            if status == 1 { return }
            let events: Int16
            switch SSL_get_error(self.ssl, status) {
            case SSL_ERROR_WANT_READ: events = Int16(POLLIN)
            case SSL_ERROR_WANT_WRITE: events = Int16(POLLOUT)
            case SSL_ERROR_SSL: throw self.handshakeFailure(peer: peer)
            default:
                throw .handshakeFailed(
                    peer: peer,
                    reason: code == 0 ? "the peer closed during the handshake" : SystemText.error(code),
                    remedy: "see the peer's log for its reason")
            }
            guard Sockets.wait(descriptor, events, deadline: deadline) else {
                throw .timedOut(peer: peer, during: SecureLinkError.handshake)
            }
        }
    }

    mutating func read(into buffer: UnsafeMutableRawBufferPointer) -> Outcome {
        var done = 0
        while true {
            ERR_clear_error()
            errno = 0
            let room = Int32(clamping: buffer.count - done)
            let count = SSL_read(self.ssl, buffer.baseAddress.map { $0 + done }, room)
            let code = errno
            if count > 0 {
                done += Int(count)
                // What is already decrypted or received costs no further wait.
                if done < buffer.count, SSL_has_pending(self.ssl) == 1 { continue }
                return .moved(done)
            }
            let outcome = self.outcome(of: count, errno: code)
            return done > 0 ? .moved(done) : outcome
        }
    }

    mutating func write(_ buffer: UnsafeRawBufferPointer) -> Outcome {
        ERR_clear_error()
        errno = 0
        if !self.hasUnfinishedWrite, self.recordsUnderKey >= self.recordLimit {
            guard SSL_key_update(self.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 else {
                self.isBroken = true
                return .failed("the key could not be changed: \(takeOpenSSLReasons())")
            }
            self.recordsUnderKey = 0
        }
        let count = SSL_write(self.ssl, buffer.baseAddress, Int32(clamping: buffer.count))
        let code = errno
        self.hasUnfinishedWrite = count <= 0
        if count > 0 {
            self.recordsUnderKey += 1
            return .moved(Int(count))
        }
        return self.outcome(of: count, errno: code)
    }

    mutating func sayGoodbye() {
        if self.isBroken || SSL_is_init_finished(self.ssl) == 0 { return }
        ERR_clear_error()
        SSL_shutdown(self.ssl)
    }

    private mutating func outcome(of status: Int32, errno code: Int32) -> Outcome {
        switch SSL_get_error(self.ssl, status) {
        case SSL_ERROR_WANT_READ: return .wait(Int16(POLLIN))
        case SSL_ERROR_WANT_WRITE: return .wait(Int16(POLLOUT))
        case SSL_ERROR_ZERO_RETURN: return .closed
        case SSL_ERROR_SYSCALL:
            self.isBroken = true
            return code == 0 ? .closed : .failed(SystemText.error(code))
        default:
            self.isBroken = true
            return .failed(takeOpenSSLReasons())
        }
    }

    private func handshakeFailure(peer: String) -> SecureLinkError {
        let reasons = takeOpenSSLReasons()
        let verdict = SSL_get_verify_result(self.ssl)
        if verdict != Int(X509_V_OK) {
            let text = String(cString: X509_verify_cert_error_string(verdict))
            return .handshakeFailed(
                peer: peer, reason: "its certificate is not acceptable (\(text))",
                remedy: "it belongs to another cluster; let it join this one with a fresh token")
        }
        if reasons.contains("did not return a certificate") {
            return .handshakeFailed(
                peer: peer, reason: "it showed no certificate (\(reasons))",
                remedy: "it has not joined this cluster; join it with a token")
        }
        if reasons.contains("alert") {
            return .handshakeFailed(
                peer: peer, reason: "it refused this node (\(reasons))",
                remedy: "see the peer's log; if the clusters differ, join again with a fresh token")
        }
        return .handshakeFailed(
            peer: peer, reason: reasons,
            remedy: "check that a Holdfast node listens there; nodes speak TLS 1.3 only")
    }

    /// The highest version that both ends speak; 1 where either knows of none.
    var agreedVersion: UInt32 { holdfast_agreed_version(self.ssl) }

    /// Both ends agreed to talk about certificates.
    var isAboutCertificates: Bool { holdfast_is_about_certificates(self.ssl) == 1 }

    /// Who the verified peer is; nil if it showed no certificate.
    func peer() -> (name: String?, node: NodeID?, cluster: String?, fingerprint: [UInt8]?)? {
        guard let certificate = SSL_get1_peer_certificate(self.ssl) else { return nil }
        defer { X509_free(certificate) }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { text in
            guard let base = text.baseAddress else { return nil }
            let hasName = holdfast_certificate_common_name(certificate, base, Int32(text.count)) == 1
            let name = hasName ? String(validatingCString: base) : nil
            let hasURI = holdfast_certificate_uri(certificate, base, Int32(text.count)) == 1
            let identity = (hasURI ? String(validatingCString: base) : nil).flatMap { NodeURI($0) }
            return (name, identity?.node, identity?.cluster, CertificateParts.fingerprint(certificate))
        }
    }
}

/// The identity inside a node's certificate: `holdfast://CLUSTER/node/NUMBER`.
struct NodeURI: Equatable {
    let cluster: String
    let node: NodeID

    init(cluster: String, node: NodeID) {
        self.cluster = cluster
        self.node = node
    }

    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0] == "holdfast:", parts[1].isEmpty, parts[3] == "node", !parts[2].isEmpty,
            let number = UInt32(parts[4]), number > 0, String(number) == parts[4]
        else { return nil }
        self.init(cluster: String(parts[2]), node: NodeID(number))
    }

    var text: String { "holdfast://\(self.cluster)/node/\(self.node.rawValue)" }
}
