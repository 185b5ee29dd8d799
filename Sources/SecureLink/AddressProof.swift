import Basis
import CLinux
import Glibc
import Host

/// Shows a node of the cluster that an address leads to this machine: a listener there that tells everybody who connects
/// the same secret. (Rule N2)
public final class AddressProof: Sendable {
    private static let secretBytes = 16

    /// What it tells: 16 bytes.
    public let secret: [UInt8]
    private let listener: Listener

    /// Listens, so the port must be free and every address that the host stands for one of this machine's. Loopback and
    /// "every address" are refused, because no other machine finds this one there; `acceptsLoopback` is for tests.
    public init(host: String, port: UInt16, acceptsLoopback: Bool = false) throws(SecureLinkError) {
        self.secret = try SecureRandom.bytes(Self.secretBytes)
        var found: [String] = []
        _ = try Sockets.eachAddress(host: host, port: port, passive: false) { address -> Bool? in
            if let text = Sockets.numericName(address.pointee.ai_addr, address.pointee.ai_addrlen)?.host {
                found.append(text)
            }
            return nil
        }
        for address in found {
            let origin = Sockets.canonical(host) == nil ? "\(host) stands for \(address), and that" : address
            guard !["0.0.0.0", "::"].contains(address), !host.isEmpty else {
                throw .notOurs(reason: "\(origin) is every address and no particular one")
            }
            guard acceptsLoopback || !(address.hasPrefix("127.") || address == "::1") else {
                throw .notOurs(reason: "\(origin) leads every machine to itself")
            }
            if Sockets.isForeign(address) { throw .notOurs(reason: "\(origin) is not an address of this machine") }
        }
        self.listener = try Listener(host: host, port: port)
    }

    /// Answers until `close`; blocks.
    public func serve() {
        while let socket = try? self.listener.acceptRaw() {
            _ = SystemSocket.send(self.secret, to: socket)
            Glibc.close(socket)
        }
    }

    /// Frees the port.
    public func close() { self.listener.close() }

    /// Whether whoever answers at the address within `timeout` tells this secret. Throws when nobody answers.
    public static func holds(
        host: String, port: UInt16, secret: [UInt8], timeout: Span
    ) throws(SecureLinkError) -> Bool {
        let deadline = MachineClock.now + timeout
        var failure: Int32 = EADDRNOTAVAIL
        let connected = try Sockets.eachAddress(host: host, port: port, passive: false) { address in
            Sockets.connect(to: address, deadline: deadline, failure: &failure)
        }
        guard let socket = connected else {
            throw .notConnected(peer: Sockets.label(host, port), reason: SystemText.error(failure))
        }
        defer { Glibc.close(socket) }
        var told: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: Self.secretBytes)
        while told.count < Self.secretBytes, Sockets.wait(socket, Int16(POLLIN), deadline: deadline) {
            let count = recv(socket, &buffer, Self.secretBytes - told.count, 0)
            if count < 0, errno == EINTR || errno == EAGAIN { continue }
            guard count > 0 else { break }
            told += buffer[..<count]
        }
        return told.count == secret.count && SecureRandom.areEqual(told, secret)
    }
}

/// Where nodes listen, written in one way.
public enum NodeAddress {
    /// The host with a numeric address in its usual form; names in lower case.
    public static func canonical(host: String) -> String { Sockets.canonical(host) ?? host.lowercased() }
}
