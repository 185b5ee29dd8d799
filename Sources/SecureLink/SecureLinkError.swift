import COpenSSL
import Glibc

/// Why a link, a certificate or a join token could not be used.
public enum SecureLinkError: Error, Equatable, CustomStringConvertible {
    /// A host name or address could not be resolved.
    case unresolved(host: String, port: UInt16, reason: String)
    /// The socket could not be opened for listening.
    case notListening(address: String, reason: String)
    /// An address at which the other nodes do not find this machine.
    case notOurs(reason: String)
    /// The listener was closed by this process.
    case listenerClosed
    /// No TCP connection to the peer.
    case notConnected(peer: String, reason: String)
    /// The peer took longer than allowed.
    case timedOut(peer: String, during: String)
    /// TCP works, but the two sides could not agree or do not trust each other.
    case handshakeFailed(peer: String, reason: String, remedy: String)
    /// An established connection broke.
    case broken(peer: String, reason: String)
    /// This process shut the stream down.
    case shutDown(peer: String)
    /// A certificate, key or request could not be used.
    case unusable(what: String, reason: String, remedy: String)
    /// A file could not be written.
    case fileNotWritten(path: String, reason: String)
    /// A join token could not be read.
    case invalidToken(reason: String)

    static let handshake = "the TLS handshake"

    /// The peer took the connection and ran out of time in the handshake: it is there, and slow.
    public var isSlowHandshake: Bool {
        if case .timedOut(_, let during) = self { during == Self.handshake } else { false }
    }

    /// What happened, with whom, and what to do.
    public var description: String {
        switch self {
        case .unresolved(let host, let port, let reason):
            "cannot find the address of \(host):\(port): \(reason); check the name, or write the IP address"
        case .notListening(let address, let reason):
            "cannot listen on \(address): \(reason); check that the address belongs to this node and the port is free"
        case .notOurs(let reason):
            "\(reason); give the address at which the other nodes reach this machine (`ip address` shows what it has)"
        case .listenerClosed: "the listener was closed"
        case .notConnected(let peer, let reason):
            "cannot connect to \(peer): \(reason); check that the node is up and its port is open in every firewall"
        case .timedOut(let peer, let during):
            "\(peer) did not answer in time during \(during); check the network between the nodes and the peer's load"
        case .handshakeFailed(let peer, let reason, let remedy):
            "no secure connection with \(peer): \(reason); \(remedy)"
        case .broken(let peer, let reason): "the connection with \(peer) broke: \(reason)"
        case .shutDown(let peer): "the connection with \(peer) was shut down by this node"
        case .unusable(let what, let reason, let remedy): "cannot use \(what): \(reason); \(remedy)"
        case .fileNotWritten(let path, let reason): "cannot write \(path): \(reason); check permissions and free space"
        case .invalidToken(let reason):
            "the join token cannot be used: \(reason); copy it whole, or print a new one with 'holdfast token'"
        }
    }
}

/// The reasons in this thread's OpenSSL error queue, oldest first, which it empties.
func takeOpenSSLReasons() -> String {
    var reasons: [String] = []
    while true {
        let code = ERR_get_error()
        if code == 0 { break }
        let reason = ERR_reason_error_string(code).map { String(cString: $0) } ?? "error \(code)"
        if !reasons.contains(reason) { reasons.append(reason) }
    }
    return reasons.isEmpty ? "OpenSSL gave no reason" : reasons.joined(separator: ", ")
}
