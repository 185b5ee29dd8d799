import Basis
import Foundation
import Testing

@testable import SecureLink

@Suite(.timeLimit(.minutes(20))) struct `A stream joins exactly the nodes of one cluster` {
    @Test func `both ends learn the other's name, number and cluster`() throws {
        let cluster = try TestCluster()
        let pair = try Pair(client: try cluster.context("tok-1", 1), server: try cluster.context("osk-1", 2))
        #expect(pair.client.peerName == "osk-1")
        #expect(pair.client.peerNode == NodeID(2))
        #expect(pair.client.peerCluster == "prod")
        #expect(pair.server.peerName == "tok-1")
        #expect(pair.server.peerNode == NodeID(1))
        try pair.client.send([1, 2, 3])
        #expect(try pair.server.receive(3) == [1, 2, 3])
    }

    @Test(arguments: [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 2), (12, 2, 2), (11, 12, 11), (12, 11, 11)])
    func `both ends agree on the highest version that each of them speaks`(
        client: UInt32, server: UInt32, agreed: UInt32
    ) throws {
        let cluster = try TestCluster()
        let dialling = try TLSContext(identity: try cluster.identity("tok-1", 1), speaking: client)
        let pair = try Pair(
            client: dialling,
            server: try TLSContext(
                identity: try cluster.identity("osk-1", 2), clientCertificateOptional: true, speaking: server))
        #expect(pair.client.agreedVersion == agreed)
        #expect(pair.server.agreedVersion == agreed)
        // A link that knows of no versions, as that of a build from before.
        let plain = try Pair(client: dialling, server: try cluster.context("wit-1", 3))
        #expect(plain.client.agreedVersion == 1)
    }

    @Test(arguments: [
        Validity(from: 0, until: 1), Validity(from: 3_000_000_000, until: 4_000_000_000), CertificateAuthority.forEver,
    ])
    func `no clock decides who belongs to a cluster`(valid: Validity) throws {
        let cluster = try TestCluster(valid: valid)
        let pair = try Pair(client: try cluster.context("tok-1", 1), server: try cluster.context("osk-1", 2))
        #expect(pair.client.peerNode == NodeID(2))
        #expect(pair.server.peerNode == NodeID(1))
        let welcoming = try TLSContext(
            identity: try cluster.identity("wit-1", 3), clientCertificateOptional: true)
        let joining = try TLSContext.anonymousClient(
            certificateAuthorityFingerprint: cluster.authority.fingerprint)
        #expect(try Pair(client: joining, server: welcoming).client.peerNode == NodeID(3))
    }

    @Test func `a certificate of another cluster is refused`() throws {
        let mine = try TestCluster()
        let other = try TestCluster(name: "prod")
        let serverContext = try mine.context("osk-1", 2)
        let clientContext = try other.context("tok-1", 1)
        let listener = try Listener(host: "127.0.0.1", port: 0)
        let accepting = Worker {
            try TLSStream.accept(on: listener, context: serverContext, handshakeTimeout: .seconds(20))
        }
        let error = #expect(throws: SecureLinkError.self) {
            try TLSStream.connect(
                host: "127.0.0.1", port: listener.port, context: clientContext, timeout: .seconds(20))
        }
        #expect(error?.description.contains("another cluster") == true, "\(String(describing: error))")
        #expect(throws: SecureLinkError.self) { try accepting.value() }
    }

    @Test func `a server refuses a client whose certificate is of another cluster`() throws {
        let mine = try TestCluster()
        let other = try TestCluster()
        // The client trusts the server's authority but shows a certificate of its own.
        let foreign = try other.identity("tok-1", 1)
        let mixed = TLSIdentity(
            certificateAuthorityPath: mine.directory + "/ca.crt", certificatePath: foreign.certificatePath,
            keyPath: foreign.keyPath)
        try Self.expectRefusal(
            client: try TLSContext(identity: mixed), server: try mine.context("osk-1", 2), saying: "another cluster")
    }

    @Test func `a client without a certificate is refused`() throws {
        let cluster = try TestCluster()
        try Self.expectRefusal(
            client: try TLSContext.anonymousClient(certificateAuthorityFingerprint: cluster.authority.fingerprint),
            server: try TLSContext(
                identity: try cluster.identity("osk-1", 2), clientCertificateOptional: false, sendsAuthority: true),
            saying: "no certificate")
    }

    private static func expectRefusal(client: TLSContext, server: TLSContext, saying: String) throws {
        let listener = try Listener(host: "127.0.0.1", port: 0)
        let accepting = Worker {
            try TLSStream.accept(on: listener, context: server, handshakeTimeout: .seconds(20))
        }
        // In TLS 1.3 the client learns of the refusal at its first read.
        let error = #expect(throws: SecureLinkError.self) {
            let stream = try TLSStream.connect(
                host: "127.0.0.1", port: listener.port, context: client, timeout: .seconds(20))
            _ = try stream.receive(1)
        }
        _ = error
        let refusal = #expect(throws: SecureLinkError.self) { try accepting.value() }
        #expect(refusal?.description.contains(saying) == true, "\(String(describing: refusal))")
    }

    @Test func `a joining client trusts only the fingerprint in its token`() throws {
        let cluster = try TestCluster()
        let server = try TLSContext(
            identity: try cluster.identity("tok-1", 1), clientCertificateOptional: true)
        let pair = try Pair(
            client: try TLSContext.anonymousClient(certificateAuthorityFingerprint: cluster.authority.fingerprint),
            server: server)
        #expect(pair.client.peerName == "tok-1")
        #expect(pair.server.peerName == nil)
        #expect(pair.server.peerNode == nil)
        var wrong = cluster.authority.fingerprint
        wrong[31] ^= 1
        let mistrusting = try TLSContext.anonymousClient(certificateAuthorityFingerprint: wrong)
        #expect(throws: SecureLinkError.self) { try Pair(client: mistrusting, server: server) }
        #expect(throws: SecureLinkError.self) {
            try TLSContext.anonymousClient(certificateAuthorityFingerprint: [1, 2, 3])
        }
    }

    @Test func `TLS 1.2 is refused`() throws {
        let cluster = try TestCluster()
        let server = try cluster.context("tok-1", 1)
        let listener = try Listener(host: "127.0.0.1", port: 0)
        let accepting = Worker {
            try TLSStream.accept(on: listener, context: server, handshakeTimeout: .seconds(20))
        }
        let client = try PlainSocket(port: listener.port)
        let hello: [UInt8] =
            [0x03, 0x03] + [UInt8](repeating: 7, count: 32) + [0, 0, 4, 0xC0, 0x2B, 0xC0, 0x2F, 1, 0]
        let handshake: [UInt8] = [1, 0, 0, UInt8(hello.count)] + hello
        client.send([0x16, 0x03, 0x01, 0, UInt8(handshake.count)] + handshake)
        let error = #expect(throws: SecureLinkError.self) { try accepting.value() }
        #expect(error?.description.contains("TLS 1.3 only") == true, "\(String(describing: error))")
    }

    @Test func `a client that says nothing is given up, and garbage is refused`() throws {
        let cluster = try TestCluster()
        let server = try cluster.context("tok-1", 1)
        let listener = try Listener(host: "127.0.0.1", port: 0)
        let silent = try PlainSocket(port: listener.port)
        let error = #expect(throws: SecureLinkError.self) {
            try TLSStream.accept(on: listener, context: server, handshakeTimeout: .milliseconds(20))
        }
        #expect(error?.description.contains("in time") == true)
        let noisy = try PlainSocket(port: listener.port)
        noisy.send(Array("GET / HTTP/1.1\r\n\r\n".utf8))
        #expect(throws: SecureLinkError.self) {
            try TLSStream.accept(on: listener, context: server, handshakeTimeout: .seconds(20))
        }
        withExtendedLifetime(silent) {}
    }

    @Test func `a closed port and a missing file are told plainly`() throws {
        let cluster = try TestCluster()
        let context = try cluster.context("tok-1", 1)
        let listener = try Listener(host: "127.0.0.1", port: 0)
        let port = listener.port
        listener.close()
        #expect(throws: SecureLinkError.listenerClosed) { try listener.acceptRaw() }
        let refused = #expect(throws: SecureLinkError.self) {
            try TLSStream.connect(host: "127.0.0.1", port: port, context: context, timeout: .seconds(5))
        }
        #expect(refused?.description.contains("cannot connect to 127.0.0.1:\(port)") == true)
        let missing = #expect(throws: SecureLinkError.self) {
            try TLSContext(
                identity: TLSIdentity(certificateAuthorityPath: "/none", certificatePath: "/none", keyPath: "/none"))
        }
        #expect(missing?.description.contains("/none") == true)
    }

    @Test func `closing a listener wakes the thread that waits in it`() throws {
        let listener = try Listener(host: "", port: 0)
        let waiting = Worker { try listener.acceptRaw() }
        listener.close()
        listener.close()
        #expect(throws: SecureLinkError.listenerClosed) { try waiting.value() }
    }

    @Test func `IPv6 works, and one listener serves both families`() throws {
        let cluster = try TestCluster()
        let context = try cluster.context("tok-1", 1)
        let listener = try Listener(host: "", port: 0)
        for host in ["::1", "127.0.0.1"] {
            let accepting = Worker {
                try TLSStream.accept(on: listener, context: context, handshakeTimeout: .seconds(20))
            }
            let client = try TLSStream.connect(
                host: host, port: listener.port, context: context, timeout: .seconds(20))
            let server = try accepting.value()
            #expect(server.peerAddress.hasPrefix(host == "::1" ? "[::1]:" : "127.0.0.1:"))
            #expect(client.peerName == "tok-1")
        }
    }
}

@Suite(.timeLimit(.minutes(20))) struct `A stream moves bytes both ways at once` {
    private static func noise(_ seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<100_003).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    /// Sends `count` bytes, the same noise again and again, in pieces of odd sizes.
    private static func send(_ stream: TLSStream, seed: UInt64, count: Int) throws {
        let noise = Self.noise(seed)
        let repeated = noise + noise + noise + noise
        var sizes = SeededRandom(seed: seed ^ 1)
        var done = 0
        while done < count {
            let size = min(count - done, 1 + Int(sizes.below(sizes.chance(perMille: 200) ? 300_000 : 5_000)))
            let start = done % noise.count
            try stream.send(Array(repeated[start..<start + size]))
            done += size
        }
    }

    private static func check(_ stream: TLSStream, seed: UInt64, count: Int) throws -> Bool {
        let noise = Self.noise(seed)
        let twice = noise + noise
        var done = 0
        var buffer = [UInt8](repeating: 0, count: 100_000)
        while done < count {
            let got = try buffer.withUnsafeMutableBytes { try stream.read(into: $0) }
            let start = done % noise.count
            if got == 0 || Array(buffer[..<got]) != Array(twice[start..<start + got]) { return false }
            done += got
        }
        return done == count
    }

    @Test(arguments: [TLSSession.recordsPerKey, 3])
    func `megabytes cross in both directions, also while keys change`(recordsPerKey: UInt32) throws {
        let cluster = try TestCluster()
        let context = try TLSContext(
            identity: try cluster.identity("tok-1", 1), clientCertificateOptional: false,
            recordsPerKey: recordsPerKey)
        let pair = try Pair(client: context, server: context)
        let count = 8_000_000
        let work = [
            Worker {
                try Self.send(pair.client, seed: 1, count: count)
                return true
            },
            Worker {
                try Self.send(pair.server, seed: 2, count: count)
                return true
            },
            Worker { try Self.check(pair.server, seed: 1, count: count) },
            Worker { try Self.check(pair.client, seed: 2, count: count) },
        ]
        for worker in work { #expect(try worker.value()) }
    }

    @Test func `a blocked reader does not hold up a writer`() throws {
        let cluster = try TestCluster()
        let context = try cluster.context("tok-1", 1)
        let pair = try Pair(client: context, server: context)
        let reader = Worker { try pair.client.receive(1) }
        try pair.client.send([42])
        #expect(try pair.server.receive(1) == [42])
        try pair.server.send([43])
        #expect(try reader.value() == [43])
    }

    @Test func `a shutdown wakes a blocked reader and a blocked writer, here and there`() throws {
        let cluster = try TestCluster()
        let context = try cluster.context("tok-1", 1)
        let pair = try Pair(client: context, server: context)
        let reader = Worker { try pair.client.receive(1) }
        let writer = Worker {
            while true { try pair.client.send([UInt8](repeating: 0, count: 1_000_000)) }
        }
        let farReader = Worker {
            _ = try pair.server.receive(2_000_000)
            pair.client.shutdown()
            pair.client.shutdown()
            while try pair.server.readOnce() > 0 {}
            return try pair.server.readOnce()
        }
        #expect(throws: SecureLinkError.shutDown(peer: pair.client.peerAddress)) { try reader.value() }
        #expect(throws: SecureLinkError.shutDown(peer: pair.client.peerAddress)) { try writer.value() }
        #expect(try farReader.value() == 0)
        #expect(throws: SecureLinkError.shutDown(peer: pair.client.peerAddress)) { try pair.client.send([1]) }
        #expect(throws: EndedEarly(missing: 3)) {
            try pair.server.receive(3)
        }
    }

    @Test func `writing to a peer that is gone throws and raises no signal`() throws {
        let cluster = try TestCluster()
        let context = try cluster.context("tok-1", 1)
        var pair: Pair? = try Pair(client: context, server: context)
        let client = try #require(pair?.client)
        pair = nil
        #expect(throws: SecureLinkError.self) {
            while true { try client.send([UInt8](repeating: 0, count: 100_000)) }
        }
    }
}

/// A TCP client without TLS.
final class PlainSocket {
    private let descriptor: Int32

    init(port: UInt16) throws {
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(status == 0)
    }

    func send(_ bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes { Foundation.send(self.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    deinit { close(self.descriptor) }
}
